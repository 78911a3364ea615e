"""Repair a store: find problems, restore parts from copies, set foreign files aside.

Only leftovers of an interrupted removal are deleted; foreign and damaged files are moved to `STORE/.damaged`.
Episodes in the journal are restored afterwards, see `crowd.storage.restoring`.
"""

from __future__ import annotations

import hashlib
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pyarrow as pa

from ...console.wording import counted
from ...envs.suite import Suite, suite_from
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, sync_folder, write_whole
from ...files.bounded_files import read_bytes
from ..editing.annotations import Annotations, annotations_name, read_annotations
from ..editing.edit_log import deleted_episodes, finish_pending
from ..manifest import (
    DAMAGED,
    DOCUMENT,
    MANIFEST,
    Manifest,
    check_document,
    hash_file,
    older_suite,
    part_files,
    revision,
    seal_document,
    stem,
)
from ..parquet.bounded_parquet import read_columns
from ..pending import read_pending
from ..schema import seal
from ..store_lock import writing
from .leftovers import LeftoverKind, episode_ids, leftovers, part_entry
from .store_copies import StoreCopy


@dataclass(frozen=True)
class StoreProblem:
    """One problem and its remedy; `lost` counts episodes that no copy can restore."""

    problem: str
    remedy: str
    lost: int = 0


@dataclass
class RepairPlan:
    """The problems of a store's folder, and the changes that repair it, not made yet."""

    folder: Path
    suite: Suite
    manifest: Manifest
    findings: list[StoreProblem] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    rename: dict[str, str] = field(default_factory=dict)  # present name → right name
    fetch: dict[str, StoreCopy] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)  # parts with episodes that are in earlier parts too
    annotations: bytes = b""  # new content of their file, if it is rewritten
    ids: set[str] = field(default_factory=set)
    """The episode ids in the store after the repair."""
    anew: bool = False
    """Whether the manifest is unreadable, so that a new one is made from the parts."""

    def find(self, problem: str, remedy: str, lost: int = 0) -> None:
        """Add a problem to the findings."""
        self.findings.append(StoreProblem(problem, remedy, lost))


def plan_repair(folder: Path, copies: Sequence[StoreCopy] = ()) -> RepairPlan:
    """Find the problems of a store and their remedies, without any change.

    Raises TutelageError if the suite is lost: neither `dataset.yaml` nor the manifest nor a copy has it.
    """
    if not folder.is_dir():
        raise TutelageError(f"expected a store at {folder}, found no such folder; check the path")
    plan = _plan_suite(folder, copies)
    _plan_edits(plan)
    _plan_listed_parts(plan, copies)
    _plan_leftovers(plan)
    _plan_duplicates(plan)
    return plan


def carry_out(plan: RepairPlan, copies: Sequence[StoreCopy] = ()) -> RepairPlan:
    """Repair a store; return the executed plan, which is recomputed under the store's write lock.

    After an interruption at any point, another call completes the repair.
    """
    folder = plan.folder
    with disk_errors(folder), writing(folder):
        if not plan.anew:
            finish_pending(folder, Manifest.read(folder))
        plan = plan_repair(folder, copies)
        for name in plan.aside:
            _move_aside(folder, name)
        for name, right in plan.rename.items():
            (folder / name).rename(folder / right)
        for name, copy in plan.fetch.items():
            write_whole(folder / name, copy.fetch(name, plan.manifest.parts[name]))
        for name in plan.delete:
            (folder / name).unlink(missing_ok=True)
        if plan.annotations:
            write_whole(folder / annotations_name(plan.manifest.annotations), plan.annotations)
        sync_folder(folder)
        document = plan.manifest.document.encode()
        if _read_or_none(folder / DOCUMENT) != document:
            write_whole(folder / DOCUMENT, document)
        if _read_or_none(folder / MANIFEST) != plan.manifest.encode():
            plan.manifest.write(folder)
        _remove_duplicates(plan)
    return plan


