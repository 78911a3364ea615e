"""A policy on disk: weights (safetensors), everything needed to rebuild it (YAML), and a card. No pickles."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors.torch import save as save_tensors

from ...console.printable import markdown_cell
from ...console.wording import counted
from ...datasets.sealed_yaml import damaged, read_sealed, sealed
from ...envs.suite import Suite, suite_from
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import read_bytes
from .bounded_tensors import parse_tensors
from .checkpoint_checks import config_of, encoding_of, expect_description, rebuilt
from .devices import choose_device
from .policy import Policy

VERSION = 1
WEIGHTS, DESCRIPTION, CARD = "policy.safetensors", "policy.yaml", "card.md"
_UNKNOWN = "Not evaluated yet: run `tutelage evaluate`."
_NEXT = ".policy.yaml.next"  # the description of weights that are being replaced


@dataclass(frozen=True)
class LoadedPolicy:
    """A saved policy; `lineage` is its origin (see `save`), `seal` the SHA-256 of its description."""

    policy: Policy
    suite: Suite
    lineage: Mapping[str, Any]
    seal: str


def save(
    policy: Policy, folder: Path, *, suite: Suite, lineage: Mapping[str, Any], then: str = "try again"
) -> Path:
    """Write a checkpoint; `lineage` holds the training configuration, dataset parts, step and parent.

    Replacement of an existing checkpoint is atomic, even if the process dies. Raises TutelageError for
    weights that are not finite, and for a full disk; `then` is the advice at the end of that message.
    """
    if not all(bool(tensor.isfinite().all()) for tensor in policy.state_dict().values()):
        raise TutelageError(
            f"expected finite weights to save in {folder}, got others; "
            f"train with lower learning rates (--learning-rate, --table-learning-rate)"
        )
    # safetensors needs contiguous memory
    weights = save_tensors({name: tensor.cpu().contiguous() for name, tensor in policy.state_dict().items()})
    document = {
        "version": VERSION,
        "weights": hashlib.sha256(weights).hexdigest(),
        "policy": asdict(policy.config),
        "memoryless_tasks": sorted(policy.memoryless_tasks),
        "lineage": dict(lineage),
        "packages": {
            name: importlib.metadata.version(name) for name in ("torch", "numpy", "gymnasium", "safetensors")
        },
        "suite": dict(suite.source),
        "encoding": policy.encoding.to_dict(),
    }
    with disk_errors(folder, then):
        _replace(folder, weights, sealed(document))
        _write_card(folder, _UNKNOWN)
    return folder


def copy(source: Path, folder: Path) -> None:
    """Replace a checkpoint by a copy of another, atomically; raises TutelageError for a full disk."""
    document, weights = _read(source)
    del document["seal"]  # computed again, with the same result
    with disk_errors(folder, "go on with --resume"):
        _replace(folder, weights, sealed(document))
        _write_card(folder, _UNKNOWN)


def load(folder: str | Path, device: str = "cpu") -> LoadedPolicy:
    """Load a checkpoint onto a device (see `devices.choose_device`) after checking every byte of it.

    Raises TutelageError when it is missing, has another version, differs from its own SHA-256 sums, or is
    no valid policy, and for a device that is not there.
    """
    folder, target = Path(folder), choose_device(device)
    document, weights = _read(folder)
    where = str(folder / DESCRIPTION)
    tensors, _ = parse_tensors(weights, str(folder / WEIGHTS))
    policy = rebuilt(document, tensors, where).to(target)
    suite = suite_from(document["suite"], where)
    return LoadedPolicy(policy, suite, document["lineage"], document["seal"])


def trained_steps(folder: Path) -> int:
    """Return the training step of a checkpoint without reading its weights."""
    return int(_description(folder)["lineage"].get("step", 0))


def shape_of(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's size, window, features and flow head's chunks without reading its weights."""
    document, where = _description(folder), str(folder / DESCRIPTION)
    config = config_of(document["policy"], where)
    flows = [interface.flow for interface in encoding_of(document["encoding"], where).interfaces]
    chunks = {"chunk": flow.chunk, "replan": flow.replan} if (flow := next(filter(None, flows), None)) else {}
    return {"size": config.size, "window": config.window, "features": config.features, **chunks}


def kept_facts(folder: Path) -> dict[str, Any]:
    """Return a checkpoint's step, number of parameters and success on select seeds; None where missing."""
    lineage = _description(folder)["lineage"]
    return {name: lineage.get(name) for name in ("step", "parameters", "select")}


def write_card(folder: Path, table: str) -> None:
    """Write `card.md`: the policy's tasks, its origin and its evaluation as a Markdown `table`."""
    with disk_errors(folder):
        _write_card(folder, table)


def _write_card(folder: Path, table: str) -> None:
    document = _description(folder)
    # suite and task names may be untrusted: escaped for Markdown
    lineage = document["lineage"]
    parameters = lineage.get("parameters", "?")
    tasks = ", ".join(map(markdown_cell, document["encoding"]["tasks"]))
    lines = [
        f"# A policy for {markdown_cell(document['suite']['suite'])}",
        "",
        f"One set of weights ({parameters} parameters) for: {tasks}.",
        f"Trained by behavior cloning for {counted(int(lineage.get('step', 0)), 'step')} on "
        f"{counted(len(lineage.get('parts', {})), 'dataset part')}; every hash is in `{DESCRIPTION}`.",
        "",
        "## Evaluation",
        "",
        table,
        "",
    ]
    write_whole(folder / CARD, "\n".join(lines).encode())


def _description(folder: Path) -> dict[str, Any]:
    """Read a description alone; raises TutelageError where there is none, or it is damaged."""
    try:
        document = read_sealed(folder / DESCRIPTION, VERSION, "checkpoint")
    except FileNotFoundError:
        raise _missing(folder, DESCRIPTION) from None
    expect_description(document, str(folder / DESCRIPTION))
    return document


def _read(folder: Path) -> tuple[dict[str, Any], bytes]:
    """Read a description and the weights that fit it."""
    try:
        document = read_sealed(folder / DESCRIPTION, VERSION, "checkpoint")
        weights = read_bytes(folder / WEIGHTS)
    except FileNotFoundError as error:
        raise _missing(folder, Path(str(error.filename)).name) from None
    # the description states the hash of its weights, and its seal that of itself
    sha256 = hashlib.sha256(weights).hexdigest()
    if document.get("weights") != sha256 and (folder / _NEXT).exists():
        # the writer died between the two replacements of `_replace`
        document = read_sealed(folder / _NEXT, VERSION, "checkpoint")
    if document.get("weights") != sha256:
        raise damaged(folder / WEIGHTS)
    expect_description(document, str(folder / DESCRIPTION))
    return document, weights


def _replace(folder: Path, weights: bytes, description: bytes) -> None:
    """Write weights and their description; the pair in the folder is consistent at every moment."""
    folder.mkdir(parents=True, exist_ok=True)
    fresh = folder / f".{WEIGHTS}.next"
    try:
        write_whole(fresh, weights)
        write_whole(folder / _NEXT, description)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    # between these two lines readers find the new description in `_NEXT`
    fresh.replace(folder / WEIGHTS)
    (folder / _NEXT).replace(folder / DESCRIPTION)


def _missing(folder: Path, name: str) -> TutelageError:
    return TutelageError(f"expected a checkpoint at {folder}, found no {name} there; check the path")
