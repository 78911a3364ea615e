"""Detect the kind of a folder by its files, so that nothing is written into a folder of another kind."""

from __future__ import annotations

from pathlib import Path

from ..errors import TutelageError

STORE, STUDY, RUN = "a store of demonstrations", "a study's folder", "a training run"
EVALUATION, EXPORT, DEMO = "an evaluation", "an export", "a demo's folder"
OTHER, FILE = "other files", "a file"

_MARKS = {
    STUDY: ("secret.key", "admin.hash"),
    STORE: ("dataset.yaml", "manifest.json", "journal.sqlite", "journal.lock"),
    EVALUATION: ("evaluation.yaml", ".new", ".replaced"),
    RUN: ("state.safetensors", "metrics.jsonl", "kept", "last/policy.yaml", "parent/policy.yaml"),
    EXPORT: ("tutelage/*.json", "data/tutelage.json", "meta/tutelage.json", "*/data/tutelage.json"),
    DEMO: ("crowd/dataset.yaml", "crowd-quick/dataset.yaml", "crowd*-unfinished", "people/dataset.yaml"),
}
"""Kind → patterns, one of which matches once a folder of that kind is begun; the first kind wins."""

_PARTS_OF_FOLDERS = (
    *("*.parquet", "*.sqlite*", "*.safetensors", "dataset.yaml", "manifest.json", "secret.key", "admin.hash"),
    *(
        "evaluation.yaml",
        "metrics.jsonl",
        "self_imitation.jsonl",
        "config.yaml",
        "policy.yaml",
        "episodes.csv",
    ),
    "steps.csv",
)
"""Patterns of the files that these folders contain."""


def kind_of(folder: Path) -> str:
    """Return the kind of a path: a kind of folder, OTHER, FILE, or "" for nothing and an empty folder."""
    if not folder.is_dir():
        return FILE if folder.exists() else ""
    for kind, marks in _MARKS.items():
        if any(next(folder.glob(mark), None) is not None for mark in marks):
            return kind
    return OTHER if any(not path.name.startswith(".") for path in folder.iterdir()) else ""


def expect_place(out: Path, *kinds: str, what: str = "") -> None:
    """Raise TutelageError unless `out` is new, an empty folder, or of one of `kinds`.

    `what` describes the expected folder in the error message.
    """
    kind = kind_of(out)
    if kind and kind not in kinds:
        allowed = " or ".join(["a new folder", *(name for name in kinds if name != OTHER)])
        raise TutelageError(f"expected {what or allowed} at {out}, found {kind}; choose another folder")


def expect_file(out: Path) -> None:
    """Raise TutelageError if a file at `out` would replace a folder, or a part of a store or run."""
    if out.is_dir():
        raise TutelageError(f"expected a file at {out}, found a folder; name a file in it")
    kind = kind_of(out.parent)
    if kind == FILE:
        raise TutelageError(f"expected a folder at {out.parent}, found a file; choose another place")
    if kind in _MARKS and out.exists() and any(map(out.match, _PARTS_OF_FOLDERS)):
        raise TutelageError(f"expected a new file at {out}, found a part of {kind}; choose another name")
