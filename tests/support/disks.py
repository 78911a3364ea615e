"""Disks for tests: small, full and read-only ones, and limits on files where nothing can be mounted."""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

SERVER_DISK = 16 << 10
"""Kilobytes in which a server of a small study runs until the disk is filled."""


@contextmanager
def plain(folder: Path) -> Iterator[Path]:
    """Make a folder on the disk that is there."""
    folder.mkdir()
    yield folder


@contextmanager
def small_disk(folder: Path, kilobytes: int = 256, *, in_use: bool = False) -> Iterator[Path]:
    """Mount a small disk in memory; skip where the right to mount is missing.

    Unmounting fails while a process has a file open there, unless the disk may still be `in_use`.
    """
    options = ["-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs"]
    with _mounted(folder, options, "a limit on files", in_use):
        yield folder


@contextmanager
def read_only(source: Path, folder: Path) -> Iterator[Path]:
    """Show a folder a second time, on a file system that is read-only; skip without the right to mount."""
    with _mounted(folder, ["--bind", str(source)], "another user"):
        subprocess.run(["mount", "-o", "remount,ro,bind", str(folder)], check=True)
        yield folder


@contextmanager
def _mounted(folder: Path, options: list[str], otherwise: str, in_use: bool = False) -> Iterator[None]:
    folder.mkdir()
    mount = ["mount", *options, str(folder)]
    if not shutil.which("mount") or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip(f"needs the right to mount; the same is tested with {otherwise}")
    try:
        yield
    finally:
        subprocess.run(["umount", *(["-l"] if in_use else []), str(folder)], check=True)


def fill(path: Path) -> None:
    """Let a file take all that is left of a disk."""
    full = pytest.raises(OSError, match=os.strerror(errno.ENOSPC))
    with path.open("ab", buffering=0) as file, full:
        while True:
            file.write(bytes(4096))


class SmallDisk:
    """A mounted disk that a file fills, and that is free again without it, as a server's faults take it."""

    def __init__(self, folder: Path) -> None:
        self._filler = folder / "filler"

    def fill(self, _: object) -> None:
        fill(self._filler)

    def free(self, _: object) -> None:
        self._filler.unlink()
