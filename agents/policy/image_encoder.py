"""Image encoders: an image becomes a token of what is where in its map of features, or a token a patch.

The map comes from convolutions or a pre-trained network. It is not read as one token a cell: the summary
attends to all tokens alike at first, and did not find the few cells that matter (docs/log.md, 2026-12-01).

Each leaf has weights of its own, also where several cameras have one shape: cameras see different things, and
tasks with the same spaces share an interface, and with it the encoder, anyway.
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .devices import to_device
from .encoding import ObservationSpec
from .images.augmentation import jittered, shifted
from .images.layout import map_size
from .images.pretrained import FeatureNetwork

_FIRST_CHANNELS, _MOST_CHANNELS = 32, 256
_GROUP = 16  # channels that are normalized together
_POINTS = 32  # features whose place in the map is read
_PLAIN = 16  # channels of the map that is read as it is


class ImageEmbedding(nn.Module):
    """What all encoders of images share: how pixels come in."""

    def __init__(self, spec: ObservationSpec, augmentation: str) -> None:
        super().__init__()
        self.layout, self.augmentation = spec.image, augmentation

    def pixels(self, images: np.ndarray) -> Tensor:
        """Return images `[S, *shape]` as `[S, C, H, W]` in [-0.5, 0.5], channels last in memory.

        They are numbers of the weights' type from here on only, on their device. Augmented while training.
        """
        pixels = self.layout.channels_last(images)
        if self.training and self.augmentation != "none":
            pixels = shifted(pixels)
        elif not pixels.flags.writeable:
            pixels = pixels.copy()  # torch warns of what it cannot write to
        weight = next(self.parameters())
        tensor = to_device(pixels, weight.device).to(weight.dtype).permute(0, 3, 1, 2)
        tensor = tensor / self.layout.high
        if images.dtype.kind == "f":  # bounds are declared, and not always kept
            tensor = tensor.nan_to_num(0.0).clamp_(0, 1)
        tensor = tensor.sub_(0.5)
        if self.training and self.augmentation == "shift+color":
            tensor = jittered(tensor, self.layout.colors)
        return tensor


class MapReadout(nn.Module):
    """Read a map `[S, F, rows, columns]` as one vector `[S, d]`: where its features are, and all of it.

    A spatial softmax (Levine et al., "End-to-end training of deep visuomotor policies", 2016) makes some
    channels distributions over the cells, of which the mean row and column are read. Beside these places,
    the map is read as it is, in few channels. What is read depends on the instruction: it scales and shifts
    the map's features first (Perez et al., "FiLM", 2018).
    """

    def __init__(self, channels: int, rows: int, columns: int, width: int) -> None:
        super().__init__()
        self.film = nn.Linear(width, 2 * channels)
        # at first, the instruction changes nothing
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)
        # without a bias, which a softmax does not see
        self.points = nn.Conv2d(channels, _POINTS, 1, bias=False)
        self.plain = nn.Conv2d(channels, _PLAIN, 1)
        self.read = nn.Linear(2 * _POINTS + _PLAIN * rows * columns, width)

    def forward(self, maps: Tensor, instruction: Tensor | None) -> Tensor:
        """Read maps, with the mean of each instruction's words `[S, d]`, if there is any."""
        if instruction is not None:
            scale, shift = self.film(instruction)[:, :, None, None].chunk(2, 1)
            maps = maps * (1 + scale) + shift
        # `[S, points, rows, columns]`, each map of shares adding up to 1
        shares = self.points(maps).flatten(2).softmax(-1).unflatten(2, maps.shape[2:])
        rows = shares.sum(3) @ _from_edge_to_edge(maps.shape[2], shares)
        columns = shares.sum(2) @ _from_edge_to_edge(maps.shape[3], shares)
        token: Tensor = self.read(torch.cat([rows, columns, self.plain(maps).relu().flatten(1)], 1))
        return token


class ImageEncoder(ImageEmbedding):
    """A stack of strided convolutions to a map of at most 8 x 8 cells, which is read as one token.

    After Xiao et al., "Early convolutions help transformers see better" (2021), with group normalization (Wu
    and He, 2018), which does not depend on the other images of a batch.
    """

    def __init__(self, spec: ObservationSpec, width: int, augmentation: str = "none") -> None:
        height, width_px, channels = spec.image.size
        halvings, rows, columns = map_size(height, width_px)
        super().__init__(spec, augmentation)
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
        self.readout = MapReadout(channels, rows, columns, width)

    def forward(self, images: np.ndarray, instruction: Tensor | None = None) -> Tensor:
        """Embed images `[S, *shape]`, of steps with an instruction `[S, d]` or none, as `[S, d]`."""
        # `[S, C, H, W]` → `[S, F, rows, columns]` → `[S, d]`
        token: Tensor = self.readout(self.stem(self.pixels(images)), instruction)
        return token


class PatchEmbedding(ImageEmbedding):
    """A token a patch, by a linear map: what checkpoints without a layout have, and `--features patches`."""

    def __init__(self, spec: ObservationSpec, width: int, augmentation: str = "none") -> None:
        height, width_px, channels = spec.image.size
        super().__init__(spec, augmentation)
        # both sides rounded up
        self.places = nn.Embedding(-(-height // spec.patch) * -(-width_px // spec.patch), width)
        self.side = spec.patch
        self.patch = nn.Linear(spec.patch**2 * channels, width, bias=False)

    def forward(self, images: np.ndarray) -> Tensor:
        """Embed images `[S, *shape]` as `[S, patches, d]`."""
        tokens: Tensor = self.patch(patches(self.pixels(images), self.side)) + self.places.weight
        return tokens


class FeatureEmbedding(ImageEmbedding):
    """The map of a pre-trained network, read as one token; those of a step's frames lie one after another."""

    def __init__(
        self, spec: ObservationSpec, width: int, augmentation: str, features: FeatureNetwork
    ) -> None:
        super().__init__(spec, augmentation)
        frames = self.layout.size[2] // self.layout.colors
        self.readout = MapReadout(features.channels * frames, features.rows, features.columns, width)

    def forward(
        self, images: np.ndarray, instruction: Tensor | None = None, *, features: FeatureNetwork
    ) -> Tensor:
        """Embed images as `[S, d]`, by a network that all leaves share, so it is not this module's own."""
        pixels = self.pixels(images)
        # `[S * frames, colors, H, W]`; gray is three equal colors, a fourth channel (opacity) is left out
        frames = pixels.reshape(-1, self.layout.colors, *pixels.shape[2:])
        frames = frames.expand(-1, 3, -1, -1) if self.layout.colors == 1 else frames[:, :3]
        maps = features(frames + 0.5)
        token: Tensor = self.readout(maps.reshape(len(images), -1, *maps.shape[2:]), instruction)
        return token


def patches(pixels: Tensor, side: int) -> Tensor:
    """Cut pixels `[S, C, H, W]` into `[S, patches, side * side * C]`, zero beyond the edges."""
    count, channels, height, width = pixels.shape
    rows, columns = -(-height // side), -(-width // side)
    padded = F.pad(pixels, (0, columns * side - width, 0, rows * side - height))
    cut = padded.reshape(count, channels, rows, side, columns, side).permute(0, 2, 4, 3, 5, 1)
    return cut.reshape(count, rows * columns, side * side * channels)


def _from_edge_to_edge(count: int, like: Tensor) -> Tensor:
    """Return where the cells of a row or column are, from -1 to 1; a single one is in the middle."""
    return (
        torch.linspace(-1, 1, count, device=like.device, dtype=like.dtype) if count > 1 else like.new_zeros(1)
    )
