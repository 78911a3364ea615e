// Asks the person at this page whether another browser that has opened their link is theirs.
//
//   const confirmation = new Confirmation(() => ...);   // is called when the answer did not arrive
//   confirmation.ask("0427");                           // "" takes the question back

import { byId } from "./element.js";
import { say } from "./texts.js";


export class Confirmation {
  #failed;
  #code = "";
  #answered = "";

  constructor(failed) {
    this.#failed = failed;
    byId("confirm-yes").addEventListener("click", () => this.#answer(true));
    byId("confirm-no").addEventListener("click", () => this.#answer(false));
    byId("confirm").addEventListener("cancel", (event) => event.preventDefault()); // Escape is a key of many games
  }

  ask(code) {
    if (code === "") this.#answered = "";
    if (code === this.#code || code === this.#answered) return;
    this.#code = code;
    if (code === "") return byId("confirm").close();
    byId("confirm-text").textContent = say("confirm.text");
    byId("confirm-code").textContent = code;
    if (!byId("confirm").open) byId("confirm").showModal();
    byId("confirm-no").focus();
  }

  async #answer(isOwn) {
    const code = this.#code;
    const body = JSON.stringify({ code, own: isOwn });
    this.#answered = code;
    this.#code = "";
    byId("confirm").close();
    try {
      const { ok, status } = await fetch("/confirm", { method: "POST", body });
      if (ok || status === 410) return; // 410: it does not ask any more
    } catch {
      // told below
    }
    this.#answered = "";
    this.#failed();
  }
}
