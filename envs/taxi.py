"""The taxi of Dietterich as an environment of ours: Gymnasium renames its own with every revision.

The transitions, rewards, masks and starts of a seed are those of Gymnasium's `Taxi-v3` and `Taxi-v4` without
rain and without a fickle passenger (Dietterich, "Hierarchical reinforcement learning with the MAXQ value
function decomposition", 2000). Pillow draws it, so it needs no pygame.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import register, registry

if TYPE_CHECKING:
    from PIL import Image, ImageDraw

TAXI_ID = "tutelage/Taxi-v0"
SIDE = 5
STATES, ACTIONS = 500, 6
SOUTH, NORTH, EAST, WEST, PICK_UP, DROP_OFF = range(ACTIONS)
STANDS = ((0, 0), (0, 4), (4, 0), (4, 3))
"""Where passengers wait and want to go, (row, column): red, green, yellow, blue."""
ABOARD = len(STANDS)
"""The passenger's place while riding."""
WALLS = frozenset({(0, 1), (1, 1), (3, 0), (4, 0), (3, 2), (4, 2)})
"""Cells (row, column) with a wall on their east side."""

STEP_REWARD, ILLEGAL_REWARD, DELIVERY_REWARD = -1, -10, 20
TIME_LIMIT = 200

Outcome = tuple[float, int, int, bool]
"""Probability, next state, reward, and whether the episode ends."""


def register_taxi() -> None:
    """Register the environment, once."""
    if TAXI_ID not in registry:
        register(
            id=TAXI_ID,
            entry_point="tutelage.envs.taxi:TaxiEnv",
            max_episode_steps=TIME_LIMIT,
            reward_threshold=8,
        )


def encode(row: int, column: int, passenger: int, destination: int) -> int:
    """Return the state, 0 to 499; `passenger` is a stand, or `ABOARD`."""
    return ((row * SIDE + column) * (ABOARD + 1) + passenger) * len(STANDS) + destination


def decode(state: int) -> tuple[int, int, int, int]:
    """Return row, column, passenger and destination of a state."""
    state, destination = divmod(int(state), len(STANDS))
    state, passenger = divmod(state, ABOARD + 1)
    row, column = divmod(state, SIDE)
    return row, column, passenger, destination


class TaxiEnv(gymnasium.Env[int, int]):
    """Drive to a passenger, pick them up, and drop them off where they want to go.

    Observations are states (see `decode`); actions go south, north, east, west, pick up and drop off. A step
    costs 1, a delivery brings 20 and ends the episode, and picking up or dropping off where that is not
    possible costs 10. `info["action_mask"]`, int8 `[6]`, is 1 for actions that change the state.
    """

    metadata = {"render_modes": ["rgb_array"], "render_fps": 4}  # noqa: RUF012

    def __init__(self, render_mode: str | None = None) -> None:
        self.render_mode = render_mode
        self.observation_space = spaces.Discrete(STATES)  # type: ignore[assignment]
        self.action_space = spaces.Discrete(ACTIONS)  # type: ignore[assignment]
        self.P = transitions()
        self.s = 0
        self._heading = EAST

    def reset(
        self, *, seed: int | None = None, options: dict[str, Any] | None = None
    ) -> tuple[int, dict[str, Any]]:
        super().reset(seed=seed)
        # the draw of Gymnasium's toy texts: the same seed starts in the same state
        self.s = int(np.argmax(_cumulative_starts() > self.np_random.random()))
        self._heading = EAST
        return self.s, self._info()

    def step(self, action: int) -> tuple[int, float, bool, bool, dict[str, Any]]:
        _, self.s, reward, terminated = self.P[self.s][int(action)][0]
        if action in (EAST, WEST):
            self._heading = int(action)
        return self.s, reward, terminated, False, self._info()

    def decode(self, state: int) -> tuple[int, int, int, int]:
        """Return row, column, passenger and destination of a state."""
        return decode(state)

    def render(self) -> np.ndarray | None:  # type: ignore[override]
        """Draw the state: uint8 `[H, W, 3]`; None without a render mode."""
        return None if self.render_mode is None else _picture(self.s, self._heading == WEST)

    def _info(self) -> dict[str, Any]:
        return {"prob": 1.0, "action_mask": action_mask(self.s)}


