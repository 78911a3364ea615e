"""A shift moves pixels and invents none; color jitter keeps shape and range."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from tutelage.agents.policy.images.augmentation import REACH, jittered, shifted


def offsets(image: np.ndarray, moved: np.ndarray) -> list[tuple[int, int]]:
    """Return the offsets by which an image with repeated edges becomes another one."""
    height, width = image.shape[:2]
    down, right = round(REACH * height), round(REACH * width)
    return [
        (top, left)
        for top in range(-down, down + 1)
        for left in range(-right, right + 1)
        if np.array_equal(
            moved,
            image[
                np.clip(np.arange(height) + top, 0, height - 1)[:, None],
                np.clip(np.arange(width) + left, 0, width - 1),
            ],
        )
    ]


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.integers(1, 60), st.integers(1, 60), st.integers(1, 4), st.integers(0, 2**31))
def test_each_image_is_moved_by_an_offset_within_reach(
    count: int, height: int, width: int, channels: int, seed: int
) -> None:
    images = np.random.default_rng(seed).integers(0, 256, (count, height, width, channels), np.uint8)
    torch.manual_seed(seed)
    moved = shifted(images)
    assert (moved.shape, moved.dtype) == (images.shape, images.dtype)
    for image, other in zip(images, moved, strict=True):
        assert offsets(image, other)


def test_all_offsets_within_reach_are_drawn_for_each_image_anew() -> None:
    image = np.random.default_rng(0).integers(0, 256, (42, 42, 1), np.uint8)
    torch.manual_seed(0)
    drawn = {offsets(image, moved)[0] for moved in shifted(np.stack([image] * 500))}
    assert drawn == {(top, left) for top in range(-2, 3) for left in range(-2, 3)}


def test_the_same_seed_draws_the_same() -> None:
    images = np.random.default_rng(0).integers(0, 256, (5, 84, 84, 3), np.uint8)
    pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5
    results = []
    for seed in (1, 1, 2):
        torch.manual_seed(seed)
        results.append((shifted(images), jittered(pixels.clone(), 3)))
    assert np.array_equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])
    assert not np.array_equal(results[0][0], results[2][0])
    assert not torch.equal(results[0][1], results[2][1])


@settings(max_examples=30, deadline=None)
@given(st.integers(1, 3), st.sampled_from([1, 3, 4]), st.integers(1, 3), st.integers(0, 2**31))
def test_color_jitter_keeps_shape_and_range_and_the_order_of_brightness(
    count: int, colors: int, frames: int, seed: int
) -> None:
    torch.manual_seed(seed)
    pixels = torch.rand(count, colors * frames, 6, 5) - 0.5
    changed = jittered(pixels.clone(), colors)
    assert changed.shape == pixels.shape
    assert changed.abs().max() <= 0.5
    order = pixels.flatten(2).argsort(-1)
    assert (changed.flatten(2).gather(-1, order).diff(dim=-1) >= 0).all()


def test_all_frames_of_a_step_change_alike() -> None:
    torch.manual_seed(0)
    frame = torch.rand(2, 3, 6, 5) - 0.5
    changed = jittered(frame.repeat(1, 4, 1, 1), 3)
    for index in range(4):
        assert torch.equal(changed[:, 3 * index : 3 * index + 3], changed[:, :3])
