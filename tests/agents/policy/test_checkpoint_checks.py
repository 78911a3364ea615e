"""Whatever a stranger seals as a checkpoint, loading it ends with a policy that acts, or in one line."""

from __future__ import annotations

import hashlib
import json
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from tutelage.agents.policy import checkpoint
from tutelage.agents.policy.action_parts import ActionPart, FlowSpec
from tutelage.agents.policy.checkpoint import load, save
from tutelage.agents.policy.encoding import Encoding, IOSpec, ObservationSpec
from tutelage.agents.policy.policy import Policy, PolicyConfig
from tutelage.agents.policy.web.page_actions import page_parts
from tutelage.envs.suite import suite_from
from tutelage.errors import TutelageError

SUITE = suite_from({"suite": "toys", "tasks": [{"id": "cart", "env": "CartPole-v1"}]})
VECTOR = ObservationSpec("", "vector", (2,), edges=((0.0, 0.5, 1.0), (-1.0, 0.0, 2.0)))
IMAGE = ObservationSpec("", "image", (16, 12, 3), patch=4, spans=((0.0, 255.0),), layout="HWC")
Document = dict[str, Any]


BINS = ActionPart("bins", 41, -2.0, 2.0)


def made(
    *seen: ObservationSpec,
    parts: tuple[ActionPart, ...] = (ActionPart("choice", 2, 0.0),),
    flow: FlowSpec | None = None,
) -> Policy:
    torch.manual_seed(0)
    encoding = Encoding((IOSpec(seen, parts, flow),), {"cart": (0, "balance")})
    return Policy(PolicyConfig(size=1, window=4), encoding).eval()


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> tuple[Document, bytes]:
    """Give the description and the weights of a sound checkpoint."""
    folder = save(made(VECTOR), tmp_path_factory.mktemp("run") / "kept", suite=SUITE, lineage={"step": 5})
    document = yaml.safe_load((folder / "policy.yaml").read_text())
    return document, (folder / "policy.safetensors").read_bytes()


def write(folder: Path, document: Document, weights: bytes) -> Path:
    """Write a checkpoint with seals that fit, as a stranger would."""
    folder.mkdir(exist_ok=True)
    whole = {name: value for name, value in document.items() if name not in ("seal", "file_sha256")}
    if isinstance(whole.get("weights"), str):
        whole["weights"] = hashlib.sha256(weights).hexdigest()
    plain = json.dumps(whole, sort_keys=True, default=str)
    whole["seal"] = hashlib.sha256(plain.encode()).hexdigest()
    (folder / "policy.yaml").write_text(yaml.safe_dump(whole, sort_keys=False))
    (folder / "policy.safetensors").write_bytes(weights)
    return folder


def changed(document: Document, place: str, value: Any) -> Document:
    """Return a description with another value at a dotted place; `...` removes what is there."""
    copy: Document = json.loads(json.dumps(document))
    *path, last = [int(part) if part.isdecimal() else part for part in place.split(".")]
    inner: Any = copy
    for part in path:
        inner = inner[part]
    if value is ...:
        del inner[last]
    else:
        inner[last] = value
    return copy