@cache
def transitions() -> dict[int, dict[int, list[Outcome]]]:
    """Return the outcomes of every action in every state; each has one, of probability 1."""
    return {
        state: {action: [(1.0, *_outcome(state, action))] for action in range(ACTIONS)}
        for state in range(STATES)
    }


def action_mask(state: int) -> np.ndarray:
    """Return which actions change a state: int8 `[6]`."""
    changes = [outcomes[0][1] != state for outcomes in transitions()[state].values()]
    return np.array(changes, np.int8)


def _outcome(state: int, action: int) -> tuple[int, int, bool]:
    """Return the next state, the reward, and whether the episode ends."""
    row, column, passenger, destination = decode(state)
    place, reward, delivered = (row, column), STEP_REWARD, False
    if action == SOUTH:
        row = min(row + 1, SIDE - 1)
    elif action == NORTH:
        row = max(row - 1, 0)
    elif action == EAST and place not in WALLS:
        column = min(column + 1, SIDE - 1)
    elif action == WEST and (row, column - 1) not in WALLS:
        column = max(column - 1, 0)
    elif action == PICK_UP:
        if passenger < ABOARD and place == STANDS[passenger]:
            passenger = ABOARD
        else:
            reward = ILLEGAL_REWARD
    elif action == DROP_OFF:
        if passenger == ABOARD and place in STANDS:
            passenger = STANDS.index(place)
            delivered = passenger == destination
            reward = DELIVERY_REWARD if delivered else STEP_REWARD
        else:
            reward = ILLEGAL_REWARD
    return encode(row, column, passenger, destination), reward, delivered


@cache
def _cumulative_starts() -> np.ndarray:
    """Return the cumulative distribution of starts `[500]`: a waiting passenger who wants to go elsewhere."""
    places = [decode(state)[2:] for state in range(STATES)]
    starts = np.array([passenger not in (ABOARD, goal) for passenger, goal in places], float)
    return np.cumsum(starts / starts.sum())


CELL, MARGIN, FINE = 80, 12, 2
"""Pixels of a cell and around the map; it is drawn `FINE` times as large and then reduced."""
_GROUND, _LINE, _WALL, _INK = (236, 233, 225), (216, 212, 202), (58, 62, 72), (32, 34, 40)
_CAB, _GLASS, _COAT = (250, 200, 40), (205, 226, 240), (150, 60, 150)
_STAND_COLORS = ((226, 92, 84), (92, 184, 104), (236, 218, 92), (92, 138, 226))
_LETTERS = "RGYB"


def _picture(state: int, looks_left: bool) -> np.ndarray:
    from PIL import Image, ImageDraw

    row, column, passenger, destination = decode(state)
    image = _ground().copy()
    draw = ImageDraw.Draw(image)
    _draw_flag(draw, *STANDS[destination])
    if passenger < ABOARD:
        _draw_person(draw, *_corner(*STANDS[passenger]))
    _draw_cab(draw, *_corner(row, column), looks_left, is_taken=passenger == ABOARD)
    side = image.width // FINE
    return np.asarray(image.resize((side, side), Image.Resampling.BOX))


