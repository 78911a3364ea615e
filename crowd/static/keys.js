// What a person presses, as named events: "down" and "up" with a code, "command", "release". Knows nothing of the server.
//
//   const keys = new Keys(document);
//   keys.codes = new Set(["ArrowLeft"]);       // the codes that the task at hand uses
//   keys.commands = { KeyK: "keep" };          // what other keys mean now
//   keys.addEventListener("down", ({ detail }) => ...);   // { code, repeat }

const MODIFIERS = new Set(["ShiftLeft", "ShiftRight", "ControlLeft", "ControlRight", "AltLeft", "AltRight", "MetaLeft", "MetaRight", "CapsLock", "Tab"]);

export class Keys extends EventTarget {
  codes = new Set();
  commands = {};
  anyKey = null; // the command that every other key means, if there is one
  #held = new Set();

  constructor(page) {
    super();
    page.addEventListener("keydown", (event) => this.#keyDown(event));
    page.addEventListener("keyup", (event) => this.lift(event.code));
    page.addEventListener("visibilitychange", () => page.hidden && this.releaseAll());
    window.addEventListener("blur", () => this.releaseAll());
    window.addEventListener("pagehide", () => this.releaseAll());
  }

  /** A key or a button on the screen goes down. */
  press(code, repeat = false) {
    this.#held.add(code);
    this.#tell("down", { code, repeat });
  }

  /** ... and up. */
  lift(code) {
    if (this.#held.delete(code)) this.#tell("up", { code });
  }

  releaseAll() {
    this.#held.clear();
    this.#tell("release", {});
  }

  #keyDown(event) {
    const { code, repeat } = event;
    if (this.#isShortcut(event) || (MODIFIERS.has(code) && !this.codes.has(code))) return;
    if (document.querySelector("dialog[open]")) return; // what is asked there comes first
    const onButton = event.target.closest?.("button, a") !== null;
    if (onButton && (code === "Enter" || code === "Space")) return; // the browser presses the button
    const name = this.codes.has(code) ? null : (this.commands[code] ?? this.anyKey);
    if (this.codes.has(code)) this.press(code, repeat);
    else if (name && !repeat) this.#tell("command", { name, code });
    else return;
    event.preventDefault();
  }

  /** A modifier that the task does not use makes a key the browser's. */
  #isShortcut({ ctrlKey, metaKey, altKey }) {
    const uses = (name) => this.codes.has(`${name}Left`) || this.codes.has(`${name}Right`);
    return metaKey || (ctrlKey && !uses("Control")) || (altKey && !uses("Alt"));
  }

  #tell(name, detail) {
    this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}
