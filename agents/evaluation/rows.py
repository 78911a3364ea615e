"""One row an episode, the same columns for a policy, an expert, chance and people."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.parquet as pq

from ...datasets.trajectory import Trajectory
from ...envs.errors import TutelageError
from ...envs.task import TEST

if TYPE_CHECKING:
    from ...datasets.store import Store

SCHEMA = pa.schema(
    [
        ("suite", pa.string()),
        ("task", pa.string()),
        ("actor", pa.string()),
        ("kind", pa.string()),
        ("demonstrator", pa.string()),
        ("seed", pa.int64()),
        ("success", pa.bool_()),
        ("return", pa.float64()),
        ("steps", pa.int64()),
        ("seconds", pa.float64()),
        ("episode", pa.string()),
    ]
)
_TOGETHER = {"person": "people", "simulated": "simulated crowd"}


def rows_from(trajectories: Iterable[Trajectory], actor: str | None = None) -> pa.Table:
    """Turn trajectories into rows of SCHEMA.

    `actor` names them all; without it people become "people", simulated demonstrators "simulated crowd",
    and everyone else goes by the name they played under. `seconds` is the time to the last action.
    """
    rows = [
        {
            "suite": one.suite,
            "task": one.task,
            "actor": actor or _TOGETHER.get(one.kind, one.demonstrator),
            "kind": one.kind,
            "demonstrator": one.demonstrator,
            "seed": one.seed,
            "success": one.success,
            "return": one.total,
            "steps": len(one),
            "seconds": one.seconds,
            "episode": one.episode,
        }
        for one in trajectories
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def people_episodes(stores: Sequence[Store], tasks: Iterable[str] | None = None) -> list[Trajectory]:
    """Read what counts as people's evaluation: their demonstrations on test seeds, from any stores.

    What people do on record seeds is training data and never enters a comparison.
    """
    wanted = None if tasks is None else set(tasks)
    return [
        one
        for store in stores
        for one in store.trajectories(kinds=["person"], seeds=TEST)
        if wanted is None or one.task in wanted
    ]


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables of rows under each other; an episode that occurs twice is kept once."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables])
    seen: set[str] = set()
    keep = [not (one in seen or seen.add(one)) for one in whole["episode"].to_pylist()]  # type: ignore[func-returns-value]
    return whole.filter(pa.array(keep, pa.bool_()))


def write_rows(path: Path, rows: pa.Table) -> Path:
    """Write rows as one Parquet file that any reader opens."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(rows, path, compression="zstd")
    return path


def read_rows(path: Path) -> pa.Table:
    """Read rows back; raises TutelageError when the file is missing or has other columns."""
    if not path.is_file():
        raise TutelageError(f"expected rows at {path}, found none; run `tutelage evaluate` first")
    try:
        table = pq.read_table(path)
    except (pa.ArrowInvalid, OSError) as error:
        raise TutelageError(f"expected a Parquet file at {path}, got a damaged one: {error}") from None
    missing = [name for name in SCHEMA.names if name not in table.column_names]
    if missing:
        raise TutelageError(f"expected columns {', '.join(SCHEMA.names)} in {path}, missing {missing[0]!r}")
    return table.select(SCHEMA.names).cast(SCHEMA)
