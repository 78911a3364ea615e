// Joins the four parts: keys (what a person does), connection (the server), stage (the picture), view (the words).

import { Connection } from "./connection.js";
import { Keys } from "./keys.js";
import { Stage } from "./stage.js";
import { View, commandsOf } from "./view.js";

const REPEAT_MS = 130; // a held key in a task that waits acts this often, and only on a picture that has come
const SETTLE_MS = 400; // keys of the game that are still being hit when it ends must not decide about it

const connection = new Connection(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/socket`);
const send = (message) => connection.send(message);
const keys = new Keys(document);
const stage = new Stage(document.getElementById("picture"), (frame) => send({ type: "shown", frame }));
const view = new View(keys, send);

let state = null;
let gameCodes = new Set();
let endedAt = 0;
let actedAt = 0;
let answered = true;

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
  },
  step({ step }) {
    answered = true;
    view.step(step);
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
connection.addEventListener("frame", ({ detail }) => stage.show(detail));
connection.addEventListener("state", ({ detail }) => view.connection(detail));

keys.addEventListener("down", ({ detail: { code, repeat } }) => {
  const now = performance.now();
  const realTime = state?.episode?.fps !== null;
  if (repeat && (realTime || !answered || now - actedAt < REPEAT_MS)) return;
  actedAt = now;
  answered = false;
  send({ type: "down", code, frame: stage.number });
});
keys.addEventListener("up", ({ detail: { code } }) => send({ type: "up", code }));
keys.addEventListener("release", () => send({ type: "release" }));
keys.addEventListener("command", ({ detail: { name, code } }) => {
  const settling = state.phase === "finished" && performance.now() - endedAt < SETTLE_MS;
  if (!(settling && gameCodes.has(code))) send({ type: name });
});

document.getElementById("here").addEventListener("click", () => connection.open());

connection.open();
