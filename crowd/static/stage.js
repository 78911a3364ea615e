// The picture: draws frames in order, whatever they are made of, and knows which one is on the screen.
//
//   const stage = new Stage(canvas, (number) => ...);   // is told each frame that was drawn
//   stage.atlas({ url, tile });                          // or null: what tiles are drawn from
//   stage.show(frame);                                   // of `unpackFrame`
//   new Stage(canvas, shown, room);                      // the picture fills an element, whatever its size becomes

import { IMAGES, SHAPES, TEXT, TILES } from "./protocol.js";
import { drawShapes } from "./shapes.js";
import { drawText, plainText } from "./terminal.js";
import { drawTiles, loadAtlas } from "./tiles.js";

const TALLEST = 0.58; // of the window
const BORDERS = 2;
const SHARP = { [SHAPES]: drawShapes, [TEXT]: drawText }; // drawn in as many pixels as the screen has

export class Stage {
  number = 0;
  drawnAt = 0; // when the picture that is on the screen came there
  #canvas;
  #context;
  #shown;
  #queue = Promise.resolve();
  #atlas = Promise.resolve(null);
  #atlasUrl = null;
  #room; // what the picture has to fit into; null: a part of the window
  #frame = null; // the shapes or text on the screen, to be drawn again at another size

  constructor(canvas, shown, room = null) {
    this.#room = room;
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false });
    this.#shown = shown;
    window.addEventListener("resize", () => this.#fit());
    if (room) new ResizeObserver(() => this.#fit()).observe(room);
  }

  atlas(named) {
    if (!named || named.url === this.#atlasUrl) return;
    this.#atlasUrl = named.url;
    this.#atlas = loadAtlas(named);
    this.#atlas.catch(() => (this.#atlasUrl = null)); // to be tried again with the next episode
  }

  show(frame) {
    const { kind, data } = frame;
    const needed = kind in IMAGES ? createImageBitmap(new Blob([data], { type: IMAGES[kind] })) : kind === TILES ? this.#atlas : null;
    // a frame that cannot be drawn must not stop those after it
    this.#queue = this.#queue.then(async () => this.#draw(frame, await needed)).catch((error) => console.error(error));
  }

  #draw(frame, needed) {
    const canvas = this.#canvas;
    const sharp = frame.kind in SHARP;
    const other = canvas.dataset.width !== `${frame.width}` || canvas.dataset.height !== `${frame.height}` || sharp !== (this.#frame !== null);
    this.#frame = sharp ? frame : null;
    if (other) {
      [canvas.dataset.width, canvas.dataset.height] = [frame.width, frame.height];
      if (!sharp) [canvas.width, canvas.height] = [frame.width, frame.height];
      this.#fit();
    }
    if (sharp) SHARP[frame.kind](this.#context, frame.data, canvas.width / frame.width);
    else if (frame.kind === TILES) drawTiles(this.#context, needed, frame.data);
    else {
      this.#context.drawImage(needed, 0, 0);
      needed.close();
    }
    canvas.textContent = frame.kind === TEXT ? plainText(frame.data) : ""; // for those who do not see it
    this.number = frame.number;
    this.drawnAt = performance.now();
    canvas.dataset.frame = frame.number;
    this.#shown(frame.number);
  }

  /** As large as there is room for; pixels in whole multiples where a small picture allows, so that grids stay crisp. */
  #fit() {
    const canvas = this.#canvas;
    const [width, height] = [Number(canvas.dataset.width), Number(canvas.dataset.height)];
    if (!width) return;
    const [wide, tall] = this.#space();
    if (wide <= 0 || tall <= 0) return; // not on the screen
    const scale = Math.min(wide / width, tall / height);
    const whole = !this.#frame && scale >= 2 ? Math.floor(scale) : scale;
    canvas.style.width = `${Math.max(1, Math.floor(width * whole))}px`;
    canvas.classList.toggle("crisp", !this.#frame && whole >= 1);
    if (this.#frame) this.#sharpen(Math.floor(width * whole));
  }

  #space() {
    if (this.#room) return [this.#room.clientWidth - BORDERS, this.#room.clientHeight - BORDERS];
    return [Math.min(document.documentElement.clientWidth - 34, 720), Math.max(innerHeight * TALLEST, 240)];
  }

  /** Shapes and text have as many pixels as the screen has. */
  #sharpen(cssWidth) {
    const { width, height } = this.#frame;
    const wide = Math.round(cssWidth * devicePixelRatio);
    const tall = Math.round((wide * height) / width);
    if (this.#canvas.width === wide && this.#canvas.height === tall) return;
    [this.#canvas.width, this.#canvas.height] = [wide, tall];
    SHARP[this.#frame.kind](this.#context, this.#frame.data, wide / width);
  }
}