SEEN = "encoding.interfaces.0.seen.0"
PART = "encoding.interfaces.0.parts.0"
ATTACKS: list[tuple[str, Any]] = [
    *((name, ...) for name in ("policy", "memoryless_tasks", "lineage", "suite", "encoding", "weights")),
    *((name, None) for name in ("policy", "memoryless_tasks", "lineage", "suite", "encoding", "weights")),
    *((name, "text") for name in ("policy", "memoryless_tasks", "lineage", "suite", "encoding")),
    ("policy.size", 10**9),
    ("policy.size", 200),
    ("policy.size", 2),
    ("policy.size", 0),
    ("policy.size", -1),
    ("policy.size", "1"),
    ("policy.size", True),
    ("policy.size", 1.0),
    ("policy.size", ...),
    ("policy.window", 10**12),
    ("policy.window", 0),
    ("policy.dropout", float("nan")),
    ("policy.history_dropout", 2),
    ("policy.more", 1),
    ("encoding.interfaces", {}),
    ("encoding.interfaces", []),
    ("encoding.interfaces", None),
    ("encoding.interfaces.0.seen", []),
    ("encoding.interfaces.0.parts", []),
    ("encoding.tasks", {}),
    ("encoding.tasks", []),
    ("encoding.tasks.cart", 3),
    ("encoding.tasks.cart.interface", 1),
    ("encoding.tasks.cart.interface", -1),
    ("encoding.tasks.cart.interface", "0"),
    ("encoding.tasks.cart.instruction", None),
    (f"{SEEN}.kind", "smell"),
    (f"{SEEN}.kind", "page"),
    (f"{SEEN}.kind", "grid"),
    (f"{SEEN}.kind", "image"),
    (f"{SEEN}.kind", "discrete"),
    (f"{SEEN}.kind", ...),
    (f"{SEEN}.shape", [10**12]),
    (f"{SEEN}.shape", [-2]),
    (f"{SEEN}.shape", [3]),
    (f"{SEEN}.edges", []),
    (f"{SEEN}.edges", [[0.0], [1.0]]),
    (f"{SEEN}.edges", [[1.0, 0.0, 2.0], [0.0, 1.0, 2.0]]),
    (f"{SEEN}.edges", [[float("nan")] * 3, [0.0, 1.0, 2.0]]),
    (f"{PART}.size", 10**15),
    (f"{PART}.size", 0),
    (f"{PART}.size", 3),
    (f"{PART}.kind", "bins"),
    (f"{PART}.kind", "element"),
    (f"{PART}.kind", "word"),
    (f"{PART}.low", float("inf")),
    (f"{PART}.verbs", [99]),
    ("memoryless_tasks", [1]),
    ("lineage.step", "5"),
    ("lineage.step", 10**300),
    ("lineage.select", {"cart": "1"}),
    ("lineage.parts", 3),
    ("suite", {"suite": "toys", "tasks": []}),
]


