// Asks whether an episode is really to be given up, in a way that no key of a game answers with yes.
//
//   const giveUp = new GiveUp(() => ...);   // it is
//   giveUp.ask(); giveUp.forget();

const SETTLE_MS = 400; // what is still pressed when the question comes up is no answer to it
const at = (id) => document.getElementById(id);

export class GiveUp {
  #askedAt = 0;

  constructor(give) {
    at("giving-yes").addEventListener("click", () => {
      if (this.#isFresh) return;
      this.forget();
      give();
    });
    at("giving").addEventListener("keydown", (event) => event.repeat && event.preventDefault(), true);
    at("giving").addEventListener("mousedown", (event) => {
      if (this.#isFresh || !event.target.closest("button")) event.preventDefault(); // the focus stays with no
    });
    at("giving").addEventListener("close", () => at("field").focus({ preventScroll: true }));
  }

  get #isFresh() {
    return performance.now() - this.#askedAt < SETTLE_MS;
  }

  ask() {
    if (at("giving").open) return;
    this.#askedAt = performance.now();
    at("giving").showModal();
    at("giving-no").focus();
  }

  /** There is nothing to give up any more. */
  forget() {
    if (at("giving").open) at("giving").close();
  }
}
