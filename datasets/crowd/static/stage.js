// The picture: decodes frames in order, draws the newest, and knows which one is on the screen.
//
//   const stage = new Stage(canvas, (number) => ...);   // is told each frame that was drawn
//   stage.show(buffer);

import { unpackFrame } from "./protocol.js";

const TALLEST = 0.58; // of the window

export class Stage {
  number = 0;
  drawnAt = 0; // when the picture that is on the screen came there
  #canvas;
  #context;
  #shown;
  #queue = Promise.resolve();

  constructor(canvas, shown) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#shown = shown;
    window.addEventListener("resize", () => this.#fit());
  }

  show(buffer) {
    const frame = unpackFrame(buffer);
    const decoded = createImageBitmap(new Blob([frame.image], { type: frame.type }));
    // a frame that cannot be decoded must not stop those after it
    this.#queue = this.#queue.then(async () => this.#draw(frame, await decoded)).catch((error) => console.error(error));
  }

  #draw(frame, bitmap) {
    const canvas = this.#canvas;
    if (canvas.width !== frame.width || canvas.height !== frame.height) {
      canvas.width = frame.width;
      canvas.height = frame.height;
      this.#fit();
    }
    this.#context.drawImage(bitmap, 0, 0);
    bitmap.close();
    this.number = frame.number;
    this.drawnAt = performance.now();
    canvas.dataset.frame = frame.number;
    this.#shown(frame.number);
  }

  /** As large as there is room for; whole multiples where a small picture allows, so that grids stay crisp. */
  #fit() {
    const { width, height } = this.#canvas;
    const room = Math.min(document.documentElement.clientWidth - 34, 720);
    const tall = Math.max(innerHeight * TALLEST, 240);
    const scale = Math.min(room / width, tall / height);
    const whole = scale >= 2 ? Math.floor(scale) : scale;
    this.#canvas.style.width = `${Math.floor(width * whole)}px`;
    this.#canvas.classList.toggle("crisp", whole >= 1);
  }
}
