"""Augmentation of images while training: random shifts and color jitter, drawn for each step of a batch.

All numbers come from torch's global generator on the processor, which `training.step` seeds from (seed,
step): a resumed run draws what an uninterrupted one does, on every device.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

REACH = 4 / 84
"""Farthest shift, as a share of the side: Kostrikov et al., "Image augmentation is all you need" (2020)."""

BRIGHTNESS, CONTRAST, GAIN = 0.1, 0.2, 0.1
"""Farthest change: of all values, of their distance to middle gray, and of the values of one channel."""


def shifted(images: np.ndarray) -> np.ndarray:
    """Shift each of images `[S, H, W, C]` by its own random offset; pixels at the edge are repeated."""
    count, height, width = images.shape[:3]
    down, right = round(REACH * height), round(REACH * width)
    offsets = [torch.randint(2 * reach + 1, (count,)).tolist() for reach in (down, right)]
    padded = np.pad(images, ((0, 0), (down, down), (right, right), (0, 0)), mode="edge")
    # copies of slices are several times as fast as one indexed gather
    out = np.empty(images.shape, images.dtype)
    for target, source, top, left in zip(out, padded, *offsets, strict=True):
        target[...] = source[top : top + height, left : left + width]
    return out


def jittered(pixels: Tensor, colors: int) -> Tensor:
    """Change brightness, contrast and color balance of pixels `[S, C, H, W]` in [-0.5, 0.5], in place.

    All frames of a step, of `colors` channels each, change alike.
    """
    count, channels = pixels.shape[:2]
    spread = [BRIGHTNESS, CONTRAST, *[GAIN] * colors]
    drawn = (2 * torch.rand(count, len(spread)) - 1) * torch.tensor(spread)
    brightness, contrast, gain = drawn[:, :1], 1 + drawn[:, 1:2], 1 + drawn[:, 2:]
    # as one product and one sum: black, which is -0.5, stays black under gain
    scale, offset = gain * contrast, (gain - 1) / 2 * contrast + brightness
    scale, offset = (
        part.repeat(1, channels // colors)[:, :, None, None].to(pixels) for part in (scale, offset)
    )
    return pixels.mul_(scale).add_(offset).clamp_(-0.5, 0.5)
