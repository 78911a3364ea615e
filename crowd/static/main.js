// Joins the parts: keys (what a person does), connection (the server), stage (the picture), view (the words).

import { Asks } from "./asks.js";
import { Confirmation } from "./confirmation.js";
import { Connection } from "./connection.js";
import { device } from "./device.js";
import { Frame } from "./frame.js";
import { GiveUp } from "./giveup.js";
import { Hands } from "./hands.js";
import { Keys } from "./keys.js";
import { learnLayout, title } from "./names.js";
import { Opening } from "./opening.js";
import { commandsOf, givesUp } from "./options.js";
import { Pace } from "./pace.js";
import { unpackFrame } from "./protocol.js";
import { Question } from "./question.js";
import { Stage } from "./stage.js";
import { fill, say, speak } from "./texts.js";
import { View } from "./view.js";

const REPEAT_MS = 130; // a held key in a task that waits acts this often, and only on a picture that has come
const DAY_MS = 24 * 3600 * 1000;
const QUICK = new Set(["go", "pause", "language"]); // what opens nothing
const SETTLE_MS = 400; // keys of the game that are still being hit when it ends must not decide about it

const connection = new Connection(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
const send = (message) => connection.send(message);
const keys = new Keys(document);
const stage = new Stage(document.getElementById("picture"), shown, document.getElementById("room"));
const hands = new Hands(document.getElementById("field"), document.getElementById("picture"));
const question = new Question((text) => hands.tell("fill", { text }));
const asks = new Asks(send, { asked, unsent: () => frame.note(say("connection.lost")) });
const ask = (message) => asks.ask(message);
const view = new View(keys, hands, ask, command);
const frame = new Frame(ask);
const opening = new Opening(() => view.opening());
const pace = new Pace((text) => view.announce(text));
const giveUp = new GiveUp(() => ask({ type: "discard", episode: state.episode?.id ?? "" }));
const confirmation = new Confirmation(() => frame.note(say("error")));

let state = null;
let gameCodes = new Set();
let endedAt = 0;
let actedAt = 0;
let shownAt = 0;
let shownNumber = null; // of the step; null before an episode's first picture
let lag = null; // from the last key to its frame
let answered = true;
let isDeviceTold = false;
let opens = null; // the task that was asked for last, until it is there
let pressed = null; // the frame that the last key was pressed on, and when

/** A frame is on the screen: in real time the server waits to hear it, before it sends many more. */
function shown(number) {
  const now = performance.now();
  if (number !== shownNumber) shownAt = now; // what only shows ahead of a step is nothing to react to
  shownNumber = number;
  if (pressed !== null && number > pressed.frame) {
    lag = Math.round(now - pressed.at);
    pressed = null;
  }
  view.pictured();
  if (isRealTime()) send({ type: "shown", frame: number });
}

const isRealTime = () => (state?.episode?.fps ?? null) !== null;
/** Whether it matters when a key goes up: it is asked for at the next deadline, or held with another. */
const isHeld = () => isRealTime() || state?.episode?.mixes || state?.episode?.controls.some(({ codes }) => codes.length > 1);

/** A choice was made, by a button or a key. */
function command(name) {
  const episode = state.episode?.id ?? "";
  if (!givesUp(name, state)) return ask({ type: name, episode });
  if (isRealTime() && state.phase === "playing") ask({ type: "pause", episode });
  giveUp.ask();
}

/** The server was asked for something: until it answers, that is shown. */
function asked({ type, task = state?.episode?.task ?? null }) {
  opens = type === "leave" ? null : task;
  if (QUICK.has(type)) return;
  opening.begin(type === "choose" ? title(state.tasks.find(({ id }) => id === task).name) : "", type === "choose");
}

const receive = {
  texts(message) {
    speak(message);
    frame.languages(message.languages);
    frame.redraw();
    view.redraw();
  },
  state(message) {
    const isOver = ({ phase, episode }) => phase === "finished" || episode === null;
    if (state !== null && isOver(message) && !isOver(state)) endedAt = performance.now();
    const isOther = state?.episode?.id !== message.episode?.id;
    if (isOther) shownNumber = null;
    if (isOther || isOver(message)) giveUp.forget();
    if (isOther && asks.pending?.type === "undo" && message.episode) frame.note(say("undo.done", message.episode));
    if (message.episode) opens = null;
    asks.answered();
    opening.end();
    connection.arrived();
    pace.state(message);
    state = message;
    answered = hands.answered = true;
    hands.on = state.phase === "playing" && (state.episode?.hands ?? false);
    if (!hands.on) question.forget();
    if (state.episode) gameCodes = new Set(state.episode.controls.flatMap(({ codes }) => codes));
    const over = state.episode === null || state.phase === "finished";
    keys.codes = over ? new Set() : gameCodes;
    keys.commands = hands.on ? {} : commandsOf(state); // letters are the page's
    keys.anyKey = state.phase === "ready" || state.phase === "paused" ? "go" : null;
    view.state(state);
    stage.atlas(state.episode?.atlas ?? state.atlas);
  },
  step({ step, saved }) {
    answered = hands.answered = true;
    if (!state?.episode) return; // it ends what the page before this one had begun
    view.step(step);
    pace.step(step);
    view.saved(saved);
  },
  saved({ episode, saved }) {
    if (episode === state.episode?.id) view.saved(saved);
  },
  way(message) {
    const takesPart = message.stage !== "consent" && message.stage !== "done";
    if (takesPart && !isDeviceTold) send(device());
    isDeviceTold ||= takesPart;
    frame.way(message);
    view.way(message);
    if (view.enter && !hands.on) keys.commands = { ...keys.commands, Enter: view.enter.type };
  },
  working: (message) => opening.progress(message),
  saving: (message) => frame.saving(message),
  asks: (message) => hands.on && question.ask(message),
  note: ({ text }) => frame.note(text),
  error({ text }) {
    asks.failed();
    opening.end();
    view.opened();
    if (opens !== null && !state.study) view.failed(opens, text);
    else if (!state?.study) frame.note(text);
    else if (!text.startsWith("expected")) frame.note(say("error")); // what came too late is told in `way` already
  },
  confirm: ({ code }) => confirmation.ask(code),
  replaced: () => {}, // the close code says it too
};

connection.addEventListener("message", ({ detail }) => receive[detail.type]?.(detail));
connection.addEventListener("frame", ({ detail }) => {
  const picture = unpackFrame(detail);
  stage.show(picture);
  if (state?.episode && state.phase === "playing") receive.step({ step: picture.number, saved: picture.saved });
});
connection.addEventListener("state", ({ detail }) => {
  frame.connection(detail);
  if (detail === "open" || detail === "silent") return;
  keys.releaseAll();
  asks.answered();
  giveUp.forget();
  question.forget();
  if (detail === "lost") return opening.lost();
  opening.end();
  view.elsewhere(detail);
});

keys.addEventListener("down", ({ detail: { code, repeat } }) => {
  if (repeat && (isRealTime() || !answered || performance.now() - actedAt < REPEAT_MS)) return;
  act({ type: "down", code });
});
hands.addEventListener("hand", ({ detail }) => act({ type: "hand", ...detail }));
hands.addEventListener("leave", () => document.querySelector("#choices button")?.focus());

/** Tell what was done, on which frame, and how long that had been on the screen. */
function act(message) {
  if (!connection.isLive) return; // a key that comes when play is there again is meant for another picture
  const now = performance.now();
  const reaction = Math.round(now - shownAt);
  const measured = reaction <= DAY_MS ? { reaction, ...(lag === null ? {} : { lag }) } : {};
  connection.ask({ ...message, frame: stage.number, ...measured });
  pressed = { frame: stage.number, at: now };
  actedAt = now;
  lag = null;
  answered = hands.answered = false;
}
keys.addEventListener("up", ({ detail: { code } }) => isHeld() && send({ type: "up", code }));
keys.addEventListener("release", () => send({ type: "release" }));
keys.addEventListener("command", ({ detail: { name, code } }) => {
  const settling = keys.codes.size === 0 && performance.now() - endedAt < SETTLE_MS;
  if (!(settling && (state.episode?.hands || gameCodes.has(code)))) command(name);
});

document.getElementById("leave").addEventListener("click", () => keys.releaseAll());
document.getElementById("here").addEventListener("click", () => connection.open(true));

let hiddenAt = null;
document.addEventListener("visibilitychange", () => {
  if (document.hidden) hiddenAt = performance.now();
  else if (hiddenAt !== null) send({ type: "hidden", ms: Math.min(Math.round(performance.now() - hiddenAt), DAY_MS) });
});

fill(document);
frame.connection("connecting");
opening.begin("");
connection.open();

learnLayout().then(() => view.redraw(), () => {}); // key caps as they are printed
