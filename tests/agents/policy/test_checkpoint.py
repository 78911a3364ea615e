from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from tutelage.agents.policy.checkpoint import load, save, write_card
from tutelage.agents.policy.encoding import ActionPart, Encoding, IOSpec, ObservationSpec
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError
from tutelage.tests.support.damage import copied, flip_bit, for_any_bit

SUITE = suite_from(
    {"suite": "toys", "tasks": [{"id": "cart", "env": "CartPole-v1", "instruction": "balance"}]}
)


@pytest.fixture(scope="module")
def policy() -> Policy:
    seen = ObservationSpec("", "vector", (2,), edges=((0.0, 0.5, 1.0), (-1.0, 0.0, 2.0)))
    encoding = Encoding((IOSpec((seen,), (ActionPart("choice", 2, 0.0),)),), {"cart": (0, "balance")})
    torch.manual_seed(0)
    return Policy(PolicyConfig(size=1, window=4), encoding).eval()


@pytest.fixture(scope="module")
def folder(policy: Policy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    lineage = {"step": 5, "parts": {"crowd/a.parquet": "ab" * 32}, "parent": None, "parameters": 123}
    return save(policy, tmp_path_factory.mktemp("run") / "kept", suite=SUITE, lineage=lineage)


def test_a_policy_acts_the_same_after_loading(policy: Policy, folder: Path) -> None:
    loaded = load(folder)
    seen = {"": np.random.default_rng(0).normal(size=(20, 2))}
    before, _ = policy.act("cart", seen, policy.start("cart", 20))
    after, _ = loaded.policy.act("cart", seen, loaded.policy.start("cart", 20))
    assert np.array_equal(before, after)
    assert loaded.policy.encoding == policy.encoding
    assert (loaded.suite.name, loaded.lineage["step"]) == ("toys", 5)


def test_the_description_names_hashes_versions_and_the_suite(folder: Path) -> None:
    document = yaml.safe_load((folder / "policy.yaml").read_text())
    assert len(document["weights"]) == 64
    assert document["suite"] == dict(SUITE.source)
    assert "torch" in document["packages"]
    assert document["lineage"]["parts"] == {"crowd/a.parquet": "ab" * 32}


@for_any_bit(40)
def test_a_flipped_bit_in_the_weights_is_found(folder: Path, tmp_path: Path, where: float, bit: int) -> None:
    copy = copied(folder, tmp_path)
    flip_bit(copy / "policy.safetensors", where, bit)
    with pytest.raises(TutelageError, match=r"policy\.safetensors as it was saved"):
        load(copy)


@pytest.mark.slow
@for_any_bit(150)
def test_a_flipped_bit_in_the_description_is_found_unless_it_says_the_same(
    folder: Path, tmp_path: Path, where: float, bit: int
) -> None:
    copy = copied(folder, tmp_path)
    flip_bit(copy / "policy.yaml", where, bit)
    try:
        same = yaml.safe_load((copy / "policy.yaml").read_bytes()) == yaml.safe_load(
            (folder / "policy.yaml").read_bytes()
        )
    except (yaml.YAMLError, UnicodeDecodeError):
        same = False
    if same:
        load(copy)
    else:
        with pytest.raises(TutelageError, match=r"policy\.yaml"):
            load(copy)


def test_an_edited_description_is_refused(folder: Path, tmp_path: Path) -> None:
    copy = copied(folder, tmp_path)
    document = yaml.safe_load((copy / "policy.yaml").read_text())
    document["lineage"]["step"] = 5000
    (copy / "policy.yaml").write_text(yaml.safe_dump(document, sort_keys=False))
    with pytest.raises(TutelageError, match="SHA-256"):
        load(copy)


@pytest.mark.parametrize("name", ["policy.safetensors", "policy.yaml"])
def test_a_missing_file_is_named(folder: Path, tmp_path: Path, name: str) -> None:
    copy = copied(folder, tmp_path)
    (copy / name).unlink()
    with pytest.raises(TutelageError, match=f"found no {name}"):
        load(copy)


def test_a_missing_folder_is_named(tmp_path: Path) -> None:
    with pytest.raises(TutelageError, match=r"expected a checkpoint at .*absent"):
        load(tmp_path / "absent")


def test_the_card_carries_the_table_and_may_change(folder: Path, tmp_path: Path) -> None:
    copy = copied(folder, tmp_path)
    write_card(copy, "| task | success |\n|---|---|\n| cart | 0.97 |")
    assert "| cart | 0.97 |" in (copy / "card.md").read_text()
    load(copy)
