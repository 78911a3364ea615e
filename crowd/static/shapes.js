// Draws the shapes of `envs/scenes.py`: filled polygons and circles, and lines, on white.
//
//   drawShapes(context, bytes, scale);   // scale: device pixels for one of the picture's

const FINE = 32;

export function drawShapes(context, bytes, scale) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale / FINE, 0, 0, scale / FINE, 0, 0);
  const reader = new Reader(bytes);
  while (!reader.done) {
    const kind = String.fromCharCode(reader.byte());
    const color = `rgb(${reader.byte()} ${reader.byte()} ${reader.byte()})`;
    context.fillStyle = context.strokeStyle = color;
    draw[kind](context, reader);
  }
  context.setTransform(1, 0, 0, 1, 0, 0);
}

const draw = {
  P(context, reader) {
    context.beginPath();
    trace(context, reader);
    context.closePath();
    context.fill();
  },
  C(context, reader) {
    const [x, y, radius] = [reader.short(), reader.short(), reader.short()];
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.fill();
  },
  L(context, reader) {
    context.lineWidth = reader.short();
    context.beginPath();
    trace(context, reader);
    context.stroke();
  },
};

function trace(context, reader) {
  for (let left = reader.byte(); left > 0; left--) context.lineTo(reader.short(), reader.short());
}

class Reader {
  #view;
  #at = 0;

  constructor(bytes) {
    this.#view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  get done() {
    return this.#at >= this.#view.byteLength;
  }

  byte() {
    return this.#view.getUint8(this.#at++);
  }

  short() {
    this.#at += 2;
    return this.#view.getInt16(this.#at - 2, true);
  }
}