@pytest.mark.parametrize(("place", "value"), ATTACKS, ids=lambda value: str(value)[:40])
def test_a_sealed_description_of_no_policy_is_refused_in_one_line(
    place: str, value: Any, sound: tuple[Document, bytes], tmp_path: Path
) -> None:
    document, weights = sound
    folder = write(tmp_path / "forged", changed(document, place, value), weights)
    with pytest.raises(TutelageError) as caught:
        load(folder)
    assert "\n" not in str(caught.value)
    assert "policy." in str(caught.value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (f"{SEEN}.layout", "CHW"),
        (f"{SEEN}.layout", "HW"),
        (f"{SEEN}.layout", "XYZ"),
        (f"{SEEN}.layout", ""),
        (f"{SEEN}.layout", 3),
        (f"{SEEN}.spans", []),
        (f"{SEEN}.spans", [[0.0, 0.0]]),
        (f"{SEEN}.spans", [[0.0, 1e300]]),
        (f"{SEEN}.spans", [[float("nan"), 1.0]]),
        (f"{SEEN}.spans", [[0.0, 255.0], [0.0, 255.0]]),
        (f"{SEEN}.patch", 0),
        (f"{SEEN}.patch", -4),
        (f"{SEEN}.shape", [16, 12]),
        (f"{SEEN}.shape", [16, 12, 4]),
        (f"{SEEN}.shape", [160, 12, 3]),
        (f"{SEEN}.shape", [2**12, 2**12, 2**12]),
        (f"{SEEN}.kind", "grid"),
        ("policy.features", "patches"),
        ("policy.features", "efficientnet-lite0"),
        ("policy.features", "timm:hf-hub:someone/something"),
        ("policy.features", "torchvision:../../resnet18"),
        ("policy.features", "torchvision:none_of_that_name"),
        ("policy.features", None),
        ("policy.features", ["none"]),
        ("policy.augmentation", "blur"),
        ("policy.augmentation", 1),
        ("policy.augmentation", {}),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_sealed_description_of_no_image_is_refused_in_one_line(
    place: str, value: Any, tmp_path: Path
) -> None:
    folder = save(made(IMAGE), tmp_path / "sound", suite=SUITE, lineage={})
    document, weights = yaml.safe_load((folder / "policy.yaml").read_text()), folder / "policy.safetensors"
    forged = write(tmp_path / "forged", changed(document, place, value), weights.read_bytes())
    with pytest.raises(TutelageError, match=r"policy\.") as caught:
        load(forged)
    assert "\n" not in str(caught.value)


FLOW = "encoding.interfaces.0.flow"


@pytest.mark.parametrize(
    ("place", "value"),
    [
        (FLOW, ...),
        (FLOW, None),
        (FLOW, 3),
        (FLOW, {}),
        (f"{FLOW}.chunk", 2),
        (f"{FLOW}.chunk", 4),
        (f"{FLOW}.chunk", 0),
        (f"{FLOW}.chunk", -3),
        (f"{FLOW}.chunk", 2**40),
        (f"{FLOW}.chunk", "three"),
        (f"{FLOW}.chunk", ...),
        (f"{FLOW}.replan", 4),
        (f"{FLOW}.replan", -1),
        (f"{FLOW}.replan", None),
        (f"{FLOW}.ranges", []),
        (f"{FLOW}.ranges", [[0.0, 1.0]]),
        (f"{FLOW}.ranges", [[0.0, 1.0], [1.0, 1.0]]),
        (f"{FLOW}.ranges", [[0.0, 1.0], [float("nan"), 1.0]]),
        (f"{FLOW}.ranges", [[0.0, 1.0], [-float("inf"), 1.0]]),
        (f"{FLOW}.ranges", [[0.0, 1.0], [0.0, 1.0, 2.0]]),
        (f"{PART}.kind", "choice"),
        (f"{PART}.high", -3.0),
        ("policy.size", 2),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_sealed_flow_head_that_cannot_be_is_refused_in_one_line(
    place: str, value: Any, tmp_path: Path
) -> None:
    flow = FlowSpec(3, 1, ((-1.0, 1.0), (0.0, 2.0)))
    folder = save(made(VECTOR, parts=(BINS, BINS), flow=flow), tmp_path / "sound", suite=SUITE, lineage={})
    document = yaml.safe_load((folder / "policy.yaml").read_text())
    weights = (folder / "policy.safetensors").read_bytes()
    with pytest.raises(TutelageError) as caught:
        load(write(tmp_path / "forged", changed(document, place, value), weights))
    assert "\n" not in str(caught.value)
    assert "policy." in str(caught.value)


def test_a_flow_head_comes_back(tmp_path: Path) -> None:
    policy = made(VECTOR, parts=(BINS, BINS), flow=FlowSpec(3, 1, ((-1.0, 1.0), (0.0, 2.0))))
    loaded = load(save(policy, tmp_path, suite=SUITE, lineage={})).policy
    assert loaded.encoding == policy.encoding
    assert not loaded.decoder.options.weight.numel()
    observed = {"": torch.zeros(3, 2).numpy()}
    before, after = (made.act("cart", observed, made.start("cart", 3))[0] for made in (policy, loaded))
    assert (before == after).all()


@pytest.mark.parametrize("place", ["more", "lineage.more", f"{SEEN}.more", "encoding.tasks.cart.more"])
def test_additional_keys_change_nothing(place: str, sound: tuple[Document, bytes], tmp_path: Path) -> None:
    document, weights = sound
    loaded = load(write(tmp_path / "more", changed(document, place, "x"), weights))
    assert loaded.policy.encoding == made(VECTOR).encoding


def _edited(weights: bytes, edit: Callable[[dict[str, torch.Tensor]], object]) -> bytes:
    tensors = load_tensors(weights)
    edit(tensors)
    return save_tensors(tensors)


@pytest.mark.parametrize(
    "edit",
    [
        lambda tensors: tensors.pop("tokens.summary"),
        lambda tensors: tensors.update({"more": torch.zeros(1)}),
        lambda tensors: tensors.update({"tokens.summary": torch.zeros(3)}),
        lambda tensors: tensors.update({"tokens.summary": torch.zeros(64, dtype=torch.float64)}),
        lambda tensors: tensors.update({"tokens.summary": torch.full((64,), torch.nan)}),
        lambda tensors: tensors.update({"decoder.options.weight": torch.zeros(2)}),
        lambda tensors: tensors.clear(),
    ],
    ids=["missing", "more", "shape", "type", "nan", "flat", "none"],
)
def test_weights_that_do_not_fit_are_refused(
    edit: Callable[[dict[str, torch.Tensor]], object], sound: tuple[Document, bytes], tmp_path: Path
) -> None:
    document, weights = sound
    with pytest.raises(TutelageError, match="expected weights that fit"):
        load(write(tmp_path / "forged", document, _edited(weights, edit)))


@pytest.mark.parametrize("weights", [b"", b"\xff" * 8, b"\x02" + b"\0" * 7 + b"{}", b"no safetensors at all"])
def test_weights_that_are_none_are_refused(
    weights: bytes, sound: tuple[Document, bytes], tmp_path: Path
) -> None:
    with pytest.raises(TutelageError, match=r"expected (weights|tensors)"):
        load(write(tmp_path / "forged", sound[0], weights))


_JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**20), 10**20) | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)
_PLACES = sorted({place for place, _ in ATTACKS if not place.endswith(".more")})


