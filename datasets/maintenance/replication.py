"""Replicate a store's parts to a remote folder, which is itself a valid store when downloaded."""

from __future__ import annotations

import queue
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from ..manifest import COPIED, DOCUMENT, PART, Manifest, PartEntry, read_document
from ..remote import RemoteFolder
from ..store import Store
from .leftovers import part_entry

_FIRST_WAIT_SECONDS = 1.0
_LONGEST_WAIT_SECONDS = 60.0


class PartCopies:
    """A background thread that copies finished parts to a URL, oldest first.

    `start` begins with the parts that the remote lacks. Each copy is read back and compared; while the remote
    is unreachable, work is queued and retried. `tell(text)` reports to the user. Several stores of one suite
    may share a folder.
    """

    def __init__(self, store: Store, url: str, tell: Callable[[str], None]) -> None:
        self.remote = RemoteFolder(url)
        self._store = store
        self._tell = tell
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._closing = threading.Event()
        self._counting = threading.Lock()
        self._waiting = 0
        self._thread = threading.Thread(target=self._work, name="part-copies", daemon=True)

    def start(self) -> None:
        """Start copying."""
        self._thread.start()

    def put(self, part: Path) -> None:
        """Queue a part on disk for copying."""
        self._add(lambda: self._copy(part))

    def forget(self, demonstrator: str, then: Callable[[], None]) -> None:
        """Queue the removal of a demonstrator from all copies of all stores; `then` is called afterwards."""

        def work() -> None:
            forget_remotely(self.remote, demonstrator)
            then()

        self._add(work)

    @property
    def waiting(self) -> int:
        """Number of queued jobs since the start that are not done yet."""
        return self._waiting

    def close(self) -> None:
        """Copy what is queued as long as that succeeds, then stop; the next start copies the rest."""
        self._closing.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        if not self._retry(self._copy_missing):
            return
        while (work := self._queue.get()) is not None:
            if not self._retry(work):
                return
            with self._counting:
                self._waiting -= 1

    def _add(self, work: Callable[[], None]) -> None:
        with self._counting:
            self._waiting += 1
        self._queue.put(work)

    def _copy_missing(self) -> None:
        remote_sizes = self.remote.sizes()
        if remote_sizes.get(DOCUMENT) != (self._store.path / DOCUMENT).stat().st_size:
            self.remote.copy(self._store.path / DOCUMENT)
        for part in self._store.parts():
            # another size: the copy was interrupted
            if remote_sizes.get(part.name) != part.stat().st_size:
                self._copy_part(part)
        self._copy_manifest()

    def _copy(self, part: Path) -> None:
        self._copy_part(part)
        self._copy_manifest()

    def _copy_manifest(self) -> None:
        """Write the manifest of the copied parts, after the parts; annotations are not copied."""
        remote_sizes, manifest = self.remote.sizes(), self._store.manifest()
        parts = {
            name: entry for name, entry in manifest.parts.items() if remote_sizes.get(name) == entry.bytes
        }
        self.remote.write(manifest.copied_name, replace(manifest, parts=parts, annotations="").encode())

    def _copy_part(self, part: Path) -> None:
        try:
            self.remote.copy(part)
        except FileNotFoundError:
            if part.exists():
                raise
        if not part.exists():  # a demonstrator was removed meanwhile
            self.remote.remove(part.name)
        elif (match := PART.fullmatch(part.name)) and int(match["revision"]):
            self._remove_older(match["stem"], part.name)

    def _remove_older(self, stem: str, newest: str) -> None:
        for name in self.remote.sizes():
            match = PART.fullmatch(name)
            if match and match["stem"] == stem and name != newest:
                self.remote.remove(name)

    def _retry(self, work: Callable[[], None]) -> bool:
        """Retry remote work until it succeeds; return False if `close` is called first."""
        wait = _FIRST_WAIT_SECONDS
        failing = False
        while True:
            try:
                work()
            except Exception as error:  # file systems may raise anything
                if not failing:
                    self._tell(
                        f"The copies at {self.remote.url} have to wait: {type(error).__name__}: {error}"
                    )
                failing = True
                if self._closing.wait(wait):
                    return False
                wait = min(2 * wait, _LONGEST_WAIT_SECONDS)
            else:
                if failing:
                    self._tell(f"The copies at {self.remote.url} go on.")
                return True


def forget_remotely(remote: RemoteFolder, demonstrator: str) -> int:
    """Remove a demonstrator from a remote folder, including old versions; return the episodes removed.

    Each part is rewritten as in `Store.forget`, and copied before the old one is removed.
    """
    removed = 0
    for name in sorted(remote.sizes()):
        if PART.fullmatch(name) is not None:
            removed += _forget_in(remote, name, demonstrator)
    # versions of deleted files may contain the demonstrator
    current_names = set(remote.sizes())
    for name in {name for name, _ in remote.versions()} - current_names:
        _replace_in_manifests(remote, name, {})
        remote.remove(name)
    return removed


def _forget_in(remote: RemoteFolder, name: str, demonstrator: str) -> int:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        for file_name in (DOCUMENT, name):
            download(remote, file_name, folder)
        text = read_document(folder).decode(errors="replace")
        Manifest(text, {name: part_entry(folder / name)}).write(folder)
        store = Store.open(folder)
        removed = store.forget(demonstrator)
        if removed:
            for part in store.parts():
                remote.copy(part)
            _replace_in_manifests(remote, name, store.manifest().parts)
            remote.remove(name)
    return removed


def _replace_in_manifests(remote: RemoteFolder, name: str, replacements: Mapping[str, PartEntry]) -> None:
    """Replace a part by others in every remote manifest that lists it."""
    for manifest_name in sorted(filter(COPIED.fullmatch, remote.sizes())):
        with remote.open(manifest_name) as file:
            manifest = Manifest.decode(file.read(), Path(remote.url))
        if name in manifest.parts:
            remote.write(manifest_name, manifest.changed(replacements, frozenset([name])).encode())


def download(remote: RemoteFolder, name: str, folder: Path) -> Path:
    """Download a file into a local folder."""
    with remote.open(name) as file, (folder / name).open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return folder / name
