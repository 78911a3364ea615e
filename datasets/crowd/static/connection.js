// The socket: comes back by itself after a loss, and says what it is: connecting, open,
// lost, replaced (another page took the seat) or occupied (another page has it).
//
//   const connection = new Connection(url);
//   connection.addEventListener("message", ({ detail }) => ...);   // a parsed JSON message
//   connection.addEventListener("frame", ({ detail }) => ...);     // an ArrayBuffer
//   connection.send({ type: "release" });

import { OCCUPIED, readMessage, REPLACED, UNKNOWN_SEAT } from "./protocol.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 3000;

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #wait = FIRST_WAIT_MS;

  constructor(url) {
    super();
    this.#url = url;
  }

  /** Connect; `takes` asks for the seat even if another page has it. */
  open(takes = false) {
    const socket = new WebSocket(`${this.#url}?page=${pageName()}${takes ? "&take" : ""}`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("open", () => {
      this.#wait = FIRST_WAIT_MS;
      this.#tell("state", "open");
    });
    socket.addEventListener("message", ({ data }) => {
      if (typeof data !== "string") return this.#tell("frame", data);
      const message = readMessage(data);
      if (message !== null) this.#tell("message", message);
    });
    socket.addEventListener("close", ({ code }) => this.#closed(code));
    this.#socket = socket;
  }

  /** Send a message; false when there is no connection: what is lost is lost, an old key is worse than none. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #closed(code) {
    if (code === REPLACED) return this.#tell("state", "replaced");
    if (code === OCCUPIED) return this.#tell("state", "occupied");
    if (code === UNKNOWN_SEAT) return location.reload();
    this.#tell("state", "lost");
    setTimeout(() => this.open(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

/** A random name for this tab, which it keeps when it is loaded anew: its own return is no second page. */
function pageName() {
  const name = sessionStorage.getItem("page") ?? crypto.getRandomValues(new Uint32Array(4)).join("-");
  sessionStorage.setItem("page", name);
  return name;
}
