"""Put right every hash that covers a changed file, as an attacker does who wrote it on purpose.

Covers: parts (their names), the manifest and `dataset.yaml` of a store, markers of exports, checkpoints,
evaluations, training states, sealed lines. Does not cover: fingerprints and digests of episodes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import yaml
from tutelage.agents.training.sealed_lines import seal_lines
from tutelage.datasets.formats.export_marker import MARKERS
from tutelage.datasets.sealed_yaml import sealed

_PART = re.compile(r"(part-.*-r\d+-)[0-9a-f]{16}\.parquet")
_UNREADABLE = (ValueError, TypeError, KeyError, AttributeError, OSError, RecursionError, yaml.YAMLError)
_DOCUMENT_SEAL = b"sha256: "
_STATE_SEAL = re.compile(rb'(\\"sha256\\": \\")[0-9a-f]{64}')


def seal(path: Path) -> Path:
    """Make every hash fit again that covers a file; returns its path, which a part's hash is in."""
    if match := _PART.fullmatch(path.name):
        path = _seal_part(path, match[1])
    with contextlib.suppress(*_UNREADABLE):
        if path.name == "dataset.yaml":
            _seal_document(path)
        elif path.name == "manifest.json":
            _seal_manifest(path)
        elif path.name == "policy.safetensors":
            _edit_yaml(path.with_name("policy.yaml"), weights=_hash(path))
        elif path.name == "rows.parquet":
            _edit_yaml(path.with_name("evaluation.yaml"), sha256=_hash(path))
        elif path.name.startswith("state.") and path.suffix == ".safetensors":
            _seal_state(path)
        elif path.suffix == ".jsonl" and path.name in ("metrics.jsonl", "self_imitation.jsonl"):
            _seal_lines(path)
        _seal_export(path)
    return path


def write_yaml(path: Path, document: Any) -> None:
    """Write YAML, with a seal where files of that name have one."""
    if path.name in ("policy.yaml", "evaluation.yaml") and isinstance(document, dict):
        for name in ("seal", "file_sha256"):
            document.pop(name, None)
        path.write_bytes(sealed(document))
        return
    if path.name == "dataset.yaml" and isinstance(document, dict):
        document = document | {"sha256": document.pop("sha256", "")}  # the seal stays the last line
    path.write_text(yaml.safe_dump(document, sort_keys=False), "utf-8")


def _seal_part(path: Path, stem: str) -> Path:
    data = path.read_bytes()
    digest = hashlib.sha256(data).hexdigest()
    before = path.name
    path = path.rename(path.with_name(f"{stem}{digest[:16]}.parquet"))
    with contextlib.suppress(*_UNREADABLE):
        manifest = path.with_name("manifest.json")
        document = json.loads(manifest.read_text("utf-8"))
        entry = document["parts"].pop(before)
        try:
            episodes = pq.read_metadata(path).num_rows
        except OSError:  # Arrow's errors are among them
            episodes = entry["episodes"]
        document["parts"][path.name] = {"sha256": digest, "bytes": len(data), "episodes": episodes}
        _write_manifest(manifest, document)
        evaluation = path.parent.with_name("evaluation.yaml")
        if path.parent.name == "episodes" and evaluation.exists():
            parts = yaml.safe_load(evaluation.read_text("utf-8"))["parts"]
            parts[path.name] = parts.pop(before) and digest
            _edit_yaml(evaluation, parts=parts)
    return path


def _seal_document(path: Path) -> None:
    """Seal `dataset.yaml` by its text, whatever that says, and tell the manifest of it."""
    body = path.read_bytes().rpartition(_DOCUMENT_SEAL)[0]
    path.write_bytes(body + _DOCUMENT_SEAL + hashlib.sha256(body).hexdigest().encode() + b"\n")
    manifest = path.with_name("manifest.json")
    document = json.loads(manifest.read_text("utf-8"))
    document["document"] = path.read_text("utf-8")
    _write_manifest(manifest, document)


def _seal_manifest(path: Path) -> None:
    try:
        document = json.loads(path.read_text("utf-8"))
    except ValueError:  # bytes that are no JSON are sealed as they are
        body = path.read_bytes().rpartition(b',"sha256":"')[0]
        path.write_bytes(b'%s,"sha256":"%s"}\n' % (body, hashlib.sha256(body + b"}").hexdigest().encode()))
        return
    _write_manifest(path, document)


def _write_manifest(path: Path, document: Any) -> None:
    if not isinstance(document, dict):
        path.write_text(json.dumps(document), "utf-8")
        return
    document.pop("sha256", None)
    body = json.dumps(document, separators=(",", ":")).encode()
    digest = hashlib.sha256(body).hexdigest().encode()
    path.write_bytes(b'%s,"sha256":"%s"}\n' % (body[:-1], digest))


def _seal_state(path: Path) -> None:
    data = path.read_bytes()
    blank = _STATE_SEAL.sub(lambda match: match[1] + b"0" * 64, data, count=1)
    digest = hashlib.sha256(blank).hexdigest().encode()
    path.write_bytes(_STATE_SEAL.sub(lambda match: match[1] + digest, data, count=1))


def _seal_lines(path: Path) -> None:
    records = [json.loads(line) for line in path.read_text("utf-8").splitlines()]
    for record in records:
        record.pop("check", None)
    path.write_text(seal_lines(records), "utf-8")


def _seal_export(path: Path) -> None:
    """Put the marker right of the export that a file belongs to, if it belongs to any."""
    for folder in path.parents[:6]:
        for name in MARKERS.values():
            marker = folder / name
            if not marker.exists():
                continue
            document = json.loads(marker.read_text("utf-8"))
            relative = path.relative_to(folder).as_posix()
            if marker != path and relative in document["files"]:
                document["files"][relative] = _hash(path)
            names = ("token", "task", "episodes", "suite", "files")
            content = {key: document.get(key) for key in names}
            text = json.dumps(content, sort_keys=True)
            document["hash"] = hashlib.sha256(text.encode()).hexdigest()
            marker.write_text(json.dumps(document, indent=1), "utf-8")
            return


def _edit_yaml(path: Path, **changes: Any) -> None:
    write_yaml(path, yaml.safe_load(path.read_text("utf-8")) | changes)


def _hash(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
