// Asks to be let in by a link that is for one person; where another browser has it, shows a code and waits.

import { byId } from "./element.js";
import { say } from "./texts.js";

const AGAIN_MS = 3000;

const states = {
  in: () => location.replace("/"),
  asked({ code }) {
    byId("join-title").textContent = say("join.asked-title");
    byId("join-text").textContent = say("join.asked");
    byId("join-code").textContent = code;
    byId("join-else").textContent = say("join.asked-else");
    byId("join-code-line").hidden = byId("join-else").hidden = false;
    setTimeout(() => ask(true), AGAIN_MS);
  },
  later({ text }) {
    byId("join-text").textContent = text;
    setTimeout(() => ask(true), 5 * AGAIN_MS);
  },
  refused({ title, text }) {
    byId("join-title").textContent = title;
    byId("join-text").textContent = text;
    byId("join-code-line").hidden = byId("join-else").hidden = true;
  },
};

/** Ask once; `waits` says that this page has asked before. */
async function ask(waits) {
  const address = new URL(location.href);
  if (waits) address.searchParams.set("waits", "");
  let answer;
  try {
    answer = await (await fetch(address, { method: "POST" })).json();
  } catch {
    answer = { state: "later", text: say("refused.not-now") };
  }
  states[answer.state]?.(answer);
}

ask(false);
