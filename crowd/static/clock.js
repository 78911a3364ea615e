// The time that is left for an episode, shown once there is little of it.
//
//   clock.set(75.5, true);   // seconds left, and whether they run; null for no limit

import { clockTime } from "./names.js";
import { say } from "./texts.js";

const SHOWN_SECONDS = 60;
const TICK_MS = 250;

export class Clock {
  #place;
  #until = null;
  #left = null;

  constructor(place) {
    this.#place = place;
    setInterval(() => this.#draw(), TICK_MS);
  }

  set(secondsLeft, runs) {
    this.#left = secondsLeft;
    this.#until = secondsLeft !== null && runs ? performance.now() + 1000 * secondsLeft : null;
    this.#draw();
  }

  #draw() {
    const left = this.#until === null ? this.#left : Math.max(0, (this.#until - performance.now()) / 1000);
    this.#place.hidden = left === null || left > SHOWN_SECONDS;
    if (!this.#place.hidden) this.#place.textContent = say("episode.clock", { time: clockTime(left) });
  }
}
