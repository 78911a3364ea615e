"""The memory of a process is the least of the machine's, its control groups' and its own limits."""

from __future__ import annotations

import os
import resource
from pathlib import Path

import pytest
from tutelage.files.memory_limits import group_limits, process_bytes


@pytest.mark.parametrize(
    ("membership", "files", "limits"),
    [
        ("0::/a/b", {"a/b/memory.max": "max", "a/memory.max": "1000"}, [1000]),
        ("0::/a/b", {"a/b/memory.max": "10", "a/memory.max": "1000"}, [10, 1000]),
        ("9:cpu,memory:/a", {"memory/a/memory.limit_in_bytes": "10"}, [10]),
        ("9:cpu:/a", {"memory/a/memory.limit_in_bytes": "10"}, []),
        ("0::/", {}, []),
    ],
)
def test_limits_of_control_groups(
    tmp_path: Path, membership: str, files: dict[str, str], limits: list[int]
) -> None:
    (tmp_path / "membership").write_text(membership + "\n")
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert group_limits(tmp_path, tmp_path / "membership") == limits


def test_without_control_groups_there_is_no_limit(tmp_path: Path) -> None:
    assert group_limits(tmp_path, tmp_path / "missing") == []


def test_processes_of_one_run_share_the_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    whole = process_bytes()
    assert 0 < whole <= os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    assert process_bytes() <= whole
    assert abs(process_bytes() - whole // 4) <= 1 or resource.getrlimit(resource.RLIMIT_DATA)[0] >= 0
