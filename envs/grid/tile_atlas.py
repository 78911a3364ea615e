"""Pictures of a grid as packed cell codes, and the tile atlas from which a page draws them like `render`.

The atlas is one picture, 18 tiles wide: a row of tiles for each of MiniGrid's eleven types; below them the
agent's four coverage masks (gray level 15 per sixteenth of a pixel) and a tile of its color; below those,
small, the objects that can be carried. A page draws a tile over each cell, the agent over its cell through
the mask, and the carried object in the corner; from above, tiles in view are 22 levels brighter, the others
scaled by 0.62.
"""

from __future__ import annotations

import hashlib
import io
from functools import lru_cache

import numpy as np
from PIL import Image

from ..capabilities import TileAtlas
from .cells import CELL_CODES, EMPTY, TYPES, UNSEEN
from .dynamics import view_from
from .kernels import allocating
from .render import AGENT, agent_cover, draw_cell, extent, in_view, small_size
from .state import VIEW, GridState

FROM_AGENT, FROM_ABOVE = 0, 1
HEAD = 7
"""Bytes before the codes: perspective, columns, rows, the agent's x, y and direction, the carried code."""

_ACROSS = 18  # 6 colors x 3 states
_CARRIED = slice(5, 8)  # key, ball, box


def pack_view(grids: GridState, b: int) -> bytes:
    """Pack the view of the agent in grid `b`: 7 + 49 bytes, row by row."""
    out = np.zeros(HEAD + VIEW * VIEW, np.uint8)
    write_view(grids, b, out)
    return out.tobytes()


def pack_world(grids: GridState, b: int) -> bytes:
    """Pack all of grid `b`: 7 bytes, the codes row by row, then a bit a cell (LSB first), set in view."""
    height, width = extent(grids, b)
    x, y, direction = (int(value) for value in grids.state["agent"][b])
    head = bytes((FROM_ABOVE, width, height, x, y, direction, int(grids.state["carried"][b, 0])))
    bright = in_view(grids, b)[:height, :width]
    return (
        head
        + grids.cells[b, :height, :width].tobytes()
        + np.packbits(bright, axis=None, bitorder="little").tobytes()
    )


@allocating
def write_view(grids: GridState, b: int, out: np.ndarray) -> None:
    """Write the bytes of `pack_view` into uint8 `[56]`."""
    view, lit = np.empty((VIEW, VIEW), np.uint8), np.empty(VIEW, np.int64)
    agent = grids.state[b].agent
    view_from(grids, b, agent[0], agent[1], agent[2], view, lit)
    # in the view the agent stands in the middle of the last row, facing up (3)
    out[0], out[1], out[2], out[3], out[4], out[5] = FROM_AGENT, VIEW, VIEW, VIEW // 2, VIEW - 1, 3
    out[6] = grids.state[b].carried[0]
    for row in range(VIEW):
        for column in range(VIEW):
            out[HEAD + VIEW * row + column] = (
                view[column, row] if lit[row] >> column & 1 else np.uint8(UNSEEN)
            )
    # the agent is drawn over a bare floor, as `draw_view` does
    out[HEAD + VIEW * (VIEW - 1) + VIEW // 2] = EMPTY


@lru_cache(maxsize=16)
def atlas(tile: int) -> TileAtlas:
    """Draw the atlas for a tile side in pixels; its file name has a content hash."""
    tiles = [draw_cell(code, tile) for code in range(len(CELL_CODES))]
    rows = [np.concatenate(tiles[begin : begin + _ACROSS], axis=1) for begin in range(0, len(tiles), _ACROSS)]
    # coverage is a multiple of 1/16: times 240 it is exact in 8 bits
    covers = np.concatenate([np.round(agent_cover(direction, tile) * 240) for direction in range(4)], axis=1)
    painted = np.full((tile, tile, 3), AGENT, np.uint8)
    row = np.concatenate([np.repeat(covers.astype(np.uint8), 3, axis=2), painted], axis=1)
    rows.append(_padded(row, tile * _ACROSS))
    small = small_size(tile)
    for kind in range(len(TYPES))[_CARRIED]:
        codes = range(kind * _ACROSS, (kind + 1) * _ACROSS)
        row = np.concatenate([draw_cell(code, small) for code in codes], axis=1)
        rows.append(_padded(row, tile * _ACROSS))
    out = io.BytesIO()
    Image.fromarray(np.concatenate(rows)).save(out, "PNG", optimize=True)
    data = out.getvalue()
    name = f"grid-{tile}-{hashlib.blake2b(data, digest_size=8).hexdigest()}.png"
    return TileAtlas(name, data, tile)


def _padded(row: np.ndarray, width: int) -> np.ndarray:
    padded: np.ndarray = np.pad(row, ((0, 0), (0, width - row.shape[1]), (0, 0)))
    return padded
