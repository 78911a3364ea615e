"""Pictures of a world for people: what the agent sees, or the whole world from above; and text."""

from __future__ import annotations

from functools import lru_cache

import numpy as np

from .cells import COLORS, LOOKS, TYPES
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
_FINE = 4  # samples a pixel and axis
_LETTERS = dict(zip(TYPES, "  WFDKABGV ", strict=True))
_ARROWS = (">>", "VV", "<<", "^^")


def draw_world(worlds: GridState, b: int, tile: int = 32) -> np.ndarray:
    """Draw all of world `b` from above, uint8 `[rows * tile, columns * tile, 3]`; out of view it is dim."""
    height, width = extent(worlds, b)
    x, y, direction = (int(one) for one in worlds.state["agent"][b])
    tiles = [[draw_look(int(look), tile) for look in row[:width]] for row in worlds.cells[b, :height]]
    tiles[y][x] = _with_agent(tiles[y][x], direction, int(worlds.state["carried"][b, 0]), tile)
    picture = np.concatenate([np.concatenate(row, axis=1) for row in tiles])
    bright = np.repeat(np.repeat(in_view(worlds, b)[:height, :width], tile, 0), tile, 1)[..., None]
    return np.where(bright, np.minimum(picture.astype(np.int16) + 22, 255), picture * 0.62).astype(np.uint8)


def draw_view(worlds: GridState, b: int, tile: int = 48) -> np.ndarray:
    """Draw what the agent of world `b` sees, uint8 `[7 * tile, 7 * tile, 3]`; it looks up from the bottom."""
    image, _ = _seen(worlds, b)
    return draw_image(image, tile)