@pytest.mark.slow
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.sampled_from(_PLACES), value=_JSON)
def test_any_value_anywhere_gives_a_policy_that_acts_or_one_line(
    place: str, value: Any, sound: tuple[Document, bytes], tmp_path: Path
) -> None:
    document, weights = sound
    write(tmp_path / "forged", changed(document, place, value), weights)
    try:
        policy = load(tmp_path / "forged").policy
    except TutelageError as error:
        message = str(error)
    else:
        message = ""
        for task in policy.tasks:
            policy.act(task, {"": torch.zeros(3, 2).numpy()}, policy.start(task, 3))
    assert "\n" not in message


@pytest.mark.slow
def test_a_description_of_gigabytes_takes_none(sound: tuple[Document, bytes], tmp_path: Path) -> None:
    document, weights = sound
    places = [("policy.size", 256), (f"{PART}.size", 2**39), (f"{SEEN}.shape", [2**24])]
    for number, (place, value) in enumerate(places):
        write(tmp_path / f"forged-{number}", changed(document, place, value), weights)
    code = (
        "import resource, sys, torch; from tutelage.agents.policy.checkpoint import load\n"
        "from tutelage.errors import TutelageError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for folder in sys.argv[1:]:\n"
        "    try: load(folder)\n"
        "    except TutelageError: print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)\n"
    )
    folders = sorted(tmp_path.glob("forged-*"))
    command = [sys.executable, "-c", code, *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=True)
    taken = [int(line) for line in done.stdout.split()]
    assert len(taken) == len(folders) == 3
    assert max(taken) < 100_000, "kilobytes"
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss > 0


@pytest.mark.parametrize(
    ("seen", "parts"),
    [
        ((ObservationSpec("", "discrete", (), (5,), (1,)),), (ActionPart("choice", 2, 0.0),)),
        ((ObservationSpec("", "grid", (3, 3, 2), common=((0, 0), (1, 0))),), (ActionPart("choice", 2, 1.0),)),
        ((ObservationSpec("", "image", (16, 12, 3), patch=4),), (ActionPart("bins", 41, -2.0, 2.0),)),
        ((IMAGE,), (ActionPart("bins", 41, -2.0, 2.0),)),
        (
            (ObservationSpec("words", "text"), ObservationSpec("x", "vector", (1,), edges=((0.5,),))),
            (ActionPart("choice", 3, 0.0),),
        ),
        ((ObservationSpec("elements", "page"),), page_parts(("Enter",))),
    ],
    ids=["discrete", "grid", "patches", "image", "text", "page"],
)
def test_every_kind_of_policy_comes_back(
    seen: tuple[ObservationSpec, ...], parts: tuple[ActionPart, ...], tmp_path: Path
) -> None:
    policy = made(*seen, parts=parts)
    loaded = load(save(policy, tmp_path, suite=SUITE, lineage={})).policy
    assert loaded.encoding == policy.encoding
    assert list(loaded.state_dict()) == list(policy.state_dict())
    for mine, saved in zip(loaded.parameters(), policy.parameters(), strict=True):
        assert torch.equal(mine, saved)


def test_weights_that_are_not_finite_are_not_saved(tmp_path: Path) -> None:
    policy = made(VECTOR)
    with torch.no_grad():
        policy.tokens.summary[3] = torch.inf
    with pytest.raises(TutelageError, match="expected finite weights"):
        save(policy, tmp_path / "kept", suite=SUITE, lineage={})
    assert not (tmp_path / "kept").exists()


def test_a_checkpoint_is_whole_wherever_its_replacement_dies(tmp_path: Path) -> None:
    old, new = made(VECTOR), made(VECTOR)
    with torch.no_grad():
        new.tokens.summary += 1
    first = save(old, tmp_path / "old", suite=SUITE, lineage={"step": 1})
    second = save(new, tmp_path / "new", suite=SUITE, lineage={"step": 2})
    dying = save(old, tmp_path / "dying", suite=SUITE, lineage={"step": 1})
    (dying / checkpoint._NEXT).write_bytes((second / "policy.yaml").read_bytes())
    assert load(dying).lineage["step"] == 1
    (dying / "policy.safetensors").write_bytes((second / "policy.safetensors").read_bytes())
    assert load(dying).lineage["step"] == 2
    checkpoint.copy(first, dying)
    assert load(dying).seal == load(first).seal
    assert sorted(path.name for path in dying.iterdir()) == sorted(path.name for path in first.iterdir())
