"""Vector graphics of Gymnasium's classic control tasks: a few bytes a frame, sharp at any size.

Each scene reproduces Gymnasium's own `render()`: the same pixel coordinates from the top left, the same
colors. A scene is bytes, shape after shape: a letter, three bytes of color, and numbers as little-endian
int16 in 1/32 pixels; counts are one byte.

    P count x y ...              a filled polygon of `count` points
    C x y radius                 a filled circle
    L width count x y ...        a line through `count` points
"""

from __future__ import annotations

import math
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import gymnasium
import numpy as np
from gymnasium.envs.classic_control.acrobot import AcrobotEnv
from gymnasium.envs.classic_control.cartpole import CartPoleEnv
from gymnasium.envs.classic_control.continuous_mountain_car import Continuous_MountainCarEnv
from gymnasium.envs.classic_control.mountain_car import MountainCarEnv
from gymnasium.envs.classic_control.pendulum import PendulumEnv

Color = tuple[int, int, int]
Points = Iterable[tuple[float, float]]

FINE = 32
_BLACK = (0, 0, 0)


@dataclass(frozen=True)
class VectorScene:
    """How to draw an environment: `width` and `height` in pixels, and a function that returns its shapes."""

    width: int
    height: int
    draw: Callable[[], bytes]


def scene_of(env: gymnasium.Env[Any, Any]) -> VectorScene | None:
    """Return the scene of an environment, or None if it can only be rendered to pixels."""
    unwrapped: Any = env.unwrapped
    entry = _SCENES.get(type(unwrapped))
    if entry is None:
        return None
    width, height, draw = entry
    return VectorScene(width, height, lambda: draw(unwrapped))


def _cartpole(env: Any) -> bytes:
    flip = _Flipped(400)
    scale = 600 / (env.x_threshold * 2)
    x, _, angle, _ = env.state
    middle, top, axle = float(x) * scale + 300, 100.0, 107.5
    long = scale * 2 * env.length
    cart = [(-25, -15), (-25, 15), (25, 15), (25, -15)]
    pole = [(-5, -5), (-5, long - 5), (5, long - 5), (5, -5)]
    return b"".join(
        (
            flip.polygon(_BLACK, ((middle + dx, top + dy) for dx, dy in cart)),
            flip.polygon((202, 152, 101), _turned(pole, -float(angle), middle, axle)),
            flip.circle((129, 132, 203), int(middle), int(axle), 5),
            flip.line(_BLACK, 1, [(0, 100), (600, 100)]),
        )
    )


def _pendulum(env: Any) -> bytes:
    flip = _Flipped(500)
    scale, red = 500 / 4.4, (204, 77, 77)
    angle = float(env.state[0]) + math.pi / 2
    half = 0.1 * scale
    rod = [(0, -half), (0, half), (scale, half), (scale, -half)]
    ((end_x, end_y),) = _turned([(scale, 0)], angle, 250, 250)
    return b"".join(
        (
            flip.polygon(red, _turned(rod, angle, 250, 250)),
            flip.circle(red, 250, 250, int(half)),
            flip.circle(red, int(end_x), int(end_y), int(half)),
            b"" if env.last_u is None else _whirl(scale * abs(float(env.last_u)) / 2, env.last_u > 0),
            flip.circle(_BLACK, 250, 250, int(0.05 * scale)),
        )
    )


def _whirl(size: float, mirrored: bool) -> bytes:
    """Draw the torque: an arrow of `size` pixels around the axle, three quarters of a circle."""
    plain = _Flipped(0)
    side = -1 if mirrored else 1

    def at(x: float, y: float) -> tuple[float, float]:
        """Transform a point of Gymnasium's `clockwise.png`, which is 329 x 312 and drawn as a square."""
        return 250 + side * (x / 329 - 0.5) * size, 250 + (y / 312 - 0.5) * size

    turns = np.linspace(-math.pi / 2, math.pi, 25)
    ring = [at(173 + 151.5 * math.cos(angle), 157 + 151.5 * math.sin(angle)) for angle in turns]
    head = [at(22, 110), at(45, 169), at(22, 155), at(0, 169)]
    if size < 1:
        return b""
    return plain.line(_BLACK, 9.5 * size / 320, ring, as_is=True) + plain.polygon(_BLACK, head, as_is=True)


