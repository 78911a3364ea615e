"""How much memory this process may use: of the machine, of its control groups, and by its own limits."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

_CGROUPS, _MEMBERSHIP = Path("/sys/fs/cgroup"), Path("/proc/self/cgroup")


def process_bytes() -> int:
    """Return the bytes of memory that this process may use at most.

    Covers: the machine's memory and the limits of control groups, divided among the processes of one run
    that `torchrun` has started here; limits on this process's data and address space. Does not cover:
    what other programs use.
    """
    shared = min([_machine_bytes(), *group_limits()])
    sharing = os.environ.get("LOCAL_WORLD_SIZE", "")
    return min([shared // max(1, int(sharing) if sharing.isdecimal() else 1), *_own_limits()])


def group_limits(groups: Path = _CGROUPS, membership: Path = _MEMBERSHIP) -> list[int]:
    """Return the limits on memory of the control groups that this process belongs to, in bytes."""
    files: list[Path] = []
    with contextlib.suppress(OSError):
        for line in membership.read_text().splitlines():
            _, controllers, path = line.split(":", 2)
            if controllers == "":
                folder = groups / path.lstrip("/")
                above = [place for place in folder.parents if place.is_relative_to(groups)]
                files += [place / "memory.max" for place in (folder, *above)]
            elif "memory" in controllers.split(","):
                folder = groups / "memory" / path.lstrip("/")
                files += [folder / "memory.limit_in_bytes", groups / "memory" / "memory.limit_in_bytes"]
    limits = []
    for file in files:
        with contextlib.suppress(OSError, ValueError):  # "max" is no limit
            limits.append(int(file.read_text()))
    return limits


def _machine_bytes() -> int:
    if hasattr(os, "sysconf") and {"SC_PAGE_SIZE", "SC_PHYS_PAGES"} <= os.sysconf_names.keys():
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return 1 << 62


def _own_limits() -> list[int]:
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        limits = [resource.getrlimit(kind)[0] for kind in (resource.RLIMIT_DATA, resource.RLIMIT_AS)]
        return [limit for limit in limits if limit != resource.RLIM_INFINITY]
    return []
