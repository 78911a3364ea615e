// Joins the four parts: keys (what a person does), connection (the server), stage (the picture), view (the words).

import { Connection } from "./connection.js";
import { Keys } from "./keys.js";
import { unpackFrame } from "./protocol.js";
import { Stage } from "./stage.js";
import { View, commandsOf } from "./view.js";

const REPEAT_MS = 130; // a held key in a task that waits acts this often, and only on a picture that has come
const SETTLE_MS = 400; // keys of the game that are still being hit when it ends must not decide about it

const connection = new Connection(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
const send = (message) => connection.send(message);
const keys = new Keys(document);
const stage = new Stage(document.getElementById("picture"), shown);
const view = new View(keys, send);

let state = null;
let gameCodes = new Set();
let endedAt = 0;
let actedAt = 0;
let shownAt = 0;
let lag = null; // from the last key to its frame
let answered = true;

/** A frame is on the screen: in real time the server waits to hear it, before it sends many more. */
function shown(frame) {
  const now = performance.now();
  if (actedAt > shownAt) lag = Math.round(now - actedAt);
  shownAt = now;
  if (isRealTime()) send({ type: "shown", frame });
}

const isRealTime = () => (state?.episode?.fps ?? null) !== null;
/** Whether it matters when a key goes up: it is asked for at the next deadline, or held with another. */
const isHeld = () => isRealTime() || state?.episode?.controls.some(({ codes }) => codes.length > 1);

const receive = {
  state(message) {
    if (message.phase === "finished" && state?.phase !== "finished") endedAt = performance.now();
    state = message;
    answered = true;
    gameCodes = new Set(state.episode?.controls.flatMap(({ codes }) => codes));
    const over = state.episode === null || state.phase === "finished";
    keys.codes = over ? new Set() : gameCodes;
    keys.commands = commandsOf(state);
    keys.anyKey = state.phase === "ready" || state.phase === "paused" ? "go" : null;
    view.state(state);
    stage.atlas(state.episode?.atlas);
  },
  step({ step, saved }) {
    answered = true;
    view.step(step);
    view.saved(saved);
  },
  saved({ episode, saved }) {
    if (episode === state.episode?.id) view.saved(saved);
  },
  saving: (message) => view.saving(message),
  note: ({ text }) => view.note(text),
  error: ({ text }) => view.note(text),
  way: (message) => document.dispatchEvent(new CustomEvent("way", { detail: message })), // a study's pages listen
  replaced: () => {}, // the close code says it too
};

connection.addEventListener("message", ({ detail }) => receive[detail.type](detail));
connection.addEventListener("frame", ({ detail }) => {
  const frame = unpackFrame(detail);
  stage.show(frame);
  if (state?.episode && state.phase === "playing") receive.step({ step: frame.number, saved: frame.saved });
});
connection.addEventListener("state", ({ detail }) => view.connection(detail));

keys.addEventListener("down", ({ detail: { code, repeat } }) => {
  const now = performance.now();
  if (repeat && (isRealTime() || !answered || now - actedAt < REPEAT_MS)) return;
  const measured = { reaction: shownAt > actedAt ? Math.round(now - shownAt) : null, lag };
  actedAt = now;
  lag = null;
  answered = false;
  send({ type: "down", code, frame: stage.number, ...measured });
});
keys.addEventListener("up", ({ detail: { code } }) => isHeld() && send({ type: "up", code }));
keys.addEventListener("release", () => send({ type: "release" }));
keys.addEventListener("command", ({ detail: { name, code } }) => {
  const settling = state.phase === "finished" && performance.now() - endedAt < SETTLE_MS;
  if (!(settling && gameCodes.has(code))) send({ type: name });
});

document.getElementById("here").addEventListener("click", () => connection.open());

connection.open();
