// What hands do to a picture that is a page, as "hand" events: a kind, a place in the picture's own pixels, a key.
//
//   const hands = new Hands(field, canvas);
//   hands.on = true;                                    // mouse, finger and keyboard are the page's
//   hands.answered = true;                              // what was told last is on the screen
//   hands.addEventListener("hand", ({ detail }) => ...);   // { kind, x, y, amount, key, held, text }
//   hands.addEventListener("leave", () => ...);         // Escape: the keyboard is not the page's any more

const REST_MS = 150; // a pointer that stays so long has come to rest
const AGAIN_MS = 50;
const WHEEL_MS = 120; // turns of the wheel within this time are one
const STILL = 3; // pixels that a pointer may move in a click, as the server has it
const LINE = 16;
const MOVES = ["Backspace", "Delete", "ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown", "Home", "End"];
const NAMED = new Set([...MOVES, "Enter", "Tab", "PageUp", "PageDown"]);
const WITH_CONTROL = new Set([...MOVES, "Enter", "a", "c", "v", "x", "z"]); // the others are the browser's

export class Hands extends EventTarget {
  on = false;
  answered = true;
  #field;
  #canvas;
  #from = null; // where the button went down
  #drags = false;
  #last = ""; // the place that was told last
  #resting = 0;
  #turned = null;

  constructor(field, canvas) {
    super();
    [this.#field, this.#canvas] = [field, canvas];
    canvas.addEventListener("pointerdown", (event) => this.#down(event));
    canvas.addEventListener("pointermove", (event) => this.#moved(event));
    canvas.addEventListener("pointerup", (event) => this.#up(event));
    canvas.addEventListener("pointercancel", () => this.#cancelled());
    canvas.addEventListener("pointerleave", () => clearTimeout(this.#resting));
    canvas.addEventListener("contextmenu", (event) => this.on && event.preventDefault());
    canvas.addEventListener("wheel", (event) => this.#turn(event), { passive: false });
    document.addEventListener("keydown", (event) => this.#key(event));
  }

  tell(kind, more = {}) {
    clearTimeout(this.#resting);
    if (more.x !== undefined) this.#last = `${more.x} ${more.y}`;
    this.dispatchEvent(new CustomEvent("hand", { detail: { kind, ...more } }));
  }

  #down(event) {
    if (!this.on || event.button !== 0 || !event.isPrimary) return;
    event.preventDefault();
    this.#field.focus({ preventScroll: true });
    this.#canvas.setPointerCapture(event.pointerId);
    this.#from = this.#place(event);
    clearTimeout(this.#resting);
  }

  #moved(event) {
    if (!this.on || !event.isPrimary) return;
    const point = this.#place(event);
    if (this.#from === null) {
      clearTimeout(this.#resting);
      if (event.pointerType === "mouse") this.#resting = setTimeout(() => this.#rest(point), REST_MS);
      return;
    }
    if (!this.#drags && Math.max(Math.abs(point.x - this.#from.x), Math.abs(point.y - this.#from.y)) > STILL) {
      this.#drags = true;
      this.tell("press", this.#from);
    }
    if (this.#drags && this.answered && !this.#isLast(point)) this.tell("move", point);
  }

  #up(event) {
    if (this.#from === null) return;
    const [from, drags] = [this.#from, this.#drags];
    [this.#from, this.#drags] = [null, false];
    if (!this.on) return;
    if (drags) this.tell("release", this.#place(event));
    else this.tell(event.pointerType === "touch" ? "tap" : "click", from);
  }

  #cancelled() {
    if (this.#drags && this.on) this.tell("release", this.#from); // back to where it began
    [this.#from, this.#drags] = [null, false];
  }

  #rest(point) {
    if (!this.on || this.#isLast(point)) return;
    if (this.answered) this.tell("hover", point);
    else this.#resting = setTimeout(() => this.#rest(point), AGAIN_MS);
  }

  #turn(event) {
    if (!this.on || event.ctrlKey) return;
    event.preventDefault();
    const { width, height } = this.#canvas.getBoundingClientRect();
    const pixels = event.deltaMode === 0 ? event.deltaY * (this.#canvas.width / width) : event.deltaMode === 1 ? event.deltaY * LINE : event.deltaY * height;
    if (this.#turned === null) {
      setTimeout(() => {
        const { at: point, amount } = this.#turned;
        this.#turned = null;
        const whole = Math.round(Math.max(-4096, Math.min(4096, amount)));
        if (this.on && whole) this.tell("wheel", { ...point, amount: whole });
      }, WHEEL_MS);
    }
    this.#turned = { at: this.#place(event), amount: (this.#turned?.amount ?? 0) + pixels };
  }

  #key(event) {
    if (!this.on || event.isComposing || document.querySelector("dialog[open]")) return;
    if (event.target.closest?.("button, a, input")) return;
    if (event.key === "Escape") this.dispatchEvent(new CustomEvent("leave"));
    const pressed = keyOf(event);
    if (pressed === null) return;
    event.preventDefault();
    if (!event.repeat || this.answered) this.tell("key", pressed);
  }

  #isLast({ x, y }) {
    return this.#last === `${x} ${y}`;
  }

  #place(event) {
    const { left, top, width, height } = this.#canvas.getBoundingClientRect();
    const within = (part, most) => Math.max(0, Math.min(most - 1, Math.floor(part * most)));
    return { x: within((event.clientX - left) / width, this.#canvas.width), y: within((event.clientY - top) / height, this.#canvas.height) };
  }
}

/** The key and the modifiers held, null for what is not the page's: the browser's own shortcuts. */
function keyOf(event) {
  const { key, shiftKey } = event;
  const shift = shiftKey ? ["Shift"] : [];
  if (event.getModifierState("AltGraph")) return key.length === 1 ? { key, held: [] } : null;
  if (event.altKey) return /^[^\x00-\x7f]$/.test(key) && !event.ctrlKey ? { key, held: [] } : null; // Option types signs
  if (event.ctrlKey || event.metaKey) {
    const name = key.length === 1 ? key.toLowerCase() : key;
    return WITH_CONTROL.has(name) ? { key: name, held: ["Control", ...shift] } : null;
  }
  if (key.length === 1) return { key, held: [] };
  return NAMED.has(key) ? { key, held: shift } : null;
}
