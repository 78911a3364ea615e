// The stages of a study that are not play: what each shows, and what the page may answer.
//
//   const { title, body, enter } = drawStage(way, send);   // `enter` is what the Enter key means there

import { element } from "./element.js";
import { keyCap, keysSpoken, title as named } from "./names.js";
import { isTouch } from "./pointer.js";
import { prose } from "./prose.js";
import { say } from "./texts.js";

const COPIED_MS = 2000;

export function drawStage(way, send) {
  if (way.waiting !== null) return waiting(way);
  const draw = { consent, instructions, check, rest, done }[way.stage];
  return draw ? draw(way, send) : { title: "", body: [], enter: null };
}

function consent(way, send) {
  const body = [card(...prose(way.text))];
  if (way.pay) body.push(pay(way.pay));
  body.push(
    choices(
      button(say("consent.yes"), "agree", true, () => send({ type: "consent", given: true })),
      button(say("consent.no"), "decline", false, () => send({ type: "consent", given: false })),
    ),
  );
  return { title: say("consent.title"), body, enter: null };
}

function pay(text) {
  const box = card(element("h2", "", say("way.pay")), ...prose(text));
  box.classList.add("pay");
  return box;
}

function instructions(way, send) {
  const go = button(say("instructions.ready"), "ready", true, () => send({ type: "ready" }), "Enter");
  return {
    title: say("instructions.title"),
    body: [...explained(way), choices(go)],
    enter: { type: "ready" },
  };
}

/** Which practice episode this is, and of which task where there are several. */
export function practiceCount(way) {
  const count = say(way.of > 1 ? "practice.count" : "practice.count-one", way);
  return way.task ? say("practice.of-task", { task: named(way.task), count }) : count;
}

/** The bonus so far, and the most that it can become; "" where there is none to tell of. */
export function bonusSoFar({ bonus }) {
  return bonus ? say("pay.so-far", bonus) : "";
}

/** What is to be done, and the keys of each task; tasks with the same keys share their lines. */
function explained({ text, tasks }) {
  const groups = new Map();
  for (const task of tasks) {
    const same = JSON.stringify([task.keys, task.fps]);
    groups.set(same, [...(groups.get(same) ?? []), task]);
  }
  const keys = card(element("h2", "", say("instructions.keys")));
  for (const group of groups.values()) keys.append(...keysOf(group, groups.size > 1));
  if (tasks.some((task) => task.keys.length)) keys.append(element("p", "quiet", say("instructions.touch")));
  return [card(...prose(text)), keys];
}

function keysOf(group, isNamed) {
  const [{ keys, fps }] = group;
  const list = keys.length ? element("ul", "keys") : element("p", "", say("play.hands"));
  list.append(...keys.map(keyLine));
  const touch = isTouch();
  const waits = () => say(touch ? "instructions.touch-own-pace" : "instructions.own-pace");
  const runs = () => say(touch ? "instructions.touch-real-time" : "instructions.real-time", { fps });
  const pace = fps === null ? waits() : runs();
  const name = group.map((task) => named(task.name)).join(", ");
  return [...(isNamed ? [element("h3", "", name)] : []), list, element("p", "quiet", pace)];
}

function keyLine({ codes, label }) {
  const line = element("li");
  const caps = element("span", "combination");
  caps.setAttribute("aria-hidden", "true");
  caps.append(...codes.map((code) => element("kbd", "", keyCap(code))));
  line.append(caps, element("span", "unseen", `${keysSpoken(codes)}: `), element("span", "", label));
  return line;
}

