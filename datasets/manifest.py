"""The manifest of a store: its suite and its parts with hashes and counts; sealed by its own hash.

`dataset.yaml` and `manifest.json` are written atomically; each ends in the SHA-256 of the bytes before it.
Covers: any changed, missing, additional, swapped or renamed file. Does not cover: an attacker who rewrites
parts and manifest together, since neither is signed.
"""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import yaml

from ..console.wording import counted
from ..envs.suite import Suite
from ..errors import TutelageError
from ..files.atomic_files import write_whole
from ..files.bounded_files import decode_text, open_regular, parse_json, parse_yaml, read_bytes
from ..files.finite_json import exact_json
from .pending import read_pending
from .sealed_yaml import has_its_hash, with_hash

STORE_VERSION = 2
"""Format version of `dataset.yaml` and the manifest. Rows have their own version, `schema.VERSION`."""
ANNOTATED_VERSION = 3
"""Format version of a manifest with annotations, which an older reader would drop."""
DOCUMENT = "dataset.yaml"
MANIFEST = "manifest.json"
COPIED = re.compile(r"manifest-[0-9a-f]{12}\.json")
"""Names of manifests in a folder of copies, see `Manifest.copied_name`."""
DAMAGED = ".damaged"
"""A store's folder for files that `tutelage repair` set aside; `Store.forget` removes it."""
PART = re.compile(
    r"part-(?P<stem>\d{8}T\d{12}-[0-9a-f]{8})-r(?P<revision>\d+)-(?P<hash>[0-9a-f]{16})\.parquet"
)

_STORE, _HASH = re.compile(r"[0-9a-f]{12}"), re.compile(r"[0-9a-f]{64}")
_SEAL = "sha256"  # the key of the last line of `dataset.yaml`
_REPAIR = "list what is wrong and mend it with `tutelage repair {}`"


@dataclass(frozen=True)
class PartEntry:
    """One part in the manifest: the SHA-256 of its bytes in hex, its size, its number of episodes."""

    sha256: str
    bytes: int
    episodes: int

    @property
    def is_sound(self) -> bool:
        """Whether hash and counts have the right types, and the counts are positive."""
        counts = (self.bytes, self.episodes)
        is_hash = isinstance(self.sha256, str) and _HASH.fullmatch(self.sha256) is not None
        return is_hash and all(type(count) is int and 0 < count < 1 << 63 for count in counts)


