"""The person's own folders: private, made once, and the same key for every process."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from tutelage.errors import TutelageError
from tutelage.files.state_folder import cache_folder, state_folder, state_key


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for variable in ("TUTELAGE_STATE", "TUTELAGE_CACHE", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    return tmp_path


def test_the_folders_are_where_the_standard_puts_them(home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert state_folder() == home / ".local" / "state" / "tutelage"
    assert cache_folder() == home / ".cache" / "tutelage"
    monkeypatch.setenv("XDG_STATE_HOME", str(home / "elsewhere"))
    assert state_folder() == home / "elsewhere" / "tutelage"
    monkeypatch.setenv("XDG_STATE_HOME", "relative")
    assert state_folder() == home / ".local" / "state" / "tutelage"
    monkeypatch.setenv("TUTELAGE_STATE", str(home / "mine"))
    assert state_folder() == home / "mine"
    assert stat.S_IMODE(state_folder().stat().st_mode) == 0o700


def test_the_key_stays_is_private_and_differs_by_purpose(home: Path) -> None:
    with ThreadPoolExecutor(8) as threads:
        keys = set(threads.map(state_key, ["cache"] * 32))
    assert len(keys) == 1
    assert state_key("exports") not in keys
    (file,) = state_folder().iterdir()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    file.unlink()
    assert state_key("cache") not in keys


@pytest.mark.parametrize(
    "spoil",
    [
        lambda file: file.write_bytes(b"short"),
        lambda file: file.chmod(0o644),
        lambda file: os.chown(file, 65534, 65534) if os.geteuid() == 0 else file.chmod(0o604),
        lambda file: file.parent.chmod(0o777),
    ],
    ids=["length", "readable", "owner", "folder"],
)
def test_a_key_that_others_may_have_made_is_refused(spoil: object) -> None:
    state_key("cache")
    (file,) = state_folder().iterdir()
    spoil(file)  # type: ignore[operator]
    with pytest.raises(TutelageError, match="expected"):
        state_key("cache")
