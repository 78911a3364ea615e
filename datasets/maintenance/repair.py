"""Mend a store: find what is wrong, bring back what a copy still has, move aside what does not belong.

Nothing is deleted but what an interrupted removal left; foreign and damaged files go to `STORE/.damaged`.
What the journal still has is brought back afterwards, see `crowd.restoring`.
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
    """One thing that is wrong, and what mends it; `lost` counts episodes that no copy brings back."""

    problem: str
    remedy: str
    lost: int = 0


@dataclass
class RepairPlan:
    """What is wrong with a store's folder, and the changes that mend it, not made yet."""

    folder: Path
    suite: Suite
    manifest: Manifest
    findings: list[StoreProblem] = field(default_factory=list)
    aside: list[str] = field(default_factory=list)
    delete: list[str] = field(default_factory=list)
    rename: dict[str, str] = field(default_factory=dict)  # the name that is there → the right one
    fetch: dict[str, StoreCopy] = field(default_factory=dict)
    doubled: list[str] = field(default_factory=list)  # parts with episodes that stay in earlier ones
    annotations: bytes = b""  # their file, where it is written anew
    ids: set[str] = field(default_factory=set)
    """The episodes that the store holds once the plan is carried out."""
    anew: bool = False
    """Whether no manifest could be read, so that one is made from what is there."""

    def find(self, problem: str, remedy: str, lost: int = 0) -> None:
        """Note something that is wrong."""
        self.findings.append(StoreProblem(problem, remedy, lost))


def plan_repair(folder: Path, copies: Sequence[StoreCopy] = ()) -> RepairPlan:
    """Find what is wrong with a store, and what would mend it; changes nothing.

    Raises TutelageError where the suite is lost: neither `dataset.yaml` nor the manifest nor a copy has it.
    """
    if not folder.is_dir():
        raise TutelageError(f"expected a store at {folder}, found no such folder; check the path")
    plan = _plan_suite(folder, copies)
    _plan_edits(plan)
    _plan_listed(plan, copies)
    _plan_leftovers(plan)
    _plan_doubles(plan)
    return plan


