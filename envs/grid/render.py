"""Render a grid for people: the agent's view, or the whole grid from above; and as text."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .cells import CELL_CODES, COLORS, TYPES
from .dynamics import observe_one
from .state import VIEW, GridState

_PALETTE = {
    "red": (229, 72, 77),
    "green": (70, 167, 88),
    "blue": (62, 130, 247),
    "purple": (171, 74, 186),
    "yellow": (255, 197, 61),
    "grey": (148, 152, 160),
}
_FLOOR, _LINE, _STONE, _UNSEEN, AGENT = (
    (31, 33, 38),
    (48, 51, 58),
    (104, 109, 120),
    (12, 13, 16),
    (255, 96, 64),
)
_FINE = 4  # supersampling: samples per pixel and axis
_LETTERS = dict(zip(TYPES, "  WFDKABGV ", strict=True))
_ARROWS = (">>", "VV", "<<", "^^")


def draw_world(grids: GridState, b: int, tile: int = 32) -> np.ndarray:
    """Draw all of grid `b` from above, uint8 `[rows * tile, columns * tile, 3]`; dim out of view."""
    height, width = extent(grids, b)
    x, y, direction = (int(value) for value in grids.state["agent"][b])
    tiles = [[draw_cell(int(code), tile) for code in row[:width]] for row in grids.cells[b, :height]]
    # `tiles` is row-major, unlike observations
    tiles[y][x] = _with_agent(tiles[y][x], direction, int(grids.state["carried"][b, 0]), tile)
    picture = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    bright = np.repeat(np.repeat(in_view(grids, b)[:height, :width], tile, 0), tile, 1)[..., None]
    # `tile_atlas` documents the same constants for the page
    return np.where(bright, np.minimum(picture.astype(np.int16) + 22, 255), picture * 0.62).astype(np.uint8)


def draw_view(grids: GridState, b: int, tile: int = 48) -> np.ndarray:
    """Draw the view of the agent in grid `b`, uint8 `[7 * tile, 7 * tile, 3]`; it faces up."""
    image, _ = _visible(grids, b)
    return draw_image(image, tile)


def draw_image(image: np.ndarray, tile: int = 48) -> np.ndarray:
    """Draw an observation, uint8 `[7, 7, 3]` by (column, row), with the agent and what it carries."""
    # (type, color, state) → cell code
    codes = image.astype(int) @ np.array([18, 3, 1])
    tiles = [[draw_cell(int(code), tile) for code in row] for row in codes.T]
    middle = int(codes[VIEW // 2, VIEW - 1])
    # the agent's own cell shows what it carries: a key (5), ball (6) or box (7)
    carried = middle if middle // 18 in (5, 6, 7) else 0
    tiles[VIEW - 1][VIEW // 2] = _with_agent(draw_cell(18, tile), 3, carried, tile)
    return np.concatenate([np.concatenate(row, axis=1) for row in tiles])


def as_text(grids: GridState, b: int) -> str:
    """Write grid `b` as text, two characters a cell, as minigrid's `pprint_grid` does."""
    height, width = extent(grids, b)
    x, y, direction = (int(value) for value in grids.state["agent"][b])
    lines = [[_letters(int(code)) for code in row[:width]] for row in grids.cells[b, :height]]
    lines[y][x] = _ARROWS[direction]
    return "\n".join("".join(line) for line in lines)


def extent(grids: GridState, b: int) -> tuple[int, int]:
    """Return rows and columns of cells; the arrays of a batch may be larger than one grid."""
    side, columns, rows = (int(value) for value in grids.state["rooms"][b])
    if side > 1:
        return (side - 1) * rows + 1, (side - 1) * columns + 1
    height, width = grids.cells.shape[1:]
    return height, width


def _letters(code: int) -> str:
    kind, color, state = CELL_CODES[code]
    if TYPES[kind] in ("empty", "unseen"):
        return "  "
    if TYPES[kind] == "door" and state != 1:
        return "__" if state == 0 else "L" + COLORS[color][0].upper()
    return _LETTERS[TYPES[kind]] + COLORS[color][0].upper()


def _visible(grids: GridState, b: int) -> tuple[np.ndarray, np.ndarray]:
    image, view = np.zeros((VIEW, VIEW, 3), np.uint8), np.zeros((VIEW, VIEW), np.uint8)
    lit = np.zeros(VIEW, np.int64)  # bit i of row j
    observe_one(grids, b, image, view, lit)
    return image, (lit >> np.arange(VIEW)[:, None] & 1).astype(np.bool_)


def in_view(grids: GridState, b: int) -> np.ndarray:
    """Return which cells of the grid the agent sees now, bool `[H, W]`."""
    _, visible = _visible(grids, b)
    x, y, direction = (int(value) for value in grids.state["agent"][b])
    ahead_x, ahead_y = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    height, width = grids.cells.shape[1:]
    bright = np.zeros((height, width), np.bool_)
    # view (column i, row j), counted from the far left → grid coordinates
    for i, j in np.argwhere(visible):
        far, aside = VIEW - 1 - j, i - VIEW // 2
        column, row = x + ahead_x * far - ahead_y * aside, y + ahead_y * far + ahead_x * aside
        if 0 <= row < height and 0 <= column < width:
            bright[row, column] = True
    return bright


