// Asks to be let in by a link that is for one person; where another browser has it, shows a code and waits.

import { say } from "./texts.js";

const AGAIN_MS = 3000;
const at = (id) => document.getElementById(id);

const states = {
  in: () => location.replace("/"),
  asked({ code }) {
    at("join-title").textContent = say("join.asked-title");
    at("join-text").textContent = say("join.asked");
    at("join-code").textContent = code;
    at("join-else").textContent = say("join.asked-else");
    at("join-code-line").hidden = at("join-else").hidden = false;
    setTimeout(() => ask(true), AGAIN_MS);
  },
  later({ text }) {
    at("join-text").textContent = text;
    setTimeout(() => ask(true), 5 * AGAIN_MS);
  },
  refused({ title, text }) {
    at("join-title").textContent = title;
    at("join-text").textContent = text;
    at("join-code-line").hidden = at("join-else").hidden = true;
  },
};

/** Ask once; `waits` says that this page has asked before. */
async function ask(waits) {
  const address = new URL(location.href);
  if (waits) address.searchParams.set("waits", "");
  let told;
  try {
    told = await (await fetch(address, { method: "POST" })).json();
  } catch {
    told = { state: "later", text: say("refused.not-now") };
  }
  states[told.state]?.(told);
}

ask(false);
