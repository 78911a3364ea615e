"""A picture as its tiles' numbers: whoever has the atlas draws the same pixels as `drawing`."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from tutelage.envs.grid.cells import CELL_CODES, LIFTED
from tutelage.envs.grid.tile_atlas import FROM_ABOVE, FROM_AGENT, HEAD, atlas
from tutelage.tests.support.pictures import LEVELS, Pair, every_look, played


def drawn(data: bytes, tile: int) -> np.ndarray:
    """Draw tiles by what `tiles` says of its atlas: uint8 `[H, W, 3]`."""
    sheet = np.asarray(Image.open(io.BytesIO(atlas(tile).png)).convert("RGB")).astype(float)
    perspective, columns, rows, x, y, direction, carried = data[:HEAD]
    looks = data[HEAD : HEAD + columns * rows]
    bits = np.unpackbits(np.frombuffer(data[HEAD + columns * rows :], np.uint8), bitorder="little")
    small = max(tile * 2 // 5, 4)

    def cut(look: int, side: int, top: int) -> np.ndarray:
        down, across = top + look // 18 * side, look % 18 * side
        return sheet[down : down + side, across : across + side]

    out = np.zeros((rows * tile, columns * tile, 3), np.uint8)
    for cell, look in enumerate(looks):
        row, column = divmod(cell, columns)
        picture = cut(look, tile, 0).copy()
        if (column, row) == (x, y):
            share = cut(11 * 18 + direction, tile, 0)[..., :1] / 240
            picture = np.trunc(picture * (1 - share) + sheet[11 * tile, 4 * tile] * share)
            if carried:
                picture[-small:, -small:] = cut(carried - 5 * 18, small, 12 * tile)
        if perspective == FROM_ABOVE:
            picture = np.minimum(picture + 22, 255) if bits[cell] else np.trunc(picture * 0.62)
        out[row * tile : (row + 1) * tile, column * tile : (column + 1) * tile] = picture
    return out


def check(pairs: list[Pair], tile: int) -> None:
    for pair in pairs:
        assert np.array_equal(drawn(pair.data, tile), pair.seen)


@pytest.mark.slow
@pytest.mark.parametrize("tile", [8, 32, 48])
def test_whatever_can_stand_in_a_cell_is_drawn_the_same(tile: int) -> None:
    pairs = list(every_look(tile))
    check(pairs, tile)
    above = [pair.data for pair in pairs if pair.data[0] == FROM_ABOVE]
    assert {look for data in above for look in data[HEAD:]} >= set(range(len(CELL_CODES)))
    assert {data[5] for data in above} == {0, 1, 2, 3}
    assert {data[6] for data in above} == {0, *np.flatnonzero(LIFTED).tolist()}


@pytest.mark.parametrize("level", LEVELS)
def test_a_level_that_is_played_is_drawn_the_same_from_above_and_from_the_agent(level: str) -> None:
    pairs = list(played(level, 32))
    assert {pair.data[0] for pair in pairs} == {FROM_AGENT, FROM_ABOVE}
    assert len({pair.data for pair in pairs}) > 4
    check(pairs, 32)


def test_a_picture_is_a_hundred_bytes_or_so() -> None:
    sizes = [len(pair.data) for pair in played("GoToRedBallGrey", 32)]
    assert max(sizes) < 120
    assert max(len(pair.data) for pair in played("BossLevel", 32)) < 600


def test_an_atlas_is_named_by_what_it_holds() -> None:
    assert atlas(32).name != atlas(48).name
    assert atlas(32) == atlas(32)
    assert atlas(32).name.startswith("grid-32-")
