"""The user's own folders outside every store: state with a secret key, and a cache that may be deleted.

Covers: other users of the machine can neither read nor plant the key. Does not cover: programs that run as
the same user.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import stat
from pathlib import Path

from ..errors import TutelageError
from .atomic_files import disk_errors, write_private

STATE_VARIABLE = "TUTELAGE_STATE"
"""Environment variable with the path of the state folder, instead of the one below the home folder."""
CACHE_VARIABLE = "TUTELAGE_CACHE"
"""Environment variable with the path of the cache folder."""
_KEY_FILE = "state.key"
_KEY_BYTES = 32


def state_folder() -> Path:
    """Return the user's state folder, created with mode 0700 if absent.

    `$TUTELAGE_STATE`, else `$XDG_STATE_HOME/tutelage`, else `~/.local/state/tutelage`. Raises TutelageError
    if it cannot be created or belongs to another user.
    """
    return _private_folder(_folder_path(STATE_VARIABLE, "XDG_STATE_HOME", (".local", "state")))


def cache_folder() -> Path:
    """Return the user's cache folder, created with mode 0700 if absent.

    `$TUTELAGE_CACHE`, else `$XDG_CACHE_HOME/tutelage`, else `~/.cache/tutelage`. Errors as `state_folder`.
    """
    return _private_folder(_folder_path(CACHE_VARIABLE, "XDG_CACHE_HOME", (".cache",)))


def state_key(purpose: str) -> bytes:
    """Return 32 secret bytes for one purpose, the same at every call by this user on this machine.

    They are derived from one random secret, in a file of mode 0600 that the first call creates. Raises
    TutelageError if that file cannot be created or read, or others can read it.
    """
    path = state_folder() / _KEY_FILE
    with disk_errors(path.parent):
        if not path.exists():
            write_private(path, secrets.token_bytes(_KEY_BYTES))
        status = path.stat()
        secret = path.read_bytes()
    if not stat.S_ISREG(status.st_mode) or len(secret) != _KEY_BYTES:
        raise TutelageError(f"expected {_KEY_BYTES} bytes in {path}, got something else; remove that file")
    if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & 0o077):
        raise TutelageError(f"expected {path} to be yours alone (mode 0600), it is not; remove that file")
    return hashlib.blake2b(purpose.encode(), key=secret, digest_size=32, person=b"tutelage.state").digest()


def _folder_path(variable: str, standard: str, below_home: tuple[str, ...]) -> Path:
    if named := os.environ.get(variable):
        return Path(named).absolute()
    parent = os.environ.get(standard, "")
    if os.path.isabs(parent):  # the XDG standard: a relative path is ignored
        return Path(parent) / "tutelage"
    try:
        return Path.home().joinpath(*below_home, "tutelage")
    except RuntimeError:
        raise TutelageError(f"expected a home folder, found none; set {variable} to a folder") from None


def _private_folder(path: Path) -> Path:
    with disk_errors(path):
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        status = path.stat()
    if os.name != "nt" and (status.st_uid != os.geteuid() or status.st_mode & 0o022):
        raise TutelageError(f"expected {path} to be a folder that you alone can write to, it is not")
    return path
