"""A picture of a world as its tiles' numbers, and the atlas from which a page draws them as `drawing` does.

The atlas is one picture, 18 tiles wide: a row of tiles for each of MiniGrid's eleven types; below them the
agent's four covers (grey: 15 times the sixteenths of a pixel that are the agent's) and a tile of its colour;
below those, small, what can be carried. A page draws a tile over a cell, the agent over its cell by the
cover, what it carries in the corner; and from above, tiles in view 22 brighter, the others at 0.62.
"""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache

import numpy as np
from PIL import Image

from .cells import EMPTY, LOOKS, TYPES, UNSEEN
from .dynamics import look_from
from .kernels import allocating
from .render import AGENT, agent_cover, draw_look, extent, in_view, small_size
from .state import VIEW, GridState

FROM_AGENT, FROM_ABOVE = 0, 1
HEAD = 7
"""Bytes before the looks: perspective, columns, rows, the agent's x, y and direction, the look it carries."""

_ACROSS = 18
_CARRIED = slice(5, 8)


def pack_view(worlds: GridState, b: int) -> bytes:
    """Say what the agent of world `b` sees: 7 + 49 bytes, row by row."""
    out = np.zeros(HEAD + VIEW * VIEW, np.uint8)
    write_view(worlds, b, out)
    return out.tobytes()


def pack_world(worlds: GridState, b: int) -> bytes:
    """Say what all of world `b` is: 7 bytes, the looks row by row, then a bit a cell, set where in view."""
    height, width = extent(worlds, b)
    x, y, direction = (int(one) for one in worlds.state["agent"][b])
    head = bytes((FROM_ABOVE, width, height, x, y, direction, int(worlds.state["carried"][b, 0])))
    bright = in_view(worlds, b)[:height, :width]
    return (
        head
        + worlds.cells[b, :height, :width].tobytes()
        + np.packbits(bright, axis=None, bitorder="little").tobytes()
    )


@allocating
def write_view(worlds: GridState, b: int, out: np.ndarray) -> None:
    """Write `pack_view` into uint8 `[56]`."""
    view, seen = np.empty((VIEW, VIEW), np.uint8), np.empty(VIEW, np.int64)
    agent = worlds.state[b].agent
    look_from(worlds, b, agent[0], agent[1], agent[2], view, seen)
    out[0], out[1], out[2], out[3], out[4], out[5] = FROM_AGENT, VIEW, VIEW, VIEW // 2, VIEW - 1, 3
    out[6] = worlds.state[b].carried[0]
    for j in range(VIEW):
        for i in range(VIEW):
            out[HEAD + VIEW * j + i] = view[i, j] if seen[j] >> i & 1 else np.uint8(UNSEEN)
    # the agent is drawn over a bare floor, as `draw_view` does
    out[HEAD + VIEW * (VIEW - 1) + VIEW // 2] = EMPTY


@lru_cache(maxsize=16)
def atlas(tile: int) -> tuple[str, bytes]:
    """Make the atlas of a tile's side in pixels; returns its name, with a hash of what it holds, and PNG."""
    tiles = [draw_look(look, tile) for look in range(len(LOOKS))]
    rows = [np.concatenate(tiles[at : at + _ACROSS], axis=1) for at in range(0, len(tiles), _ACROSS)]
    covers = np.concatenate([np.round(agent_cover(one, tile) * 240) for one in range(4)], axis=1)
    painted = np.full((tile, tile, 3), AGENT, np.uint8)
    row = np.concatenate([np.repeat(covers.astype(np.uint8), 3, axis=2), painted], axis=1)
    rows.append(_padded(row, tile * _ACROSS))
    small = small_size(tile)
    for kind in range(len(TYPES))[_CARRIED]:
        looks = range(kind * _ACROSS, (kind + 1) * _ACROSS)
        row = np.concatenate([draw_look(look, small) for look in looks], axis=1)
        rows.append(_padded(row, tile * _ACROSS))
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(out, "PNG", optimize=True)
    data = out.getvalue()
    return f"grid-{tile}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.png", data


def _padded(row: np.ndarray, width: int) -> np.ndarray:
    padded: np.ndarray = np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)))
    return padded
