"""A policy on disk: weights (safetensors), everything needed to rebuild it (YAML), and a card. No pickles."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from ..datasets.durable import disk_errors, write_whole
from ..envs.errors import TutelageError
from ..envs.printable import markdown_cell
from ..envs.suite import Suite, suite_from
from .encoding import Encoding
from .policy import Policy, PolicyConfig

VERSION = 1
WEIGHTS, DESCRIPTION, CARD = "policy.safetensors", "policy.yaml", "card.md"


@dataclass(frozen=True)
class LoadedPolicy:
    """A policy as it was saved; `lineage` says what it was made of, `seal` is its description's SHA-256."""

    policy: Policy
    suite: Suite
    lineage: Mapping[str, Any]
    seal: str


def save(policy: Policy, folder: Path, *, suite: Suite, lineage: Mapping[str, Any]) -> Path:
    """Write a checkpoint; `lineage` holds the training configuration, dataset parts, step and parent.

    The weights are written before the description that names their SHA-256, so a folder whose
    description fits its weights is complete.
    """
    weights = save_tensors({name: one.contiguous() for name, one in policy.state_dict().items()})
    document = {
        "version": VERSION,
        "weights": hashlib.sha256(weights).hexdigest(),
        "policy": asdict(policy.config),
        "forgetful": sorted(policy.forgetful),
        "lineage": dict(lineage),
        "packages": {
            name: importlib.metadata.version(name) for name in ("torch", "numpy", "gymnasium", "safetensors")
        },
        "suite": dict(suite.source),
        "encoding": policy.encoding.to_dict(),
    }
    document["seal"] = _seal(document)
    with disk_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        write_whole(folder / WEIGHTS, weights)
        write_whole(folder / DESCRIPTION, yaml.safe_dump(document, sort_keys=False).encode())
    write_card(folder, "Not evaluated yet: run `tutelage evaluate`.")
    return folder


def load(folder: str | Path) -> LoadedPolicy:
    """Load a checkpoint after checking every byte of it.

    Raises TutelageError when it is missing, of another version, or differs from its own SHA-256 sums.
    """
    folder = Path(folder)
    try:
        text = (folder / DESCRIPTION).read_text("utf-8")
        weights = (folder / WEIGHTS).read_bytes()
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        raise TutelageError(
            f"expected a checkpoint at {folder}, found no {missing} there; check the path"
        ) from None
    except UnicodeDecodeError:
        raise TutelageError(_damaged(folder / DESCRIPTION)) from None
    document = _description(folder / DESCRIPTION, text)
    if hashlib.sha256(weights).hexdigest() != document["weights"]:
        raise TutelageError(_damaged(folder / WEIGHTS))
    policy = Policy(PolicyConfig(**document["policy"]), Encoding.from_dict(document["encoding"]))
    try:
        policy.load_state_dict(load_tensors(weights))
    except (SafetensorError, RuntimeError) as error:
        raise TutelageError(f"expected weights that fit {folder / DESCRIPTION}, got: {error}") from None
    policy.eval()
    policy.forgetful = frozenset(document["forgetful"])
    suite = suite_from(document["suite"], str(folder / DESCRIPTION))
    return LoadedPolicy(policy, suite, document["lineage"], document["seal"])


def write_card(folder: Path, table: str) -> None:
    """Write `card.md`: what this policy is, what it was made of, and how it was measured."""
    document = yaml.safe_load((folder / DESCRIPTION).read_text("utf-8"))
    lineage = document["lineage"]
    parameters = lineage.get("parameters", "?")
    tasks = ", ".join(map(markdown_cell, document["encoding"]["tasks"]))
    lines = [
        f"# A policy for {markdown_cell(document['suite']['suite'])}",
        "",
        f"One set of weights ({parameters} parameters) for: {tasks}.",
        f"Trained by behavior cloning for {lineage.get('step', '?')} steps on "
        f"{len(lineage.get('parts', {}))} dataset parts; every hash is in `{DESCRIPTION}`.",
        "",
        "## Evaluation",
        "",
        table,
        "",
    ]
    with disk_errors(folder):
        write_whole(folder / CARD, "\n".join(lines).encode())


def _description(path: Path, text: str) -> dict[str, Any]:
    try:
        document = yaml.safe_load(text)
        seal = document.pop("seal")
        sound = seal == _seal(document)
    except (yaml.YAMLError, AttributeError, KeyError, TypeError):
        raise TutelageError(_damaged(path)) from None
    if document.get("version") != VERSION:
        got = document.get("version")
        raise TutelageError(
            f"expected checkpoint version {VERSION} in {path}, got {got!r}; install its release"
        )
    if not sound:
        raise TutelageError(_damaged(path))
    return dict(document) | {"seal": seal}


def _seal(document: Mapping[str, Any]) -> str:
    """Return the SHA-256 of a description, whatever its layout."""
    plain = json.dumps(document, sort_keys=True, default=str)
    return hashlib.sha256(plain.encode()).hexdigest()


def _damaged(path: Path) -> str:
    return f"expected {path} as it was saved, got other bytes (its SHA-256 differs); copy it again"
