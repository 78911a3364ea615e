// What can be done with an episode, by which keys, and what it is called.

import { say } from "./texts.js";

const CODES = {
  keep: ["KeyK", "Enter"],
  discard: ["KeyX"],
  redo: ["KeyR"],
  undo: ["KeyU"],
  pause: ["Escape"],
  leave: ["Escape"],
};

export const codesOf = (name) => CODES[name];

/** What can be done now; in the middle of real time one pauses first, and leaves then. */
export function choicesOf({ phase, episode, choices }) {
  const rushed = phase === "playing" && episode !== null && episode.fps !== null;
  return rushed ? ["pause", ...choices.filter((name) => name !== "leave")] : choices;
}

/** The keys that mean a command now. A study's person gives up by the button alone: a slip would cost them. */
export function commandsOf(state) {
  const names = choicesOf(state).filter((name) => !(state.study && name === "discard"));
  return Object.fromEntries(names.flatMap((name) => CODES[name].map((code) => [code, name])));
}

/** Whether a choice ends an episode for good, as a failure. */
export const givesUp = (name, { baseline, study, episode }) => name === "discard" && Boolean(baseline || study) && episode?.outcome === null;

export function wording(name, { baseline, study }, phase) {
  if (name === "keep" && baseline) return say("choice.next");
  if (name === "discard" && (baseline || study)) return say("choice.give-up");
  return say(name === "redo" && phase !== "finished" ? "choice.start-over" : `choice.${name}`);
}