def _mountain_car(env: Any) -> bytes:
    flip = _Flipped(400)
    left = float(env.min_position)
    scale = 600 / (float(env.max_position) - left)
    place = float(env.state[0])
    slope = math.cos(3 * place)
    x, y = (place - left) * scale, 10 + _height(place) * scale
    car = [(-20, 0), (-20, 20), (20, 20), (20, 0)]
    wheels = _turned([(10, 0), (-10, 0)], slope, x, y)
    flag, foot = int((env.goal_position - left) * scale), int(_height(float(env.goal_position)) * scale)
    return b"".join(
        (
            _hill(left, float(env.max_position)),
            flip.polygon(_BLACK, _turned(car, slope, x, y)),
            *(flip.circle((128, 128, 128), int(wheel_x), int(wheel_y), 8) for wheel_x, wheel_y in wheels),
            flip.line(_BLACK, 1, [(flag, foot), (flag, foot + 50)]),
            flip.polygon((204, 204, 0), [(flag, foot + 50), (flag, foot + 40), (flag + 25, foot + 45)]),
        )
    )


@lru_cache(maxsize=8)
def _hill(left: float, right: float) -> bytes:
    scale = 600 / (right - left)
    xs = np.linspace(left, right, 100).tolist()
    return _Flipped(400).line(_BLACK, 1, [((x - left) * scale, _height(x) * scale) for x in xs])


def _height(x: float) -> float:
    return math.sin(3 * x) * 0.45 + 0.55


def _acrobot(env: Any) -> bytes:
    flip = _Flipped(500)
    first, second = float(env.LINK_LENGTH_1), float(env.LINK_LENGTH_2)
    scale = 500 / ((first + second + 0.2) * 2)
    first_angle, second_angle = float(env.state[0]), float(env.state[0]) + float(env.state[1])
    elbow = (first * math.sin(first_angle) * scale, -first * math.cos(first_angle) * scale)
    height = int(250 + scale)  # pygame's lines begin and end in the middle of a pixel
    shapes = [flip.line(_BLACK, 1, [(int(250 - 2.2 * scale), height), (int(250 + 2.2 * scale), height)])]
    for (x, y), angle, length in (
        ((0, 0), first_angle, first * scale),
        (elbow, second_angle, second * scale),
    ):
        link = [(0, -0.1 * scale), (0, 0.1 * scale), (length, 0.1 * scale), (length, -0.1 * scale)]
        shapes.append(flip.polygon((0, 204, 204), _turned(link, angle - math.pi / 2, 250 + x, 250 + y)))
        shapes.append(flip.circle((204, 204, 0), int(250 + x), int(250 + y), int(0.1 * scale)))
    return b"".join(shapes)


_SCENES: dict[type, tuple[int, int, Callable[[Any], bytes]]] = {
    CartPoleEnv: (600, 400, _cartpole),
    PendulumEnv: (500, 500, _pendulum),
    MountainCarEnv: (600, 400, _mountain_car),
    Continuous_MountainCarEnv: (600, 400, _mountain_car),
    AcrobotEnv: (500, 500, _acrobot),
}


def _turned(points: Points, angle: float, x: float, y: float) -> list[tuple[float, float]]:
    """Rotate points around the origin, then translate them by (x, y)."""
    cos, sin = math.cos(angle), math.sin(angle)
    return [(x + cos * px - sin * py, y + sin * px + cos * py) for px, py in points]


class _Flipped:
    """Packs shapes given in pixels from the bottom; the center of pygame's pixel i is at i + 0.5."""

    def __init__(self, height: int) -> None:
        self._height = height

    def polygon(self, color: Color, points: Points, as_is: bool = False) -> bytes:
        numbers = self._numbers(points, as_is)
        return struct.pack(f"<c3BB{len(numbers)}h", b"P", *color, len(numbers) // 2, *numbers)

    def circle(self, color: Color, x: float, y: float, radius: float) -> bytes:
        # pygame's circle of radius r covers the pixels up to r from its central one
        numbers = (*self._numbers([(x, y)], False), round((radius + 0.5) * FINE))
        return struct.pack("<c3B3h", b"C", *color, *numbers)

    def line(self, color: Color, width: float, points: Points, as_is: bool = False) -> bytes:
        numbers = self._numbers(points, as_is)
        wide = round(width * FINE)
        return struct.pack(f"<c3BhB{len(numbers)}h", b"L", *color, wide, len(numbers) // 2, *numbers)

    def _numbers(self, points: Points, as_is: bool) -> list[int]:
        if as_is:
            return [round(part * FINE) for point in points for part in point]
        return [
            part
            for x, y in points
            for part in (round((x + 0.5) * FINE), round((self._height - y - 0.5) * FINE))
        ]