def _plan_suite(folder: Path, copies: Sequence[StoreCopy]) -> RepairPlan:
    """Determine the valid suite and manifest, and begin a plan with them."""
    data, suite = _read_or_none(folder / DOCUMENT), None
    try:
        manifest, trouble = Manifest.read(folder), ""
        check_document(manifest.document.encode(), folder)
    except TutelageError as error:
        manifest, trouble = None, str(error).partition(";")[0]
    findings: list[StoreProblem] = []
    if manifest is None:
        document, source = _recover_document(folder, data, copies)
        if data is None or data != document.encode():
            findings.append(StoreProblem(*_document_problem(folder, data, source)))
        listed = next((copy.manifest for copy in copies if _has_document(copy.manifest, document)), None)
        manifest = replace(listed, store=uuid.uuid4().hex[:12]) if listed else Manifest(document)
        origin = f"the copy at {next(iter(copies)).name}" if listed else "the parts that are here and sound"
        findings.append(StoreProblem(trouble, f"it is made anew from {origin}"))
    elif data != manifest.document.encode():
        findings.append(StoreProblem(*_document_problem(folder, data, "the manifest")))
    suite = suite_from(check_document(manifest.document.encode(), folder), str(folder / DOCUMENT))
    plan = RepairPlan(folder, suite, manifest, findings, anew=bool(trouble))
    if data is not None and data != manifest.document.encode() and older_suite(data, folder) is None:
        plan.aside.append(DOCUMENT)
    if plan.anew and _read_or_none(folder / MANIFEST) is not None:
        plan.aside.append(MANIFEST)
    return plan


def _plan_edits(plan: RepairPlan) -> None:
    """Check for an interrupted edit, and for damaged annotations."""
    folder, manifest = plan.folder, plan.manifest
    if plan.anew:
        for path in sorted(folder.glob("annotations-*.json")):
            digest = _hash_or_empty(path)
            if path.name == annotations_name(digest):
                plan.manifest = replace(manifest, annotations=digest)
    elif read_pending(folder) is not None:
        plan.find("an edit was interrupted", "it is finished, or taken back")
    if not plan.manifest.annotations:
        return
    try:
        read_annotations(folder, plan.manifest)
    except (TutelageError, OSError):
        name = annotations_name(plan.manifest.annotations)
        plan.find(
            "the notes, tags and marks are damaged or missing",
            "the store is left without them; what was deleted stays so",
        )
        plan.aside += [name] * (folder / name).exists()
        plan.annotations = Annotations(deleted=deleted_episodes(folder, plan.manifest)).encode()
        digest = hashlib.sha256(plan.annotations).hexdigest() if plan.annotations else ""
        plan.manifest = replace(plan.manifest, annotations=digest)


def _recover_document(folder: Path, data: bytes | None, copies: Sequence[StoreCopy]) -> tuple[str, str]:
    """Return the text of `dataset.yaml` without a manifest, and its source."""
    if data is not None:
        if (source := older_suite(data, folder)) is not None:
            return seal_document(suite_from(source, str(folder / DOCUMENT))), "its older form"
        try:
            check_document(data, folder)
        except TutelageError:
            pass
        else:
            return data.decode(), "itself"
    for copy in copies:
        if copy.document is not None:
            return copy.document, f"the copy at {copy.name}"
    state = "found none" if data is None else "it is damaged"
    raise TutelageError(
        f"expected {folder / DOCUMENT} or a manifest that has its text, {state}; the suite is lost here: "
        f"name a copy of the store with --from"
    )


def _document_problem(folder: Path, data: bytes | None, source: str) -> tuple[str, str]:
    if data is None:
        return f"{folder / DOCUMENT} is missing", f"it is written again from {source}"
    if older_suite(data, folder) is not None:
        return f"{folder / DOCUMENT} is of schema 1", "it is written in the form of schema 2"
    return f"{folder / DOCUMENT} is not as it was written", f"it is written again from {source}"


def _plan_listed_parts(plan: RepairPlan, copies: Sequence[StoreCopy]) -> None:
    """Check the listed parts, and find a source for each missing or damaged one."""
    sizes = part_files(plan.folder)
    lost: set[str] = set()
    extra = {
        _hash_or_empty(plan.folder / name): name for name in sorted(sizes.keys() - plan.manifest.parts.keys())
    }
    for name, entry in sorted(plan.manifest.parts.items()):
        is_there = name in sizes
        if is_there and sizes[name] == entry.bytes and _hash_or_empty(plan.folder / name) == entry.sha256:
            ids = episode_ids(plan.folder / name)
            plan.ids.update(ids)
            if len(ids) != entry.episodes:
                problem = (
                    f"part {name} has {counted(len(ids), 'episode')}, where the manifest says "
                    f"{entry.episodes}"
                )
                plan.find(problem, "the manifest is corrected")
                plan.manifest = plan.manifest.changed({name: replace(entry, episodes=len(ids))})
            continue
        problem = (
            f"part {name} with {counted(entry.episodes, 'episode')} is {'damaged' if is_there else 'missing'}"
        )
        if is_there:
            plan.aside.append(name)
        if (same_content := extra.pop(entry.sha256, None)) is not None:
            plan.find(problem, f"{same_content} has its content and gets its name")
            plan.rename[same_content] = name
            plan.ids.update(episode_ids(plan.folder / same_content))
            continue
        candidates = ((copy, copy.episode_ids(name, entry)) for copy in copies)
        copy, ids = next(((copy, ids) for copy, ids in candidates if ids is not None), (None, []))
        if copy is not None:
            plan.find(problem, f"it is brought back from {copy.name}")
            plan.fetch[name] = copy
            plan.ids.update(ids)
        else:
            plan.find(problem, "no copy has it: the manifest lists it no longer", entry.episodes)
            lost.add(name)
    remaining = {name: entry for name, entry in plan.manifest.parts.items() if name not in lost}
    plan.manifest = replace(plan.manifest, parts=remaining)