def carry_out(plan: RepairPlan, copies: Sequence[StoreCopy] = ()) -> RepairPlan:
    """Mend a store; returns the plan that was carried out, made again under the store's write lock.

    After an interruption at any point, another call does the rest.
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
        if _bytes(folder / DOCUMENT) != document:
            write_whole(folder / DOCUMENT, document)
        if _bytes(folder / MANIFEST) != plan.manifest.encode():
            plan.manifest.write(folder)
        _part_doubles(plan)
    return plan


def _plan_suite(folder: Path, copies: Sequence[StoreCopy]) -> RepairPlan:
    """Decide which suite and which manifest hold, and begin a plan with that."""
    data, suite = _bytes(folder / DOCUMENT), None
    try:
        manifest, trouble = Manifest.read(folder), ""
        check_document(manifest.document.encode(), folder)
    except TutelageError as error:
        manifest, trouble = None, str(error).partition(";")[0]
    findings: list[StoreProblem] = []
    if manifest is None:
        document, source = _document(folder, data, copies)
        if data is None or data != document.encode():
            findings.append(StoreProblem(*_document_trouble(folder, data, source)))
        listed = next((copy.manifest for copy in copies if _is_of(copy.manifest, document)), None)
        manifest = replace(listed, store=uuid.uuid4().hex[:12]) if listed else Manifest(document)
        origin = f"the copy at {next(iter(copies)).name}" if listed else "the parts that are here and sound"
        findings.append(StoreProblem(trouble, f"it is made anew from {origin}"))
    elif data != manifest.document.encode():
        findings.append(StoreProblem(*_document_trouble(folder, data, "the manifest")))
    suite = suite_from(check_document(manifest.document.encode(), folder), str(folder / DOCUMENT))
    plan = RepairPlan(folder, suite, manifest, findings, anew=bool(trouble))
    if data is not None and data != manifest.document.encode() and older_suite(data, folder) is None:
        plan.aside.append(DOCUMENT)
    if plan.anew and _bytes(folder / MANIFEST) is not None:
        plan.aside.append(MANIFEST)
    return plan


def _plan_edits(plan: RepairPlan) -> None:
    """See whether an edit was interrupted, and whether the annotations are as they were written."""
    folder, manifest = plan.folder, plan.manifest
    if plan.anew:
        for path in sorted(folder.glob("annotations-*.json")):
            digest = _hash(path)
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


def _document(folder: Path, data: bytes | None, copies: Sequence[StoreCopy]) -> tuple[str, str]:
    """Return the text of `dataset.yaml` where no manifest has it, and where it comes from."""
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
    what = "found none" if data is None else "it is damaged"
    raise TutelageError(
        f"expected {folder / DOCUMENT} or a manifest that has its text, {what}; the suite is lost here: "
        f"name a copy of the store with --from"
    )


def _document_trouble(folder: Path, data: bytes | None, source: str) -> tuple[str, str]:
    if data is None:
        return f"{folder / DOCUMENT} is missing", f"it is written again from {source}"
    if older_suite(data, folder) is not None:
        return f"{folder / DOCUMENT} is of schema 1", "it is written in the form of schema 2"
    return f"{folder / DOCUMENT} is not as it was written", f"it is written again from {source}"


def _plan_listed(plan: RepairPlan, copies: Sequence[StoreCopy]) -> None:
    """See which listed parts are not as written, and where each can be had from."""
    there = part_files(plan.folder)
    lost: set[str] = set()
    extra = {_hash(plan.folder / name): name for name in sorted(there.keys() - plan.manifest.parts.keys())}
    for name, entry in sorted(plan.manifest.parts.items()):
        is_there = name in there
        if is_there and there[name] == entry.bytes and _hash(plan.folder / name) == entry.sha256:
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
        if (twin := extra.pop(entry.sha256, None)) is not None:
            plan.find(problem, f"{twin} has its content and gets its name")
            plan.rename[twin] = name
            plan.ids.update(episode_ids(plan.folder / twin))
            continue
        held = ((copy, copy.episode_ids(name, entry)) for copy in copies)
        copy, ids = next(((copy, ids) for copy, ids in held if ids is not None), (None, []))
        if copy is not None:
            plan.find(problem, f"it is brought back from {copy.name}")
            plan.fetch[name] = copy
            plan.ids.update(ids)
        else:
            plan.find(problem, "no copy has it: the manifest lists it no longer", entry.episodes)
            lost.add(name)
    kept = {name: entry for name, entry in plan.manifest.parts.items() if name not in lost}
    plan.manifest = replace(plan.manifest, parts=kept)


def _plan_leftovers(plan: RepairPlan) -> None:
    """Decide about part files that the manifest does not list."""
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


def _plan_doubles(plan: RepairPlan) -> None:
    """Find parts that hold episodes a second time: each episode stays where it is first."""
    names = {right: name for name, right in plan.rename.items()}
    seen: set[str] = set()
    for name in sorted(plan.manifest.parts.keys() - plan.fetch.keys()):
        twice = []
        for episode in episode_ids(plan.folder / names.get(name, name)):
            if episode in seen:
                twice.append(episode)
            seen.add(episode)
        if twice:
            problem = (
                f"part {name} holds {counted(len(twice), 'episode')} a second time, the first: {twice[0]}"
            )
            plan.find(problem, f"it is written without them, and as it was it is moved to {DAMAGED}")
            plan.doubled.append(name)


def _part_doubles(plan: RepairPlan) -> None:
    """Write parts without the episodes that are there twice; the caller holds the lock."""
    folder, seen = plan.folder, set[str]()
    for name in sorted(plan.manifest.parts) if plan.doubled else ():
        keep = []
        for episode in episode_ids(folder / name):
            keep.append(episode not in seen)
            seen.add(episode)
        if all(keep):
            continue
        kept, added = read_columns(folder / name).filter(pa.array(keep)), {}
        if len(kept):
            data = seal(kept)
            short = hashlib.sha256(data).hexdigest()[:16]
            path = folder / f"part-{stem(name)}-r{revision(name) + 1}-{short}.parquet"
            write_whole(path, data)
            added = {path.name: part_entry(path)}
        plan.manifest = plan.manifest.changed(added, frozenset([name]))
        plan.manifest.write(folder)
        _move_aside(folder, name)


def _is_of(manifest: Manifest | None, document: str) -> bool:
    return manifest is not None and manifest.document == document


def _bytes(path: Path) -> bytes | None:
    """Read a file; None when there is none, or it is no file."""
    try:
        return read_bytes(path)
    except (FileNotFoundError, TutelageError):
        return None


def _hash(path: Path) -> str:
    """Return the SHA-256 of a file; "" when it cannot be read, or is a link."""
    try:
        return "" if path.is_symlink() else hash_file(path)
    except TutelageError:
        return ""


def _move_aside(folder: Path, name: str) -> None:
    """Move a file of a store to its folder of damaged files, beside others of that name."""
    into = folder / DAMAGED
    if into.is_symlink():
        into.unlink()
    into.mkdir(exist_ok=True)
    target = into / name
    while target.exists() or target.is_symlink():
        target = into / f"{uuid.uuid4().hex[:8]}-{name}"
    (folder / name).rename(target)
