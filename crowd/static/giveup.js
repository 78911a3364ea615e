// Asks whether an episode is really to be given up, in a way that no key of a game answers with yes.
//
//   const giveUp = new GiveUp(() => ...);   // it is
//   giveUp.ask(); giveUp.forget();

import { byId } from "./element.js";

const SETTLE_MS = 400; // what is still pressed when the question comes up is no answer to it

export class GiveUp {
  #askedAt = 0;

  constructor(give) {
    byId("giving-yes").addEventListener("click", () => {
      if (this.#isFresh) return;
      this.forget();
      give();
    });
    byId("giving").addEventListener("keydown", (event) => event.repeat && event.preventDefault(), true);
    byId("giving").addEventListener("mousedown", (event) => {
      if (this.#isFresh || !event.target.closest("button")) event.preventDefault(); // the focus stays with no
    });
    byId("giving").addEventListener("close", () => byId("field").focus({ preventScroll: true }));
  }

  get #isFresh() {
    return performance.now() - this.#askedAt < SETTLE_MS;
  }

  ask() {
    if (byId("giving").open) return;
    this.#askedAt = performance.now();
    byId("giving").showModal();
    byId("giving-no").focus();
  }

  /** There is nothing to give up any more. */
  forget() {
    if (byId("giving").open) byId("giving").close();
  }
}