def _plan_leftovers(plan: RepairPlan) -> None:
    """Plan what happens to part files that the manifest does not list."""
    for leftover in leftovers(plan.folder, plan.manifest, plan.suite):
        name, entry = leftover.name, leftover.entry
        if name in plan.rename or name in plan.aside:
            continue
        ids = [] if entry is None else episode_ids(plan.folder / name)
        problem = f"part {name} is not in the manifest: {leftover.kind.value}"
        if entry is not None and not plan.ids.intersection(ids):
            if not plan.anew:
                plan.find(problem, "it is taken in")
            plan.manifest = plan.manifest.changed({name: entry})
            plan.ids.update(ids)
        elif leftover.kind in (LeftoverKind.SUPERSEDED, LeftoverKind.UNFINISHED):
            plan.find(problem, "it is deleted")
            plan.delete.append(name)
        else:
            problem = f"part {name} is not in the manifest: {LeftoverKind.FOREIGN.value}"
            plan.find(problem, f"it is moved to {DAMAGED}")
            plan.aside.append(name)


def _plan_duplicates(plan: RepairPlan) -> None:
    """Find parts with duplicate episodes: each episode stays in the first part that has it."""
    names = {right: name for name, right in plan.rename.items()}
    known_ids: set[str] = set()
    for name in sorted(plan.manifest.parts.keys() - plan.fetch.keys()):
        twice = []
        for episode in episode_ids(plan.folder / names.get(name, name)):
            if episode in known_ids:
                twice.append(episode)
            known_ids.add(episode)
        if twice:
            problem = (
                f"part {name} holds {counted(len(twice), 'episode')} a second time, the first: {twice[0]}"
            )
            plan.find(problem, f"it is written without them, and as it was it is moved to {DAMAGED}")
            plan.doubled.append(name)


def _remove_duplicates(plan: RepairPlan) -> None:
    """Rewrite parts without duplicate episodes; the caller holds the lock."""
    folder, written_ids = plan.folder, set[str]()
    for name in sorted(plan.manifest.parts) if plan.doubled else ():
        keep = []
        for episode in episode_ids(folder / name):
            keep.append(episode not in written_ids)
            written_ids.add(episode)
        if all(keep):
            continue
        remaining, added = read_columns(folder / name).filter(pa.array(keep)), {}
        if len(remaining):
            data = seal(remaining)
            short = hashlib.sha256(data).hexdigest()[:16]
            path = folder / f"part-{stem(name)}-r{revision(name) + 1}-{short}.parquet"
            write_whole(path, data)
            added = {path.name: part_entry(path)}
        plan.manifest = plan.manifest.changed(added, frozenset([name]))
        plan.manifest.write(folder)
        _move_aside(folder, name)


def _has_document(manifest: Manifest | None, document: str) -> bool:
    return manifest is not None and manifest.document == document


def _read_or_none(path: Path) -> bytes | None:
    """Read a file; None if it is missing or not a regular file."""
    try:
        return read_bytes(path)
    except (FileNotFoundError, TutelageError):
        return None


def _hash_or_empty(path: Path) -> str:
    """Return the SHA-256 of a file; "" if it is unreadable or a link."""
    try:
        return "" if path.is_symlink() else hash_file(path)
    except TutelageError:
        return ""


def _move_aside(folder: Path, name: str) -> None:
    """Move a file of a store to its folder of damaged files, under a free name."""
    into = folder / DAMAGED
    if into.is_symlink():
        into.unlink()
    into.mkdir(exist_ok=True)
    target = into / name
    while target.exists() or target.is_symlink():
        target = into / f"{uuid.uuid4().hex[:8]}-{name}"
    (folder / name).rename(target)
