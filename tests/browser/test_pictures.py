"""What the page draws from numbers, in a real canvas: tiles pixel for pixel, control tasks closely."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Callable, Iterable

import numpy as np
import pytest
from playwright.sync_api import Page
from tutelage.envs.grid.environment import TILE
from tutelage.envs.grid.tile_atlas import atlas
from tutelage.tests.support.pictures import LEVELS, SCENES, Pair, every_look, played, scenes

DRAW = """async ([pictures, width, height, atlas]) => {
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { alpha: false });
  const { drawTiles, loadAtlas } = await import("/static/tiles.js");
  const { drawShapes } = await import("/static/shapes.js");
  const sheet = atlas && (await loadAtlas(atlas));
  const bytesOf = (text) => Uint8Array.from(atob(text), (one) => one.charCodeAt(0));
  const textOf = (bytes) => Array.from(bytes, (one) => String.fromCharCode(one)).join("");
  const drawn = pictures.map((picture) => {
    if (sheet) drawTiles(context, sheet, bytesOf(picture));
    else drawShapes(context, bytesOf(picture), 1);
    return context.getImageData(0, 0, width, height).data;
  });
  if (!sheet) return drawn.map((pixels) => btoa(textOf(pixels)));
  const digests = await Promise.all(drawn.map((pixels) => crypto.subtle.digest("SHA-256", pixels)));
  return digests.map((digest) => btoa(textOf(new Uint8Array(digest))));
}"""
"""Draws pictures of one size; gives their pixels or, of tiles, which must be exact, a digest of these."""

NEAR = 40
"""Of 255: a pixel whose every colour is as near as that looks the same, at an edge that is smoothed."""


def drawn(page: Page, pairs: list[Pair], tiles: bool) -> Iterable[bytes]:
    """Draw what is of one size in a page; gives what DRAW does."""
    height, width, _ = pairs[0].seen.shape
    named = {"url": f"/atlas/{atlas(TILE).name}", "tile": TILE} if tiles else None
    data = [base64.b64encode(one.data).decode() for one in pairs]
    for text in page.evaluate(DRAW, [data, width, height, named]):
        yield base64.b64decode(text)


@pytest.fixture
def page(serve: Callable[..., str], open_page: Callable[..., Page]) -> Page:
    return open_page(serve())


@pytest.mark.slow
def test_tiles_are_drawn_pixel_for_pixel_whatever_is_in_a_cell_and_in_the_hand(page: Page) -> None:
    pairs = list(every_look(TILE))
    _compare(page, pairs[0::2])
    _compare(page, pairs[1::2])


@pytest.mark.slow
def test_tiles_of_levels_that_are_played_are_drawn_pixel_for_pixel(page: Page) -> None:
    for level in LEVELS:
        pairs = list(played(level, TILE, steps=60, every=10))
        _compare(page, pairs[0::2])
        _compare(page, pairs[1::2])


def _compare(page: Page, pairs: list[Pair]) -> None:
    for pair, digest in zip(pairs, drawn(page, pairs, tiles=True), strict=True):
        opaque = np.pad(pair.seen, ((0, 0), (0, 0), (0, 1)), constant_values=255)
        assert hashlib.sha256(opaque.tobytes()).digest() == digest


@pytest.mark.slow
def test_shapes_look_as_the_environment_draws_itself(page: Page) -> None:
    """One pixel of 300 differs visibly at most: at edges, which a page smooths and Gymnasium leaves jagged.

    And nearly nowhere is an edge off by more than a pixel.
    """
    for name in SCENES:
        pairs = list(scenes(name, count=6, every=19))
        assert len({pair.data for pair in pairs}) == 6
        for pair, pixels in zip(pairs, drawn(page, pairs, tiles=False), strict=True):
            image = np.frombuffer(pixels, np.uint8).reshape(*pair.seen.shape[:2], 4)[..., :3]
            one, other = image.astype(np.int16), pair.seen.astype(np.int16)
            assert (abs(one - other).max(-1) > NEAR).mean() < 1 / 300, name
            assert max(_strays(one, other), _strays(other, one)) < 1 / 1500, name


def _strays(one: np.ndarray, other: np.ndarray) -> float:
    """Give the share of pixels in one picture whose colour is not among those around them in another."""
    height, width, _ = other.shape
    padded = np.pad(other, ((1, 1), (1, 1), (0, 0)), "edge")
    low, high = other, other
    for y in range(3):
        for x in range(3):
            moved = padded[y : y + height, x : x + width]
            low, high = np.minimum(low, moved), np.maximum(high, moved)
    return float(((one < low - NEAR) | (one > high + NEAR)).any(-1).mean())
