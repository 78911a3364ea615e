"""What every benchmark says at its end: a line a figure, then one JSON object."""

from __future__ import annotations

import json
import platform
import subprocess
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch


def figure(
    value: float,
    unit: str,
    beside: str | None = None,
    ratio: float | None = None,
    budget: float | None = None,
) -> dict[str, Any]:
    """Make one figure; `ratio` is to what stands `beside` it, `budget` the least that ratio should be."""
    return {"value": value, "unit": unit, "beside": beside, "ratio": ratio, "budget": budget}


def tell(
    benchmark: str, figures: Mapping[str, Mapping[str, Any]], packages: Sequence[str], out: Path | None
) -> None:
    """Print every figure, then the whole as one line of JSON; keep that in `out` too, if given."""
    document = {
        "benchmark": benchmark,
        "figures": figures,
        "versions": {name: version(name) for name in packages}
        | {"python": platform.python_version(), "threads": torch.get_num_threads()},
        "commit": _commit(),
    }
    for name, one in figures.items():
        beside = f"   beside {one['beside']}: {one['ratio']:.2f}x" if one["ratio"] else ""
        print(f"{name:>38} {one['value']:>14,.2f} {one['unit']}{beside}")
    if out:
        out.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    print(json.dumps(document))


def _commit() -> str:
    here = Path(__file__).parent
    done = subprocess.run(["git", "rev-parse", "HEAD"], cwd=here, capture_output=True, text=True, check=False)
    return done.stdout.strip()