def draw_image(image: np.ndarray, tile: int = 48) -> np.ndarray:
    """Draw an observation, uint8 `[7, 7, 3]` by (column, row): the agent below, and what it carries."""
    looks = image.astype(int) @ np.array([18, 3, 1])
    tiles = [[draw_look(int(look), tile) for look in row] for row in looks.T]
    held = int(looks[VIEW // 2, VIEW - 1])
    carried = held if held // 18 in (5, 6, 7) else 0
    tiles[VIEW - 1][VIEW // 2] = _with_agent(draw_look(18, tile), 3, carried, tile)
    return np.concatenate([np.concatenate(row, axis=1) for row in tiles])


def as_text(worlds: GridState, b: int) -> str:
    """Write world `b` for a terminal, two characters a cell, as minigrid's `pprint_grid` does."""
    height, width = extent(worlds, b)
    x, y, direction = (int(one) for one in worlds.state["agent"][b])
    lines = [[_letters(int(look)) for look in row[:width]] for row in worlds.cells[b, :height]]
    lines[y][x] = _ARROWS[direction]
    return "\n".join("".join(line) for line in lines)


def extent(worlds: GridState, b: int) -> tuple[int, int]:
    """Return rows and columns of cells; a batch may hold smaller worlds than its arrays."""
    side, columns, rows = (int(one) for one in worlds.state["rooms"][b])
    if side > 1:
        return (side - 1) * rows + 1, (side - 1) * columns + 1
    height, width = worlds.cells.shape[1:]
    return height, width


def _letters(look: int) -> str:
    kind, color, state = LOOKS[look]
    if TYPES[kind] in ("empty", "unseen"):
        return "  "
    if TYPES[kind] == "door" and state != 1:
        return "__" if state == 0 else "L" + COLORS[color][0].upper()
    return _LETTERS[TYPES[kind]] + COLORS[color][0].upper()


def _seen(worlds: GridState, b: int) -> tuple[np.ndarray, np.ndarray]:
    image, view = np.zeros((VIEW, VIEW, 3), np.uint8), np.zeros((VIEW, VIEW), np.uint8)
    seen = np.zeros(VIEW, np.int64)
    observe_one(worlds, b, image, view, seen)
    return image, (seen >> np.arange(VIEW)[:, None] & 1).astype(np.bool_)


def in_view(worlds: GridState, b: int) -> np.ndarray:
    """Return which cells of the grid the agent sees, bool `[H, W]`."""
    _, seen = _seen(worlds, b)
    x, y, direction = (int(one) for one in worlds.state["agent"][b])
    ahead_x, ahead_y = ((1, 0), (0, 1), (-1, 0), (0, -1))[direction]
    height, width = worlds.cells.shape[1:]
    bright = np.zeros((height, width), np.bool_)
    for i, j in np.argwhere(seen):
        far, aside = VIEW - 1 - j, i - VIEW // 2
        column, row = x + ahead_x * far - ahead_y * aside, y + ahead_y * far + ahead_x * aside
        if 0 <= row < height and 0 <= column < width:
            bright[row, column] = True
    return bright


@lru_cache(maxsize=1024)
def draw_look(look: int, tile: int) -> np.ndarray:
    """Draw one cell, uint8 `[tile, tile, 3]`."""
    kind, color, state = (int(one) for one in LOOKS[look])
    name, paint = TYPES[kind], _PALETTE[COLORS[color]]
    if name == "unseen":
        return np.full((tile, tile, 3), _UNSEEN, np.uint8)
    x, y = _samples(tile)
    canvas = np.broadcast_to(np.array(_FLOOR, float), (*x.shape, 3)).copy()
    canvas[(x < 0.03) | (y < 0.03)] = _LINE
    dark = tuple(0.35 * one for one in paint)
    if name == "wall":
        canvas[:] = _STONE
        canvas[(x > 0.94) | (y > 0.94)] = tuple(0.75 * one for one in _STONE)
    elif name == "ball":
        canvas[_disc(x, y, 0.5, 0.5, 0.31)] = paint
        canvas[_disc(x, y, 0.41, 0.4, 0.08)] = tuple(0.5 * one + 127 for one in paint)
    elif name == "key":
        canvas[_box(x, y, 0.5, 0.28, 0.62, 0.86)] = paint
        canvas[_box(x, y, 0.34, 0.59, 0.55, 0.67) | _box(x, y, 0.34, 0.74, 0.55, 0.82)] = paint
        canvas[_disc(x, y, 0.56, 0.27, 0.19)] = paint
        canvas[_disc(x, y, 0.56, 0.27, 0.09)] = _FLOOR
    elif name == "box":
        canvas[_box(x, y, 0.14, 0.2, 0.86, 0.84)] = paint
        canvas[_box(x, y, 0.22, 0.28, 0.78, 0.76)] = dark
        canvas[_box(x, y, 0.14, 0.46, 0.86, 0.54)] = paint
    elif name == "door":
        _draw_door(canvas, x, y, state, paint, dark)
    elif name == "goal":
        canvas[_box(x, y, 0.12, 0.12, 0.88, 0.88)] = (70, 160, 90)
    elif name == "lava":
        canvas[:] = (214, 90, 30)
        canvas[np.abs((y * 3 + 0.1 * np.sin(x * 12)) % 1 - 0.5) < 0.1] = (255, 170, 60)
    elif name == "floor":
        canvas[(x >= 0.03) & (y >= 0.03)] = tuple(0.3 * one for one in paint)
    return _smooth(canvas, tile)


def _draw_door(
    canvas: np.ndarray,
    x: np.ndarray,
    y: np.ndarray,
    state: int,
    paint: tuple[int, int, int],
    dark: tuple[float, ...],
) -> None:
    """Draw a door: a frame with a leaf ajar, a shut leaf with a knob, or a filled one with a keyhole."""
    if state == 0:
        canvas[_box(x, y, 0.78, 0.0, 1.0, 1.0)] = paint
        canvas[_box(x, y, 0.84, 0.06, 0.94, 0.94)] = dark
        return
    canvas[_box(x, y, 0.0, 0.0, 1.0, 1.0)] = paint
    if state == 1:
        canvas[_box(x, y, 0.07, 0.07, 0.93, 0.93)] = (18, 19, 23)
        canvas[_box(x, y, 0.13, 0.13, 0.87, 0.87)] = paint
        canvas[_box(x, y, 0.2, 0.2, 0.8, 0.8)] = (18, 19, 23)
        canvas[_disc(x, y, 0.7, 0.5, 0.07)] = paint
        return
    canvas[_box(x, y, 0.08, 0.08, 0.92, 0.92)] = tuple(0.55 * one for one in paint)
    canvas[_disc(x, y, 0.5, 0.42, 0.13) | _box(x, y, 0.44, 0.42, 0.56, 0.74)] = (12, 13, 16)


def _with_agent(tile_: np.ndarray, direction: int, carried: int, tile: int) -> np.ndarray:
    """Draw the agent over a cell, and small in its corner what it carries."""
    cover = agent_cover(direction, tile)
    picture = tile_ * (1 - cover) + np.array(AGENT) * cover
    if carried:
        small = small_size(tile)
        picture[-small:, -small:] = draw_look(carried, small)
    return picture.astype(np.uint8)


def agent_cover(direction: int, tile: int) -> np.ndarray:
    """Return how much of each pixel is the agent's, in sixteenths of 1, float64 `[tile, tile, 1]`."""
    x, y = _samples(tile)
    ahead = ((x, y), (y, 1 - x), (1 - x, 1 - y), (1 - y, x))[direction]
    arrow = (ahead[0] > 0.16) & (np.abs(ahead[1] - 0.5) < (0.88 - ahead[0]) * 0.5)
    cover: np.ndarray = arrow.reshape(tile, _FINE, tile, _FINE).mean((1, 3))[..., None]
    return cover


def small_size(tile: int) -> int:
    """Return the side of what the agent carries, in pixels."""
    return max(tile * 2 // 5, 4)


def _samples(tile: int) -> tuple[np.ndarray, np.ndarray]:
    at = (np.arange(tile * _FINE) + 0.5) / (tile * _FINE)
    x, y = np.meshgrid(at, at)
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
