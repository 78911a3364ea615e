"""What the person at the keyboard trusts: folders by their real paths, modules by their packages."""

from __future__ import annotations

from pathlib import Path

import pytest
from tutelage.foreign_code.trust import VARIABLE, trust, trusted_names, trusts_module, trusts_path, untrusted


@pytest.fixture(autouse=True)
def nothing_trusted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VARIABLE, "")


def test_nothing_is_trusted_until_it_is_named(tmp_path: Path) -> None:
    assert not trusts_path(tmp_path)
    assert not trusts_module("json")
    trust([])
    assert trusted_names() == []


def test_a_folder_is_trusted_with_all_that_lies_in_it_and_nothing_beside_it(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    trust([tmp_path / "mine"])
    assert trusts_path(tmp_path / "mine" / "deep" / "page.html")
    assert not trusts_path(tmp_path / "mine too" / "page.html")
    assert not trusts_path(tmp_path)
    assert not trusts_path(tmp_path / "mine" / ".." / "other.html")


def test_a_link_out_of_a_trusted_folder_is_not_trusted(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "secret.html").touch()
    (tmp_path / "mine" / "page.html").symlink_to(tmp_path / "secret.html")
    trust([tmp_path / "mine"])
    assert not trusts_path(tmp_path / "mine" / "page.html")


def test_a_module_is_trusted_with_what_lies_in_it() -> None:
    trust(["robots"])
    assert trusts_module("robots.arms")
    assert not trusts_module("robots_of_others")


def test_what_is_not_trusted_is_told_with_the_flag_that_trusts_it() -> None:
    line = str(untrusted("import robots", "robots", "task 'lift'"))
    assert line.startswith("task 'lift': expected")
    assert "--trust robots" in line
