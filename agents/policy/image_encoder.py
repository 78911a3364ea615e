"""Image encoders: the images of a leaf become tokens, by convolutions, patches or pre-trained features.

Each leaf has weights of its own, also where several cameras have one shape: cameras see different things, and
tasks with the same spaces share an interface, and with it the encoder, anyway.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch.nn.functional as F
from torch import Tensor, nn

from .devices import to_device
from .encoding import ObservationSpec
from .images.augmentation import jittered, shifted
from .images.layout import map_size
from .images.pretrained import FeatureNetwork

_FIRST_CHANNELS, _MOST_CHANNELS = 32, 256
_GROUP = 16  # channels that are normalized together


class ImageEmbedding(nn.Module):
    """What all encoders of images share: pixels in, one token a cell out, each with its place's embedding."""

    def __init__(self, spec: ObservationSpec, width: int, augmentation: str, cells: int) -> None:
        super().__init__()
        self.layout, self.augmentation = spec.image, augmentation
        self.places = nn.Embedding(cells, width)

    def pixels(self, images: np.ndarray) -> Tensor:
        """Return images `[S, *shape]` as `[S, C, H, W]` in [-0.5, 0.5], channels last in memory.

        They are numbers of the weights' type from here on only, on their device. Augmented while training.
        """
        pixels = self.layout.channels_last(images)
        if self.training and self.augmentation != "none":
            pixels = shifted(pixels)
        elif not pixels.flags.writeable:
            pixels = pixels.copy()  # torch warns of what it cannot write to
        weight = self.places.weight
        tensor = to_device(pixels, weight.device).to(weight.dtype).permute(0, 3, 1, 2)
        tensor = tensor / self.layout.high
        if images.dtype.kind == "f":  # bounds are declared, and not always kept
            tensor = tensor.nan_to_num(0.0).clamp_(0, 1)
        tensor = tensor.sub_(0.5)
        if self.training and self.augmentation == "shift+color":
            tensor = jittered(tensor, self.layout.colors)
        return tensor

    def pieces(self, tokens: Tensor) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Give tokens `[S, cells, d]` their places' embeddings, and the step that each belongs to."""
        tokens = tokens + self.places.weight
        yield tokens.flatten(0, 1), np.repeat(np.arange(len(tokens)), tokens.shape[1])


class ImageEncoder(ImageEmbedding):
    """A stack of strided convolutions, then one token a cell of its map of at most 8 x 8 cells.

    After Xiao et al., "Early convolutions help transformers see better" (2021), with group normalization (Wu
    and He, 2018), which does not depend on the other images of a batch.
    """

    def __init__(self, spec: ObservationSpec, width: int, augmentation: str = "none") -> None:
        height, width_px, channels = spec.image.size
        halvings, rows, columns = map_size(height, width_px)
        super().__init__(spec, width, augmentation, rows * columns)
        layers: list[nn.Module] = []
        # large images are halved twice by the first layer, whose output would be most of the memory
        strides = [4, *[2] * (halvings - 2)] if halvings > 3 else [2] * halvings
        for index, stride in enumerate(strides):
            outputs = min(_FIRST_CHANNELS << index, _MOST_CHANNELS, width)
            kernel = 7 if stride == 4 else 3
            layers += [
                nn.Conv2d(channels, outputs, kernel, stride, kernel // 2, bias=False),
                nn.GroupNorm(outputs // _GROUP, outputs),
                nn.ReLU(inplace=True),
            ]
            channels = outputs
        self.stem = nn.Sequential(*layers)
        self.project = nn.Linear(channels, width)

    def forward(self, images: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
        # `[S, C, H, W]` → `[S, F, rows, columns]` → `[S, cells, F]`
        maps = self.stem(self.pixels(images))
        yield from self.pieces(self.project(maps.flatten(2).transpose(1, 2)))


class PatchEmbedding(ImageEmbedding):
    """One linear map of each patch: what checkpoints without a layout have, and `--features patches`."""

    def __init__(self, spec: ObservationSpec, width: int, augmentation: str = "none") -> None:
        height, width_px, channels = spec.image.size
        # patches: both sides rounded up
        super().__init__(spec, width, augmentation, -(-height // spec.patch) * -(-width_px // spec.patch))
        self.side = spec.patch
        self.patch = nn.Linear(spec.patch**2 * channels, width, bias=False)

    def forward(self, images: np.ndarray) -> Iterator[tuple[Tensor, np.ndarray]]:
        yield from self.pieces(self.patch(patches(self.pixels(images), self.side)))


class FeatureEmbedding(ImageEmbedding):
    """One token a cell of a pre-trained network's map; the maps of a step's frames lie one after another."""

    def __init__(
        self, spec: ObservationSpec, width: int, augmentation: str, features: FeatureNetwork
    ) -> None:
        super().__init__(spec, width, augmentation, features.rows * features.columns)
        self.frames = self.layout.size[2] // self.layout.colors
        self.project = nn.Linear(features.channels * self.frames, width)

    def forward(self, images: np.ndarray, features: FeatureNetwork) -> Iterator[tuple[Tensor, np.ndarray]]:
        """Embed images by a network that is shared by all leaves, and so not this module's own."""
        pixels = self.pixels(images)
        # `[S * frames, colors, H, W]`; gray is three equal colors, a fourth channel (opacity) is left out
        frames = pixels.reshape(-1, self.layout.colors, *pixels.shape[2:])
        frames = frames.expand(-1, 3, -1, -1) if self.layout.colors == 1 else frames[:, :3]
        maps = features(frames + 0.5)
        yield from self.pieces(self.project(maps.reshape(len(images), -1, maps[0, 0].numel()).mT))


def patches(pixels: Tensor, side: int) -> Tensor:
    """Cut pixels `[S, C, H, W]` into `[S, patches, side * side * C]`, zero beyond the edges."""
    count, channels, height, width = pixels.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = F.pad(pixels, (0, columns * side - width, 0, rows * side - height))
    cut = padded.reshape(count, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(count, rows * columns, side * side * channels)
