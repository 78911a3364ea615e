// The socket: comes back by itself after a loss, and says what it is: connecting, open,
// silent (something was asked long ago), lost, replaced (another page took the seat) or occupied (another page has it).
//
//   const connection = new Connection(url);
//   connection.addEventListener("message", ({ detail }) => ...);   // a parsed JSON message
//   connection.addEventListener("frame", ({ detail }) => ...);     // an ArrayBuffer
//   connection.send({ type: "release" });
//   connection.arrived();   // the server has told where things stand: only now is what is shown what there is

import { OCCUPIED, readMessage, REPLACED, UNKNOWN_SEAT } from "./protocol.js";

const FIRST_WAIT_MS = 250;
const LONGEST_WAIT_MS = 3000;
const SILENT_MS = 5000;
const DEAD_MS = 15000; // longer than any step may take

export class Connection extends EventTarget {
  #url;
  #socket = null;
  #wait = FIRST_WAIT_MS;
  #state = "";
  #unanswered = null; // since when

  constructor(url) {
    super();
    this.#url = url;
    setInterval(() => this.#listen(), 1000);
    addEventListener("offline", () => this.#lose());
  }

  /** Connect; `takes` asks for the seat even if another page has it. */
  open(takes = false) {
    const socket = new WebSocket(`${this.#url}?page=${pageName()}${takes ? "&take" : ""}`);
    socket.binaryType = "arraybuffer";
    socket.addEventListener("message", ({ data }) => {
      if (socket !== this.#socket) return;
      this.#unanswered = null;
      if (this.#state === "silent") this.#turn("open");
      if (typeof data !== "string") return this.#tell("frame", data);
      const message = readMessage(data);
      if (message !== null) this.#tell("message", message);
    });
    socket.addEventListener("close", ({ code }) => socket === this.#socket && this.#closed(code));
    this.#unanswered = null;
    this.#socket = socket;
  }

  /** What the server tells has come: until then a page shows what was. */
  arrived() {
    this.#wait = FIRST_WAIT_MS;
    this.#turn("open");
  }

  /** Whether what is shown is what there is. */
  get isLive() {
    return this.#state === "open" || this.#state === "silent";
  }

  /** Send what a server answers at once, mostly: when nothing comes back, the line may be dead without a word. */
  ask(message) {
    const isSent = this.send(message);
    if (isSent) this.#unanswered ??= performance.now();
    return isSent;
  }

  /** Send a message; false when there is no connection: what is lost is lost, an old key is worse than none. */
  send(message) {
    if (this.#socket?.readyState !== WebSocket.OPEN) return false;
    this.#socket.send(JSON.stringify(message));
    return true;
  }

  #closed(code) {
    this.#socket = null;
    if (code === REPLACED) return this.#turn("replaced");
    if (code === OCCUPIED) return this.#turn("occupied");
    if (code === UNKNOWN_SEAT) return location.reload();
    this.#turn("lost");
    setTimeout(() => this.#socket ?? this.open(), this.#wait);
    this.#wait = Math.min(2 * this.#wait, LONGEST_WAIT_MS);
  }

  #listen() {
    if (this.#unanswered === null || !this.isLive) return;
    const waited = performance.now() - this.#unanswered;
    if (waited > DEAD_MS) this.#lose();
    else if (waited > SILENT_MS) this.#turn("silent");
  }

  /** Take the line for dead, whatever the browser believes, and try another. */
  #lose() {
    if (this.#socket === null) return;
    this.#socket.close();
    this.#closed(0);
  }

  #turn(state) {
    if (state === this.#state) return;
    this.#state = state;
    this.#tell("state", state);
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