@dataclass(frozen=True)
class Manifest:
    """The parts of a store by name, the text of its `dataset.yaml`, and the stems of parts that were removed.

    A removed part that returns, from a backup for example, is recognized by its stem and not added again.
    `store` is a random id that distinguishes the manifests of several stores whose copies share a folder.
    `annotations` is the SHA-256 of the file with notes, tags and marks; "" without any.
    """

    document: str
    parts: Mapping[str, PartEntry] = field(default_factory=dict)
    removed: frozenset[str] = frozenset()
    store: str = field(default_factory=lambda: uuid.uuid4().hex[:12])
    annotations: str = ""

    def encode(self) -> bytes:
        """Return the bytes of the file: JSON, with the SHA-256 of the preceding bytes as its last member."""
        body = exact_json(
            {
                "version": self.version,
                "document": self.document,
                "parts": {name: asdict(self.parts[name]) for name in sorted(self.parts)},
                "removed": sorted(self.removed),
                "store": self.store,
                **({"annotations": self.annotations} if self.annotations else {}),
            },
            is_compact=True,
        ).encode()
        return b'%s,"sha256":"%s"}\n' % (body[:-1], hashlib.sha256(body).hexdigest().encode())

    @classmethod
    def decode(cls, data: bytes, folder: Path) -> Manifest:
        """Parse the bytes of `encode`; raises TutelageError if any byte differs."""
        body, _, seal = data.rpartition(b',"sha256":"')
        body += b"}"
        if seal != b'%s"}\n' % hashlib.sha256(body).hexdigest().encode():
            raise TutelageError(
                f"expected {folder / MANIFEST} as it was written, got other bytes: it is damaged; "
                + _REPAIR.format(folder)
            )
        try:
            document = parse_json(body, str(folder / MANIFEST))
            parts = {name: PartEntry(**entry) for name, entry in document["parts"].items()}
            removed = frozenset(map(str, document["removed"]))
            text = str(document["document"])
            text.encode()  # JSON can contain invalid Unicode: an unpaired surrogate
            manifest = cls(text, parts, removed, str(document["store"]), str(document.get("annotations", "")))
            if document["version"] == manifest.version and manifest.is_sound:
                return manifest
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
            pass
        raise TutelageError(
            f"expected a manifest of version {STORE_VERSION} in {folder}, got another; "
            + _REPAIR.format(folder)
        )

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the manifest of a store, or the joined manifests of a folder of copies.

        Raises TutelageError when it is missing, damaged or older.
        """
        try:
            data = read_bytes(folder / MANIFEST)
        except FileNotFoundError:
            if copied := sorted(
                path for path in folder.glob("manifest-*.json") if COPIED.fullmatch(path.name)
            ):
                return joined([cls.decode(read_bytes(path), folder) for path in copied])
            raise TutelageError(
                f"expected {folder / MANIFEST}, found none: parts may be missing; " + _REPAIR.format(folder)
            ) from None
        return cls.decode(data, folder)

    @property
    def version(self) -> int:
        """The format version of its file."""
        return ANNOTATED_VERSION if self.annotations else STORE_VERSION

    @property
    def is_sound(self) -> bool:
        """Whether every name, hash and count is valid: no name leads out of the store."""
        return (
            _STORE.fullmatch(self.store) is not None
            and (not self.annotations or _HASH.fullmatch(self.annotations) is not None)
            and all(map(PART.fullmatch, self.parts))
            and all(entry.is_sound for entry in self.parts.values())
        )

    @property
    def copied_name(self) -> str:
        """The name of this manifest's file in a folder with copies of several stores."""
        return f"manifest-{self.store}.json"

    def write(self, folder: Path) -> None:
        """Write the manifest atomically."""
        write_whole(folder / MANIFEST, self.encode())

    def changed(
        self, added: Mapping[str, PartEntry] | None = None, removed: frozenset[str] = frozenset()
    ) -> Manifest:
        """Return the manifest with parts added and removed; stems of parts without a successor are kept."""
        parts = {name: entry for name, entry in self.parts.items() if name not in removed} | dict(added or {})
        removed_stems = {stem(name) for name in removed} - {stem(name) for name in parts}
        return replace(self, parts=parts, removed=self.removed | removed_stems)


def joined(manifests: Sequence[Manifest]) -> Manifest:
    """Return one manifest of all parts, with the newest revision of each."""
    newest: dict[str, str] = {}
    entries: dict[str, PartEntry] = {}
    for manifest in manifests:
        for name, entry in manifest.parts.items():
            current = newest.get(stem(name))
            if current is None or revision(current) < revision(name):
                newest[stem(name)], entries[name] = name, entry
    removed = frozenset().union(*(manifest.removed for manifest in manifests))
    parts = {name: entries[name] for name in newest.values()}
    return replace(manifests[0], parts=parts, removed=removed)


def stem(name: str) -> str:
    """Return the common stem of all revisions of a part, or the name itself if it is not a part's."""
    match = PART.fullmatch(name)
    return match["stem"] if match else name


def revision(name: str) -> int:
    """Return the revision number of a part; -1 if the name is not a part's."""
    match = PART.fullmatch(name)
    return int(match["revision"]) if match else -1


def seal_document(suite: Suite) -> str:
    """Return the text of a `dataset.yaml`: version, suite, and the SHA-256 of these lines."""
    body = yaml.safe_dump({"schema": STORE_VERSION, "suite": dict(suite.source)}, sort_keys=False)
    return with_hash(body, _SEAL)


