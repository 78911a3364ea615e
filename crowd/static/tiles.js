// Draws a grid world from the numbers of its tiles, pixel for pixel as `envs/grid/drawing.py` does.
//
//   const atlas = await loadAtlas({ url, tile });
//   drawTiles(context, atlas, bytes);   // bytes: see `envs/grid/tiles.py`

const ACROSS = 18; // tiles in a row of the atlas
const KINDS = 11; // rows of tiles, one a type
const HEAD = 7;
const FROM_ABOVE = 1;
const FIRST_CARRIED = 5; // the type of the first small row: key, ball, box

export async function loadAtlas({ url, tile }) {
  const answer = await fetch(url);
  if (!answer.ok) throw new Error(`expected an atlas at ${url}, got ${answer.status}`);
  const exact = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(await answer.blob(), exact);
  const plain = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = plain.getContext("2d", { alpha: false, willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  const pixels = context.getImageData(0, 0, plain.width, plain.height);
  return { tile, small: Math.max(Math.floor((tile * 2) / 5), 4), pixels, plain, bright: null, dim: null, agents: new Map() };
}

export function drawTiles(context, atlas, bytes) {
  const [perspective, columns, rows, x, y, direction, carried] = bytes;
  const looks = bytes.subarray(HEAD, HEAD + columns * rows);
  const inView = bytes.subarray(HEAD + columns * rows);
  const above = perspective === FROM_ABOVE;
  const isBright = (cell) => (inView[cell >> 3] >> (cell & 7)) & 1;
  for (let cell = 0; cell < looks.length; cell++) {
    const sheet = !above ? atlas.plain : isBright(cell) ? brightened(atlas) : dimmed(atlas);
    drawTile(context, atlas, sheet, looks[cell], cell % columns, Math.floor(cell / columns));
  }
  const cell = y * columns + x;
  const light = !above ? same : isBright(cell) ? brighter : dimmer;
  context.putImageData(agentTile(atlas, looks[cell], direction, carried, light), x * atlas.tile, y * atlas.tile);
}

function drawTile(context, { tile }, sheet, look, column, row) {
  const [left, top] = [(look % ACROSS) * tile, Math.floor(look / ACROSS) * tile];
  context.drawImage(sheet, left, top, tile, tile, column * tile, row * tile, tile, tile);
}

const same = (value) => value;
const brighter = (value) => Math.min(value + 22, 255);
const dimmer = (value) => Math.trunc(value * 0.62);

const brightened = (atlas) => (atlas.bright ??= lit(atlas, brighter));
const dimmed = (atlas) => (atlas.dim ??= lit(atlas, dimmer));

/** A copy of the atlas in another light. */
function lit({ pixels }, light) {
  const canvas = new OffscreenCanvas(pixels.width, pixels.height);
  const copy = new ImageData(new Uint8ClampedArray(pixels.data), pixels.width, pixels.height);
  for (let index = 0; index < copy.data.length; index++) if (index % 4 !== 3) copy.data[index] = light(copy.data[index]);
  canvas.getContext("2d", { alpha: false }).putImageData(copy, 0, 0);
  return canvas;
}

/** The agent over a cell, and small in its corner what it carries. */
function agentTile(atlas, look, direction, carried, light) {
  const key = [look, direction, carried, light.name].join();
  if (!atlas.agents.has(key)) atlas.agents.set(key, drawAgent(atlas, look, direction, carried, light));
  return atlas.agents.get(key);
}

function drawAgent({ tile, small, pixels }, look, direction, carried, light) {
  const from = (left, top, x, y) => 4 * ((top + y) * pixels.width + left + x);
  const below = [(look % ACROSS) * tile, Math.floor(look / ACROSS) * tile];
  const cover = [direction * tile, KINDS * tile];
  const paint = from(4 * tile, KINDS * tile, 0, 0);
  const held = [(carried % ACROSS) * small, (KINDS + 1) * tile + (Math.floor(carried / ACROSS) - FIRST_CARRIED) * small];
  const corner = carried ? tile - small : tile;
  const drawn = new ImageData(tile, tile);
  for (let y = 0; y < tile; y++) {
    for (let x = 0; x < tile; x++) {
      const inCorner = x >= corner && y >= corner;
      const share = pixels.data[from(...cover, x, y)] / 240;
      for (let part = 0; part < 3; part++) {
        const [ground, agent] = [pixels.data[from(...below, x, y) + part], pixels.data[paint + part]];
        const value = inCorner
          ? pixels.data[from(...held, x - corner, y - corner) + part]
          : Math.trunc(ground * (1 - share) + agent * share);
        drawn.data[4 * (y * tile + x) + part] = light(value);
      }
      drawn.data[4 * (y * tile + x) + 3] = 255;
    }
  }
  return drawn;
}
