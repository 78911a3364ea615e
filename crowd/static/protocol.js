// The names that page and server share; protocol.py has the same ones, and a test holds them equal.

export const SENT = ["texts", "state", "way", "working", "step", "saved", "saving", "asks", "note", "error", "replaced", "confirm"];
export const RECEIVED = ["down", "up", "hand", "release", "shown", "choose", "consent", "language", "answers", "device", "hidden", "withdraw", "pause", "go", "keep", "discard", "redo", "undo", "leave", "ready", "next"];
export const REPLACED = 4001;
export const UNKNOWN_SEAT = 4002;
export const OCCUPIED = 4003;
export const HEADER_BYTES = 16;
export const IMAGES = { 1: "image/png", 2: "image/webp" };
export const TILES = 3;
export const SHAPES = 4;
export const TEXT = 5;

/** Parse a JSON message; null for what is none, so that those after it are read all the same. */
export function readMessage(text) {
  try {
    const message = JSON.parse(text);
    if (typeof message?.type === "string") return message;
    console.error("expected a message with a type, got", text);
  } catch (error) {
    console.error(error);
  }
  return null;
}

/** Split a binary message into its header and the picture behind it; step `number` gave it, `saved` are on disk. */
export function unpackFrame(buffer) {
  const header = new DataView(buffer, 0, HEADER_BYTES);
  return {
    kind: header.getUint8(0),
    width: header.getUint16(2, true),
    height: header.getUint16(4, true),
    number: header.getUint32(8, true),
    saved: header.getUint32(12, true),
    data: new Uint8Array(buffer, HEADER_BYTES),
  };
}
