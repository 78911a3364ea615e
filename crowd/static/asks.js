// What is asked of the server, one thing at a time: a second press of the same thing is no second wish.
//
//   const asks = new Asks((message) => connection.send(message), { asked, unsent });
//   asks.ask({ type: "keep", episode: "..." });   // false where it was passed over
//   asks.answered();                              // the server has told where things stand

const AGAIN_MS = 400; // two presses of the same thing within this time are a double click, or a hand that trembles
const ALWAYS = new Set(["withdraw"]); // leaving a study waits for nothing

export class Asks {
  pending = null;
  #send;
  #told;
  #last = { what: "", at: -Infinity };

  constructor(send, onAnswer) {
    this.#send = send;
    this.#told = onAnswer;
    document.addEventListener("click", passOver, true);
  }

  ask(message) {
    const what = `${message.type} ${message.task ?? message.code ?? ""}`;
    const now = performance.now();
    const isSecond = what === this.#last.what && now - this.#last.at < AGAIN_MS;
    this.#last = { what, at: now };
    if ((this.pending !== null || isSecond) && !ALWAYS.has(message.type)) return false;
    if (!this.#send(message)) {
      this.#told.unsent();
      return false;
    }
    this.pending = message;
    this.#told.asked(message);
    return true;
  }

  answered() {
    this.pending = null;
  }

  /** It could not be done: the next press asks for it again. */
  failed() {
    this.answered();
    this.#last = { what: "", at: -Infinity };
  }
}

/** The second click of a double click may meet what the first has brought there: it is meant for neither. */
function passOver(event) {
  if (event.detail < 2 || !event.target.closest?.(".choice, .task")) return;
  event.preventDefault();
  event.stopPropagation();
}
