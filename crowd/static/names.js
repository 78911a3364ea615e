// How keys, numbers and outcomes are written for people.

import { count as figure } from "./format.js";
import { say } from "./texts.js";

const KEYS = {
  ...{ ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc", Enter: "⏎", PageUp: "PgUp", PageDown: "PgDn" },
  ...{ ShiftLeft: "⇧", ShiftRight: "⇧", ControlLeft: "Ctrl", ControlRight: "Ctrl", AltLeft: "Alt", AltRight: "Alt" },
};
// what a US keyboard has printed on its keys, where the browser does not tell of the person's own
const PRINTED = {
  ...{ Minus: "-", Equal: "=", BracketLeft: "[", BracketRight: "]", Semicolon: ";", Quote: "'", Backquote: "`", Backslash: "\\" },
  ...{ Comma: ",", Period: ".", Slash: "/", NumpadAdd: "Num+", NumpadSubtract: "Num-", NumpadMultiply: "Num*" },
  ...{ NumpadDivide: "Num/", NumpadDecimal: "Num.", NumpadEnter: "Num⏎" },
};
let layout = new Map();

/** Learn what is printed on this person's keys; resolves when key caps may be drawn again. */
export async function learnLayout() {
  layout = (await navigator.keyboard?.getLayoutMap?.()) ?? layout;
}
const SPOKEN = new Set(["ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Escape", "Space", "Enter"]);

export const keyCap = (code) => KEYS[code] ?? layout.get(code)?.toUpperCase() ?? PRINTED[code] ?? code.replace(/^(Key|Digit)/, "").replace(/^Numpad/, "Num");
export const keySpoken = (code) => (SPOKEN.has(code) ? say(`key.${code}`) : keyCap(code));
export const keysSpoken = (codes) => codes.map(keySpoken).reduce((first, second) => say("key.and", { one: first, other: second }));

/** "goto-red-ball" → "Goto red ball" */
export function title(id) {
  const words = id.replace(/[-_]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

/** A number with two decimals at most; the server sends null where it is not finite. */
export const number = (value) => (value === null ? "–" : String(Number(value.toFixed(2))));

export function plural(count, word) {
  return `${figure(count)} ${word}${count === 1 ? "" : "s"}`;
}

/** What an outcome comes to in figures; a study's outcome has no return and no rate. */
export function figures({ return: value, steps, seconds, rate = null }) {
  const parts = [
    value !== undefined && say("figures.return", { value: number(value) }),
    say("figures.steps", { n: steps }),
    say("figures.seconds", { seconds: seconds.toFixed(1) }),
    rate !== null && say("figures.rate", { rate: rate.toFixed(1) }),
  ];
  return sentence(parts.filter(Boolean).map((part) => part.replaceAll(" ", "\u00a0")).join(" · ")); // broken between them only
}

/** 75 → "1:15" */
export function clockTime(seconds) {
  const whole = Math.ceil(seconds);
  return `${Math.floor(whole / 60)}:${String(whole % 60).padStart(2, "0")}`;
}