def check_document(data: bytes, folder: Path) -> Any:
    """Return the suite's source of a `dataset.yaml`; raises TutelageError if it is older or damaged."""
    if has_its_hash(data, _SEAL):
        document = parse_yaml(decode_text(data, folder / DOCUMENT), str(folder / DOCUMENT))
        if isinstance(document, dict) and document.get("schema") == STORE_VERSION:
            return document.get("suite")
    older = older_suite(data, folder)
    if older is not None:
        raise TutelageError(
            f"expected schema {STORE_VERSION} in {folder / DOCUMENT}, got 1: an older store without "
            f"a manifest; upgrade it with `tutelage repair {folder}`"
        )
    raise TutelageError(
        f"expected {folder / DOCUMENT} of schema {STORE_VERSION} as it was written, got other bytes: it is "
        "damaged; " + _REPAIR.format(folder)
    )


def older_suite(data: bytes, folder: Path) -> Any:
    """Return the suite's source of a `dataset.yaml` of schema 1, which has no seal; else None."""
    try:
        document = parse_yaml(data.decode(), str(folder / DOCUMENT))
    except (TutelageError, UnicodeDecodeError):
        return None
    is_older = isinstance(document, dict) and document.get("schema") == 1 and "sha256" not in document
    return document.get("suite") if is_older else None


def read_document(folder: Path) -> bytes:
    """Read the bytes of `dataset.yaml`; raises TutelageError when there is none."""
    try:
        return read_bytes(folder / DOCUMENT)
    except FileNotFoundError:
        raise TutelageError(
            f"expected a store at {folder}, found no {DOCUMENT} there; check the path"
        ) from None


def part_files(folder: Path) -> dict[str, int]:
    """Return name → size in bytes of every file `part-*.parquet`."""
    with os.scandir(folder) as entries:
        return {
            entry.name: entry.stat(follow_symlinks=False).st_size
            for entry in entries
            if entry.name.startswith("part-") and entry.name.endswith(".parquet")
        }


def hash_file(path: Path) -> str:
    """Return the SHA-256 of a regular file in hex; raises TutelageError if it cannot be read."""
    try:
        with open_regular(path) as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TutelageError(f"expected to read part {path.name} of {path.parent}, got {error}") from None


def differences(folder: Path, manifest: Manifest) -> list[str]:
    """Return one line per part file that is missing, has another size, or is not in the manifest.

    Only names and sizes are compared: readers of the parts hash their contents. Leftovers of an interrupted
    edit are ignored, since the next writer removes them.
    """
    sizes = part_files(folder)
    for name in stale_files(folder, manifest):
        sizes.pop(name, None)
    lines = []
    for name, entry in sorted(manifest.parts.items()):
        if name not in sizes:
            lines.append(
                f"expected part {name} of {folder} with {counted(entry.episodes, 'episode')}, found "
                "none: it is missing"
            )
        elif sizes[name] != entry.bytes:
            lines.append(
                f"expected part {name} of {folder} to have {counted(entry.bytes, 'byte')}, "
                f"got {sizes[name]}: it is damaged"
            )
    lines += [
        f"expected no part {name} in {folder}: it is foreign to the manifest (put there, or left by a crash)"
        for name in sorted(sizes.keys() - manifest.parts.keys())
    ]
    return lines


def stale_files(folder: Path, manifest: Manifest) -> frozenset[str]:
    """Return the names of files left by an interrupted edit of a store."""
    pending = read_pending(folder)
    return pending.stale(manifest.encode()) - manifest.parts.keys() if pending else frozenset()


def check_parts(folder: Path, manifest: Manifest) -> None:
    """Raise TutelageError with the first difference between a folder and its manifest."""
    if lines := differences(folder, manifest):
        more = f" ({counted(len(lines), 'such part')})" if len(lines) > 1 else ""
        raise TutelageError(f"{lines[0]}{more}; " + _REPAIR.format(folder))