@lru_cache(maxsize=1024)
def draw_cell(code: int, tile: int) -> np.ndarray:
    """Draw one cell, uint8 `[tile, tile, 3]`."""
    kind, color, state = (int(value) for value in CELL_CODES[code])
    name, rgb = TYPES[kind], _PALETTE[COLORS[color]]
    if name == "unseen":
        return np.full((tile, tile, 3), _UNSEEN, np.uint8)
    # coordinates in [0, 1] over the tile, `[tile * _FINE, tile * _FINE]`; shapes are boolean masks
    x, y = _samples(tile)
    canvas = np.broadcast_to(np.array(_FLOOR, float), (*x.shape, 3)).copy()
    canvas[(x < 0.03) | (y < 0.03)] = _LINE
    dark = tuple(0.35 * value for value in rgb)
    if name == "wall":
        canvas[:] = _STONE
        canvas[(x > 0.94) | (y > 0.94)] = tuple(0.75 * value for value in _STONE)
    elif name == "ball":
        canvas[_disc(x, y, 0.5, 0.5, 0.31)] = rgb
        canvas[_disc(x, y, 0.41, 0.4, 0.08)] = tuple(0.5 * value + 127 for value in rgb)
    elif name == "key":
        canvas[_box(x, y, 0.5, 0.28, 0.62, 0.86)] = rgb
        canvas[_box(x, y, 0.34, 0.59, 0.55, 0.67) | _box(x, y, 0.34, 0.74, 0.55, 0.82)] = rgb
        canvas[_disc(x, y, 0.56, 0.27, 0.19)] = rgb
        canvas[_disc(x, y, 0.56, 0.27, 0.09)] = _FLOOR
    elif name == "box":
        canvas[_box(x, y, 0.14, 0.2, 0.86, 0.84)] = rgb
        canvas[_box(x, y, 0.22, 0.28, 0.78, 0.76)] = dark
        canvas[_box(x, y, 0.14, 0.46, 0.86, 0.54)] = rgb
    elif name == "door":
        _draw_door(canvas, x, y, state, rgb, dark)
    elif name == "goal":
        canvas[_box(x, y, 0.12, 0.12, 0.88, 0.88)] = (70, 160, 90)
    elif name == "lava":
        canvas[:] = (214, 90, 30)
        canvas[np.abs((y * 3 + 0.1 * np.sin(x * 12)) % 1 - 0.5) < 0.1] = (255, 170, 60)
    elif name == "floor":
        canvas[(x >= 0.03) & (y >= 0.03)] = tuple(0.3 * value for value in rgb)
    return _smooth(canvas, tile)


def _draw_door(
    canvas: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    state: int,
    rgb: tuple[int, int, int],
    dark: tuple[float, ...],
) -> None:
    """Draw a door: open (ajar in its frame), closed (with a knob), or locked (filled, with a keyhole)."""
    if state == 0:
        canvas[_box(x, y, 0.78, 0.0, 1.0, 1.0)] = rgb
        canvas[_box(x, y, 0.84, 0.06, 0.94, 0.94)] = dark
        return
    canvas[_box(x, y, 0.0, 0.0, 1.0, 1.0)] = rgb
    if state == 1:
        canvas[_box(x, y, 0.07, 0.07, 0.93, 0.93)] = (18, 19, 23)
        canvas[_box(x, y, 0.13, 0.13, 0.87, 0.87)] = rgb
        canvas[_box(x, y, 0.2, 0.2, 0.8, 0.8)] = (18, 19, 23)
        canvas[_disc(x, y, 0.7, 0.5, 0.07)] = rgb
        return
    canvas[_box(x, y, 0.08, 0.08, 0.92, 0.92)] = tuple(0.55 * channel for channel in rgb)
    canvas[_disc(x, y, 0.5, 0.42, 0.13) | _box(x, y, 0.44, 0.42, 0.56, 0.74)] = (12, 13, 16)


def _with_agent(background: np.ndarray, direction: int, carried: int, tile: int) -> np.ndarray:
    """Draw the agent over a cell, and what it carries small in the corner."""
    cover = agent_cover(direction, tile)
    picture = background * (1 - cover) + np.array(AGENT) * cover
    if carried:
        small = small_size(tile)
        picture[-small:, -small:] = draw_cell(carried, small)
    return picture.astype(np.uint8)


def agent_cover(direction: int, tile: int) -> np.ndarray:
    """Return the share of each pixel that the agent covers, multiples of 1/16, float64 `[tile, tile, 1]`."""
    x, y = _samples(tile)
    # the arrow is drawn facing right, in coordinates rotated by the direction
    ahead = ((x, y), (y, 1 - x), (1 - x, 1 - y), (1 - y, x))[direction]
    arrow = (ahead[0] > 0.16) & (np.abs(ahead[1] - 0.5) < (0.88 - ahead[0]) * 0.5)
    cover: np.ndarray = arrow.reshape(tile, _FINE, tile, _FINE).mean((1, 3))[..., None]
    return cover


def small_size(tile: int) -> int:
    """Return the side of the picture of a carried object, in pixels."""
    return max(tile * 2 // 5, 4)


def _samples(tile: int) -> tuple[np.ndarray, np.ndarray]:
    positions = (np.arange(tile * _FINE) + 0.5) / (tile * _FINE)
    x, y = np.meshgrid(positions, positions)
    return x, y


def _disc(x: np.ndarray, y: np.ndarray, middle_x: float, middle_y: float, radius: float) -> np.ndarray:
    inside: np.ndarray = (x - middle_x) ** 2 + (y - middle_y) ** 2 < radius**2
    return inside


def _box(x: np.ndarray, y: np.ndarray, left: float, top: float, right: float, bottom: float) -> np.ndarray:
    inside: np.ndarray = (x >= left) & (x <= right) & (y >= top) & (y <= bottom)
    return inside


def _smooth(canvas: np.ndarray, tile: int) -> np.ndarray:
    fine: np.ndarray = canvas.reshape(tile, _FINE, tile, _FINE, 3).mean((1, 3))
    return fine.astype(np.uint8)
