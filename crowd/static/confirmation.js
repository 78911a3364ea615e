// Asks the person at this page whether another browser that has opened their link is theirs.
//
//   const confirmation = new Confirmation(() => ...);   // is called when the answer did not arrive
//   confirmation.ask("0427");                           // "" takes the question back

import { say } from "./texts.js";

const at = (id) => document.getElementById(id);

export class Confirmation {
  #failed;
  #code = "";
  #answered = "";

  constructor(failed) {
    this.#failed = failed;
    at("confirm-yes").addEventListener("click", () => this.#answer(true));
    at("confirm-no").addEventListener("click", () => this.#answer(false));
    at("confirm").addEventListener("cancel", (event) => event.preventDefault()); // Escape is a key of many games
  }

  ask(code) {
    if (code === "") this.#answered = "";
    if (code === this.#code || code === this.#answered) return;
    this.#code = code;
    if (code === "") return at("confirm").close();
    at("confirm-text").textContent = say("confirm.text");
    at("confirm-code").textContent = code;
    if (!at("confirm").open) at("confirm").showModal();
    at("confirm-no").focus();
  }

  async #answer(own) {
    const code = this.#code;
    const body = JSON.stringify({ code, own });
    this.#answered = code;
    this.#code = "";
    at("confirm").close();
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
