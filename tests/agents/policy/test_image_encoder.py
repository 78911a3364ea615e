"""Images of every shape train and act; what encodes them does not see the other images of a batch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from tutelage.agents.policy.checkpoint import load, save
from tutelage.agents.policy.encoding import Encoding, ObservationSpec
from tutelage.agents.policy.image_encoder import (
    FeatureEmbedding,
    ImageEncoder,
    MapReadout,
    PatchEmbedding,
    patches,
)
from tutelage.agents.policy.interface_checks import expect_fits
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.training.config import TrainConfig
from tutelage.agents.training.step import begin, make_sampler, training_step
from tutelage.datasets.arrays.sampler import TaskArrays
from tutelage.envs.suite import suite_from
from tutelage.envs.task_env import TaskEnv
from tutelage.errors import TutelageError
from tutelage.tests.support.sources import ROOT
from tutelage.tests.support.toy_images import IMAGES, image_task
from tutelage.tests.support.toy_policy import awake, random_columns

CONFIG = TrainConfig(size=1, window=2, batch_steps=4, steps=4, warmup=0, augmentation="shift+color")
OLD = ROOT / "tests" / "fixtures" / "0.1.0" / "patches"
"""A checkpoint of before images had a layout, and summaries that it gave."""


def columns_of(world: str, episodes: int = 2) -> dict[str, TaskArrays]:
    return {world: random_columns(image_task(world), episodes, length=4)}


@pytest.mark.parametrize("features", ["none", "patches"])
@pytest.mark.parametrize("world", [*IMAGES, "cameras"])
def test_every_shape_trains_and_acts_and_is_saved(world: str, features: str, tmp_path: Path) -> None:
    columns = columns_of(world)
    config = TrainConfig.from_dict({**vars(CONFIG), "features": features})
    run = begin(columns, config)
    seen = run.policy.encoding.interface(world).seen
    kinds = ["image", "image", "vector", "text"] if world == "cameras" else ["image"]
    assert sorted(spec.kind for spec in seen) == sorted(kinds)
    expect_fits(run.policy.encoding.interface(world), TaskEnv(image_task(world)))
    sampler = make_sampler(columns, config)
    before = {name: weight.detach().clone() for name, weight in run.policy.named_parameters()}
    for _ in range(2):
        loss, _ = training_step(run, sampler.batch(run.step), config)
        assert np.isfinite(loss)
    moved = {name for name, weight in run.policy.named_parameters() if not torch.equal(weight, before[name])}
    assert {name for name in before if name.startswith("tokens.leaves")} <= moved
    suite = suite_from(
        {"suite": "toys", "tasks": [{"id": world, "env": "toys/Images-v0", "kwargs": {"world": world}}]}
    )
    policy = load(save(run.average, tmp_path, suite=suite, lineage={})).policy
    assert policy.encoding == run.policy.encoding
    observations = {path: leaf[:3] for path, leaf in columns[world].observations.items()}
    actions, _ = policy.act(world, observations, policy.start(world, 3))
    assert torch.equal(policy.summarize({world: observations}), run.average.summarize({world: observations}))
    assert set(actions.ravel()) <= {0.0, 1.0}


def test_the_light_is_learned_from_a_few_episodes() -> None:
    world, config = "color", TrainConfig.from_dict({**vars(CONFIG), "batch_steps": 32, "steps": 30})
    columns = columns_of(world, 8)
    right = columns[world].observations[""][:, :32].mean((1, 2, 3)) < 190
    columns = {world: TaskArrays(**{**vars(columns[world]), "actions": right[:, None].astype(float)})}
    run, sampler = begin(columns, config), make_sampler(columns, config)
    losses = [training_step(run, sampler.batch(run.step), config)[0] for _ in range(config.steps)]
    assert losses[-1] < 0.3 < losses[0]


def test_the_place_of_a_small_thing_is_learned_from_a_few_episodes() -> None:
    world, config = "color", TrainConfig.from_dict({**vars(CONFIG), "batch_steps": 64, "steps": 30})
    columns = columns_of(world, 40)
    images = np.full_like(columns[world].observations[""], 90)
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 64 - 6, (len(images), 2))
    for image, (row, column) in zip(images, corners, strict=True):
        image[row : row + 6, column : column + 6] = (220, 30, 30)
    right = corners[:, 1] > (64 - 6) / 2
    changed = {"observations": {"": images}, "actions": right[:, None].astype(float)}
    columns = {world: TaskArrays(**{**vars(columns[world]), **changed})}
    run, sampler = begin(columns, config), make_sampler(columns, config)
    losses = [training_step(run, sampler.batch(run.step), config)[0] for _ in range(config.steps)]
    assert np.mean(losses[-5:]) < 0.3 < losses[0]


def test_an_instruction_says_what_is_looked_for() -> None:
    policy = awake(PolicyConfig(size=1), columns_of("cameras"))
    readout = next(module for module in policy.modules() if isinstance(module, MapReadout))
    maps = torch.randn(2, readout.points.in_channels, 5, 5)
    said = torch.randn(2, 64)
    assert not torch.allclose(readout(maps, said)[0], readout(maps, said.flip(0))[0])
    with torch.no_grad():
        readout.film.weight.zero_()
        readout.film.bias.zero_()
    assert torch.equal(readout(maps, said), readout(maps, None))


@pytest.mark.parametrize("world", ["large", "stack-of-colors", "gray-floats", "tiny"])
def test_a_step_alone_and_within_a_batch_is_encoded_alike(world: str) -> None:
    columns = columns_of(world)
    policy = awake(PolicyConfig(size=1, augmentation="shift+color"), columns).double()
    images = columns[world].observations[""]
    together = policy.summarize({world: {"": images}})
    for index in (0, 3, 7):
        alone = policy.summarize({world: {"": images[index : index + 1]}})
        assert torch.allclose(alone, together[index : index + 1], atol=1e-9)


@pytest.mark.parametrize("augmentation", ["none", "shift", "shift+color"])
def test_augmentation_acts_while_training_only(augmentation: str) -> None:
    spec = ObservationSpec("", "image", (64, 64, 3), patch=8, spans=((0.0, 255.0),), layout="HWC")
    images = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), np.uint8)
    torch.manual_seed(0)
    encoder = ImageEncoder(spec, 64, augmentation)
    plain = torch.from_numpy(images).permute(0, 3, 1, 2) / 255 - 0.5
    assert torch.equal(encoder.eval().pixels(images), plain)
    changed = encoder.train().pixels(images)
    assert changed.shape == plain.shape
    assert changed.abs().max() <= 0.5
    assert torch.equal(changed, plain) == (augmentation == "none")


def test_pixels_out_of_their_declared_range_stay_within_it() -> None:
    spec = ObservationSpec("", "image", (40, 40), patch=8, spans=((0.0, 1.0),), layout="HW")
    images = np.full((2, 40, 40), [[np.nan]], np.float32)
    images[0, :20], images[1, :20] = 1e30, -np.inf
    pixels = ImageEncoder(spec, 64).eval().pixels(images)
    assert pixels.isfinite().all()
    assert pixels.abs().max() == 0.5
    assert np.isnan(images[0, 30, 0]), "what was given is not written to"


def test_images_are_trained_on_in_bfloat16_too() -> None:
    columns, config = columns_of("color"), TrainConfig.from_dict({**vars(CONFIG), "dtype": "bfloat16"})
    run, sampler = begin(columns, config), make_sampler(columns, config)
    losses = [training_step(run, sampler.batch(run.step), config)[0] for _ in range(2)]
    assert np.isfinite(losses).all()


def test_pixels_are_channels_last_in_memory() -> None:
    spec = ObservationSpec("", "image", (3, 40, 40), patch=8, spans=((0.0, 255.0),), layout="CHW")
    encoder = ImageEncoder(spec, 64, "shift").train()
    pixels = encoder.pixels(np.zeros((2, 3, 40, 40), np.uint8))
    assert pixels.shape == (2, 3, 40, 40)
    assert pixels.is_contiguous(memory_format=torch.channels_last)


def test_patches_hold_every_pixel_once() -> None:
    images = np.random.default_rng(0).integers(0, 256, (2, 7, 10, 3), dtype=np.uint8)
    pixels = images.astype(np.float32) / 255 - 0.5
    cut = patches(torch.from_numpy(pixels).permute(0, 3, 1, 2), 4).numpy()
    assert cut.shape == (2, 2 * 3, 4 * 4 * 3)
    assert cut.sum() == pytest.approx(pixels.sum(), abs=1e-2)
    assert np.array_equal(cut[0, 0].reshape(4, 4, 3), pixels[0, :4, :4])


def test_a_checkpoint_of_patches_loads_and_gives_what_it_gave() -> None:
    policy = load(OLD).policy
    [leaf] = policy.tokens.leaves[0]
    assert isinstance(leaf, PatchEmbedding)
    images = np.random.default_rng(0).integers(0, 256, (3, 36, 40, 3), np.uint8)
    summaries = policy.summarize({"picture": {"": images}})
    assert torch.allclose(summaries, torch.from_numpy(np.load(OLD / "summaries.npy")), atol=1e-5)
    images = np.zeros((2, 36, 40, 3), np.uint8)
    assert policy.act("picture", {"": images}, policy.start("picture", 2))[0].shape == (2, 2)


def test_another_range_or_layout_of_pixels_is_another_observation() -> None:
    interface = Encoding.fit(columns_of("floats-to-1")).interface("floats-to-1")
    with pytest.raises(TutelageError, match="of another kind or size"):
        expect_fits(interface, TaskEnv(image_task("floats-to-255")))


def test_features_of_a_network_are_one_token_of_all_frames() -> None:
    policy = awake(PolicyConfig(size=1, features="efficientnet-lite0"), columns_of("stack-of-gray"))
    [leaf] = policy.tokens.leaves[0]
    assert isinstance(leaf, FeatureEmbedding)
    assert policy.tokens.features is not None
    assert leaf.readout.points.in_channels == 3 * policy.tokens.features.channels
    images: Any = np.zeros((1, 3, 40, 40, 1), np.uint8)
    embedded = policy.tokens({"stack-of-gray": {"": images}})
    # the summary, the mean of the instruction's words, and the image
    assert len(embedded.tokens) == 3


def test_a_policy_says_what_it_expects_of_its_images() -> None:
    for name, value in (("augmentation", "blur"), ("features", "timm:hf-hub:a/b"), ("features", 3)):
        with pytest.raises(TutelageError, match=f"expected {name} to be") as caught:
            PolicyConfig(**{name: value})
        assert "\n" not in str(caught.value)
    assert Policy(PolicyConfig(size=1), Encoding.fit(columns_of("gray"))).config.augmentation == "none"