@cache
def _ground() -> Image.Image:
    """Draw what never moves: cells, stands with their letters, walls."""
    from PIL import Image, ImageDraw, ImageFont

    side = (SIDE * CELL + 2 * MARGIN) * FINE
    image = Image.new("RGB", (side, side), _GROUND)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(22 * FINE)
    for number in range(SIDE + 1):
        at = (MARGIN + number * CELL) * FINE
        draw.line((at, MARGIN * FINE, at, side - MARGIN * FINE), _LINE, FINE)
        draw.line((MARGIN * FINE, at, side - MARGIN * FINE, at), _LINE, FINE)
    for place, color, letter in zip(STANDS, _STAND_COLORS, _LETTERS, strict=True):
        x, y = _corner(*place)
        draw.rectangle(_box(x, y, 3, 3, 77, 77), color)
        draw.text(((x + 9) * FINE, (y + 5) * FINE), letter, _INK, font)
    for row, column in WALLS:
        x, y = _corner(row, column + 1)
        draw.line((x * FINE, y * FINE, x * FINE, (y + CELL) * FINE), _WALL, 6 * FINE)
    edge = MARGIN * FINE // 2
    draw.rectangle((edge, edge, side - edge, side - edge), outline=_WALL, width=6 * FINE)
    return image


def _draw_cab(draw: ImageDraw.ImageDraw, x: int, y: int, looks_left: bool, is_taken: bool) -> None:
    def box(left: float, top: float, right: float, bottom: float) -> tuple[float, float, float, float]:
        """Return a box in the cell; a cab that goes west is the mirror of one that goes east."""
        return (
            _box(x, y, CELL - right, top, CELL - left, bottom)
            if looks_left
            else _box(x, y, left, top, right, bottom)
        )

    draw.rounded_rectangle(box(20, 26, 56, 52), 8 * FINE, _CAB, _INK, 2 * FINE)  # roof
    draw.rectangle(box(24, 31, 37, 44), _GLASS)
    draw.rectangle(box(40, 31, 53, 44), _GLASS)
    draw.rounded_rectangle(box(31, 18, 45, 26), 2 * FINE, (255, 255, 255), _INK, 2 * FINE)  # sign
    draw.rounded_rectangle(box(8, 42, 72, 60), 6 * FINE, _CAB, _INK, 2 * FINE)
    for left in (14, 52):
        draw.ellipse(box(left, 52, left + 15, 67), _INK)
        draw.ellipse(box(left + 5, 57, left + 10, 62), _LINE)
    draw.rectangle(box(67, 46, 71, 51), (255, 250, 205))  # head light
    if is_taken:
        draw.ellipse(box(26, 31, 35, 40), _COAT)
        draw.rectangle(box(25, 40, 36, 44), _COAT)


def _draw_person(draw: ImageDraw.ImageDraw, x: int, y: int) -> None:
    draw.ellipse(_box(x, y, 56, 10, 70, 24), _COAT, _INK, FINE)
    draw.rounded_rectangle(_box(x, y, 54, 24, 72, 48), 5 * FINE, _COAT, _INK, FINE)


def _draw_flag(draw: ImageDraw.ImageDraw, row: int, column: int) -> None:
    """Mark the destination: a checkered flag, and a thick frame around its stand."""
    x, y = _corner(row, column)
    draw.rectangle(_box(x, y, 3, 3, 77, 77), outline=_INK, width=4 * FINE)
    draw.line(_box(x, y, 29, 8, 29, 42), _INK, 3 * FINE)
    for number in range(12):
        left, top = 30 + 6 * (number % 4), 8 + 6 * (number // 4)
        color = _INK if (number % 4 + number // 4) % 2 else (255, 255, 255)
        draw.rectangle(_box(x, y, left, top, left + 6, top + 6), color)


def _corner(row: int, column: int) -> tuple[int, int]:
    """Return the left top pixel (x, y) of a cell."""
    return MARGIN + column * CELL, MARGIN + row * CELL


def _box(
    x: float, y: float, left: float, top: float, right: float, bottom: float
) -> tuple[float, float, float, float]:
    """Return a box given in pixels of a cell, in those of the drawing."""
    return (x + left) * FINE, (y + top) * FINE, (x + right) * FINE, (y + bottom) * FINE
