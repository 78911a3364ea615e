// Draws lines of text in cells of one width, with the colors of a terminal, on white.
//
//   drawText(context, bytes, scale);   // scale: device pixels for one of the picture's
//   plainText(bytes);                  // the same without colors

const [CELL_WIDTH, CELL_HEIGHT] = [8, 16]; // as in envs/pictures.py
const PALETTE = ["#000", "#cd3131", "#0d8050", "#a07d00", "#2472c8", "#bc3fbc", "#118ca5", "#6e6e6e"];
const ESCAPES = /\x1b(?:\[([0-9;?]*)([@-~])|[@-_])/g;

export function plainText(bytes) {
  return new TextDecoder().decode(bytes).replace(ESCAPES, "");
}

export function drawText(context, bytes, scale) {
  const { canvas } = context;
  context.setTransform(1, 0, 0, 1, 0, 0);
  context.fillStyle = "#fff";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.setTransform(scale, 0, 0, scale, 0, 0);
  context.font = "13px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
  context.textAlign = "center";
  context.textBaseline = "middle";
  const pen = { ink: "#000", paper: null };
  expandTabs(new TextDecoder().decode(bytes)).forEach((line, row) => drawLine(context, line, row, pen));
  context.setTransform(1, 0, 0, 1, 0, 0);
}

function drawLine(context, line, row, pen) {
  let [column, offset] = [0, 0];
  const write = (text) => {
    for (const letter of text) drawLetter(context, letter, column++ * CELL_WIDTH, row * CELL_HEIGHT, pen);
  };
  for (const escape of line.matchAll(ESCAPES)) {
    write(line.slice(offset, escape.index));
    offset = escape.index + escape[0].length;
    if (escape[2] === "m") escape[1].split(";").forEach((code) => turn(pen, Number(code)));
  }
  write(line.slice(offset));
}

function drawLetter(context, letter, x, y, { ink, paper }) {
  if (paper !== null) {
    context.fillStyle = paper;
    context.fillRect(x, y, CELL_WIDTH, CELL_HEIGHT);
  }
  context.fillStyle = ink;
  context.fillText(letter, x + CELL_WIDTH / 2, y + CELL_HEIGHT / 2);
}

function turn(pen, code) {
  if (code === 0 || code === 39) pen.ink = "#000";
  if (code === 0 || code === 49) pen.paper = null;
  if (code >= 30 && code < 38) pen.ink = PALETTE[code - 30];
  if (code >= 40 && code < 48) pen.paper = PALETTE[code - 40];
}

const expandTabs = (text) => text.replaceAll("\t", "    ").split("\n");
