// How many steps a second are reached in real time, beside those that a task asks for.
//
//   const pace = new Pace((text) => ...);   // is told, once, when it has become too slow, and when it no longer is
//   pace.state(state); pace.step(12);

import { say } from "./texts.js";

const WINDOW_MS = 3000;
const DRAWN_MS = 1000;
const ENOUGH = 0.9; // of the asked rate; before serving, worlds/reachable_pace.py asks for a little more
const FEWEST = 4; // steps that a window holds at least, however slow a task is meant to be

const place = document.getElementById("pace");

export class Pace {
  #announce;
  #fps = null;
  #episode = null;
  #marks = [];
  #isSlow = false;

  constructor(announce) {
    this.#announce = announce;
    setInterval(() => this.#draw(), DRAWN_MS);
  }

  state({ phase, episode }) {
    const fps = phase === "playing" ? (episode?.fps ?? null) : null;
    if (fps === this.#fps && episode?.id === this.#episode) return;
    if (episode?.id !== this.#episode || episode?.fps == null) {
      place.hidden = true;
      this.#isSlow = false;
    }
    [this.#fps, this.#episode, this.#marks] = [fps, episode?.id, []];
  }

  step(step) {
    if (this.#fps !== null) this.#marks.push({ at: performance.now(), step });
  }

  #draw() {
    if (this.#fps === null || this.#marks.length === 0) return;
    const now = performance.now();
    const span = Math.max(WINDOW_MS, (1000 * FEWEST) / this.#fps);
    while (this.#marks.length > 2 && now - this.#marks[0].at > span) this.#marks.shift();
    const [first, last] = [this.#marks[0], this.#marks.at(-1)];
    if (now - first.at < span / 2) return;
    // until the last step, if the next is not overdue
    const until = now - last.at > 2000 / this.#fps ? now : last.at;
    const rate = ((last.step - first.step) * 1000) / Math.max(until - first.at, 1);
    this.#show(rate);
  }

  #show(rate) {
    const isSlow = rate < ENOUGH * this.#fps;
    const values = { rate: rounded(Math.min(rate, this.#fps)), fps: rounded(this.#fps) };
    place.hidden = false;
    place.dataset.slow = isSlow;
    place.textContent = say("pace.rate", values);
    if (isSlow !== this.#isSlow) this.#announce(say(isSlow ? "pace.slow" : "pace.fine", values));
    this.#isSlow = isSlow;
  }
}

const rounded = (rate) => String(rate < 10 ? Number(rate.toFixed(1)) : Math.round(rate));
