// How figures are written for people.

export const MISSING = "–";

const orMissing = (write) => (value, ...rest) => (value === null || value === undefined ? MISSING : write(value, ...rest));

export const count = orMissing((value) => value.toLocaleString("en").replaceAll(",", "\u2009"));
export const percent = orMissing((share) => `${Math.round(100 * share)}\u2009%`);
export const times = orMissing((ratio) => `${ratio.toFixed(1)}×`);
export const milliseconds = orMissing((ms) => (ms < 1000 ? `${Math.round(ms)}${ms ? "\u2009ms" : ""}` : ms < 60_000 ? seconds(ms / 1000) : duration(ms / 1000)));
export const seconds = orMissing((value) => `${value < 100 ? value.toFixed(1) : Math.round(value)}\u2009s`);

/** "83 % (81–85)" */
export const interval = orMissing((estimate) => `${percent(estimate.share)} (${bounds(estimate)})`);

/** "81–85" */
export const bounds = orMissing(({ low, high }) => `${Math.round(100 * low)}–${Math.round(100 * high)}`);

export function duration(value) {
  if (value < 60) return `${Math.round(value)}\u2009s`;
  if (value < 3600) return `${Math.round(value / 60)}\u2009min`;
  if (value < 86_400) return `${Math.round(value / 3600)}\u2009h`;
  return `${Math.round(value / 86_400)}\u2009d`;
}

export const ago = (at, now) => (now - at < 2 ? "now" : `${duration(now - at)} ago`);

/** A moment on an axis or in a list: the time of day, with the day where that says nothing. */
export function clock(at, step = 60) {
  const day = new Date(1000 * at);
  const time = day.toLocaleTimeString("en-GB", { hour: "2-digit", minute: "2-digit" });
  if (step < 3600) return time;
  return `${day.toLocaleDateString("en-GB", { weekday: "short" })} ${time}`;
}

export const moment = (at) =>
  new Date(1000 * at).toLocaleString("en-GB", { day: "numeric", month: "short", hour: "2-digit", minute: "2-digit" });
