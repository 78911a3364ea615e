"""Copies of a store's parts elsewhere: whoever downloads that folder has a store."""

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
    """One thread that copies finished parts to a URL, oldest first, and never in anybody's way.

    `start` begins with the parts that are not there yet. Each copy is read back and compared; while the
    remote is away, all wait, and are tried again. `tell(text)` hears what a person should know. Several
    stores of one suite may share a folder.
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
        """Begin to copy."""
        self._thread.start()

    def put(self, part: Path) -> None:
        """Copy a part that is on disk."""
        self._add(lambda: self._copy(part))

    def forget(self, demonstrator: str, then: Callable[[], None]) -> None:
        """Remove a demonstrator from all copies, whatever store they are of; `then` is called afterwards."""

        def work() -> None:
            forget_remotely(self.remote, demonstrator)
            then()

        self._add(work)

    @property
    def waiting(self) -> int:
        """How much of what was put down since the start is not done yet."""
        return self._waiting

    def close(self) -> None:
        """Copy what waits if that works at once, then stop; the next start copies the rest."""
        self._closing.set()
        self._queue.put(None)
        if self._thread.is_alive():
            self._thread.join()

    def _work(self) -> None:
        if not self._persistently(self._copy_missing):
            return
        while (work := self._queue.get()) is not None:
            if not self._persistently(work):
                return
            with self._counting:
                self._waiting -= 1

    def _add(self, work: Callable[[], None]) -> None:
        with self._counting:
            self._waiting += 1
        self._queue.put(work)

    def _copy_missing(self) -> None:
        there = self.remote.sizes()
        if there.get(DOCUMENT) != (self._store.path / DOCUMENT).stat().st_size:
            self.remote.copy(self._store.path / DOCUMENT)
        for part in self._store.parts():
            # of another size is one that was cut short
            if there.get(part.name) != part.stat().st_size:
                self._copy_part(part)
        self._copy_manifest()

    def _copy(self, part: Path) -> None:
        self._copy_part(part)
        self._copy_manifest()

    def _copy_manifest(self) -> None:
        """Say which of this store's parts are there; the last thing to be copied. Annotations stay here."""
        there, manifest = self.remote.sizes(), self._store.manifest()
        parts = {name: entry for name, entry in manifest.parts.items() if there.get(name) == entry.bytes}
        self.remote.write(manifest.copied_name, replace(manifest, parts=parts, annotations="").encode())

    def _copy_part(self, part: Path) -> None:
        try:
            self.remote.copy(part)
        except FileNotFoundError:
            if part.exists():
                raise
        if not part.exists():  # somebody was forgotten meanwhile
            self.remote.remove(part.name)
        elif (match := PART.fullmatch(part.name)) and int(match["revision"]):
            self._remove_older(match["stem"], part.name)

    def _remove_older(self, stem: str, newest: str) -> None:
        for name in self.remote.sizes():
            match = PART.fullmatch(name)
            if match and match["stem"] == stem and name != newest:
                self.remote.remove(name)

    def _persistently(self, work: Callable[[], None]) -> bool:
        """Do something at the remote, however often it takes; False when this has to close first."""
        wait = _FIRST_WAIT_SECONDS
        failing = False
        while True:
            try:
                work()
            except Exception as error:  # file systems raise what they like
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
    """Remove a demonstrator from every part of a folder of copies, and from what it kept of older versions.

    Each part is rewritten as `Store.forget` does and copied before the old one goes. Returns how many
    episodes went.
    """
    gone = 0
    for name in sorted(remote.sizes()):
        if PART.fullmatch(name) is not None:
            gone += _forget_in(remote, name, demonstrator)
    # versions of files that are no longer there may hold anybody
    kept = set(remote.sizes())
    for name in {name for name, _ in remote.versions()} - kept:
        _relist(remote, name, {})
        remote.remove(name)
    return gone


def _forget_in(remote: RemoteFolder, name: str, demonstrator: str) -> int:
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        for one in (DOCUMENT, name):
            download(remote, one, folder)
        text = read_document(folder).decode(errors="replace")
        Manifest(text, {name: part_entry(folder / name)}).write(folder)
        store = Store.open(folder)
        gone = store.forget(demonstrator)
        if gone:
            for part in store.parts():
                remote.copy(part)
            _relist(remote, name, store.manifest().parts)
            remote.remove(name)
    return gone


def _relist(remote: RemoteFolder, name: str, instead: Mapping[str, PartEntry]) -> None:
    """Put other parts in the place of one in every manifest there that lists it."""
    for other in sorted(filter(COPIED.fullmatch, remote.sizes())):
        with remote.open(other) as file:
            manifest = Manifest.decode(file.read(), Path(remote.url))
        if name in manifest.parts:
            remote.write(other, manifest.changed(instead, frozenset([name])).encode())


def download(remote: RemoteFolder, name: str, folder: Path) -> Path:
    """Copy a file from there into a folder here."""
    with remote.open(name) as file, (folder / name).open("wb") as copy:
        shutil.copyfileobj(file, copy, 1 << 20)
    return folder / name