function check(way, send) {
  const form = element("form", "check");
  form.noValidate = true;
  if (way.wrong) {
    const left = way.left === 1 ? say("check.last") : say("check.attempts", { n: way.left });
    form.append(alarm(`${say("check.wrong", { n: way.wrong })} ${left}`));
  }
  const missing = alarm(say("check.unanswered"));
  missing.hidden = true;
  form.append(...way.questions.map(question), missing);
  form.append(choices(button(say("check.send"), "answer", true)));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const chosen = way.questions.map((_, index) => new FormData(form).get(`question-${index}`));
    missing.hidden = chosen.every((answer) => answer !== null);
    if (missing.hidden) send({ type: "answers", chosen: chosen.map(Number) });
    else form.elements[`question-${chosen.indexOf(null)}`][0].focus();
  });
  const again = element("details", "again");
  again.append(element("summary", "", say("check.read-again")), ...explained(way.instructions));
  return { title: say("check.title"), body: [element("p", "quiet", say("check.intro")), form, again], enter: null };
}

function question({ ask, answers }, index) {
  const box = element("fieldset", "card");
  box.append(element("legend", "", ask));
  answers.forEach((answer, number) => {
    const label = element("label");
    const choice = element("input");
    Object.assign(choice, { type: "radio", name: `question-${index}`, value: number });
    label.append(choice, element("span", "", answer));
    box.append(label);
  });
  return box;
}

function rest(way, send) {
  const bar = element("progress");
  bar.max = way.of;
  bar.value = way.number;
  const count = say("rest.count", { n: way.number, left: way.of - way.number });
  bar.setAttribute("aria-label", count);
  const text = way.text ? prose(way.text) : [element("p", "", say("rest.text"))];
  const go = button(say("rest.next"), "next", true, () => send({ type: "next" }), "Enter");
  const bonus = way.bonus ? [element("p", "quiet number", bonusSoFar(way))] : [];
  const body = [...text, element("p", "quiet number", count), bar, ...bonus, choices(go)];
  return { title: say("rest.title"), body, enter: { type: "next" } };
}

function waiting(way) {
  const reason = way.waiting && element("p", "quiet", say("wait.reason", { reason: way.waiting }));
  return { title: say("wait.title"), body: [element("p", "", say("wait.text")), reason].filter(Boolean), enter: null };
}

function done(way) {
  const fate = way.keeps ? "kept" : "removed";
  const text = say(way.outcome === "withdrew" ? `done.withdrew-${fate}` : `done.${way.outcome}-text`);
  const body = [element("p", "", text)];
  if (way.number && way.outcome !== "withdrew") {
    body.push(element("p", "quiet number", say("done.figures", { n: way.number })));
  }
  if (way.pay) body.push(element("p", "number", say(way.pay.bonus ? "pay.sum" : "pay.sum-base", way.pay)));
  if (way.code) body.push(code(way.code));
  if (way.back) body.push(back(way.back));
  if (way.outcome === "full") body.push(choices(button(say("done.try-again"), "again", false, () => location.reload())));
  return { title: say(`done.${way.outcome}`), body, enter: null };
}

function code(text) {
  const box = card(element("p", "quiet", say("done.code")));
  const value = element("output", "code", text);
  const copy = button(say("done.copy"), "copy", false, async () => {
    await navigator.clipboard.writeText(text);
    copy.firstChild.textContent = say("done.copied");
    setTimeout(() => (copy.firstChild.textContent = say("done.copy")), COPIED_MS);
  });
  box.classList.add("completion");
  box.append(value, ...(navigator.clipboard ? [copy] : []));
  return box;
}

function back(address) {
  const link = element("a", "choice primary", say("done.back"));
  link.href = address;
  return choices(link);
}

function alarm(text) {
  const created = element("p", "alarm", text);
  created.setAttribute("role", "alert");
  return created;
}

function card(...inside) {
  const created = element("div", "card");
  created.append(...inside);
  return created;
}

function choices(...inside) {
  const created = element("div", "choices");
  created.append(...inside);
  return created;
}

/** A button; without an action, it sends its form. */
export function button(text, name, isPrimary, act = null, key = "") {
  const created = element("button", isPrimary ? "choice primary" : "choice");
  created.type = act ? "button" : "submit";
  created.dataset.choice = name;
  created.append(element("span", "", text));
  if (key) {
    created.append(element("kbd", "", keyCap(key)));
    created.setAttribute("aria-keyshortcuts", key);
  }
  if (act) created.addEventListener("click", act);
  return created;
}
