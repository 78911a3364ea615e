// How keys, numbers and outcomes are written for people.

const KEYS = { ArrowLeft: "←", ArrowRight: "→", ArrowUp: "↑", ArrowDown: "↓", Escape: "Esc" };
const SPOKEN = { ArrowLeft: "left arrow", ArrowRight: "right arrow", ArrowUp: "up arrow", ArrowDown: "down arrow", Escape: "escape" };

export const keyCap = (code) => KEYS[code] ?? code.replace(/^(Key|Digit)/, "");
export const keySpoken = (code) => SPOKEN[code] ?? keyCap(code);

/** "goto-red-ball" → "Goto red ball" */
export function title(id) {
  const words = id.replace(/[-_]/g, " ");
  return words.charAt(0).toUpperCase() + words.slice(1);
}

export const sentence = (text) => text.charAt(0).toUpperCase() + text.slice(1);

export const number = (value) => String(Number(value.toFixed(2)));

export function plural(count, word) {
  return `${count} ${word}${count === 1 ? "" : "s"}`;
}

export function figures(outcome) {
  const parts = [`return ${number(outcome.return)}`, plural(outcome.steps, "step"), `${outcome.seconds.toFixed(1)} s`];
  if (outcome.rate !== null) parts.push(`${outcome.rate.toFixed(1)} steps a second`);
  return sentence(parts.join(" · "));
}
