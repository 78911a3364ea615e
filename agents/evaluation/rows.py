"""One row an episode, the same columns for a policy, an expert, random actions and people."""

from __future__ import annotations

import hashlib
import io
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from ...console.wording import counted
from ...datasets.parquet.bounded_parquet import BoundedParquet
from ...datasets.trajectory import KINDS, Trajectory
from ...errors import TutelageError
from ...files.atomic_files import disk_errors, write_whole
from ...files.bounded_files import Limits, read_bytes, too_large

if TYPE_CHECKING:
    from ...datasets.parquet.bounded_parquet import BoundedParquet

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
        ("failed", pa.string()),
    ]
)
"""One row an episode. One that could not be played has a row too: `failed` says why ("" elsewhere), and its
outcome is null."""
OUTCOME = ("success", "return", "steps", "seconds")

MOST_ROWS, LONGEST_TEXT = 5_000_000, 1024
"""What a file of rows may hold; `--limits` multiplies the rows."""

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
            "actor": actor or actor_of(one),
            "kind": one.kind,
            "demonstrator": one.demonstrator,
            "seed": one.seed,
            "success": one.success,
            "return": one.total,
            "steps": len(one),
            "seconds": one.seconds,
            "episode": one.episode,
            "failed": "",
        }
        for one in trajectories
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def actor_of(episode: Trajectory) -> str:
    """Return the name that an episode's actor has in tables."""
    return _TOGETHER.get(episode.kind, episode.demonstrator)


def failed_rows(suite: str, task: str, actor: str, kind: str, failures: Mapping[int, str]) -> pa.Table:
    """Return a row for each seed that an actor could not play; `failures` maps seed → why."""
    same = {"suite": suite, "task": task, "actor": actor, "kind": kind, "demonstrator": actor}
    rows = [
        same | {"seed": seed, "episode": "", "failed": why[:LONGEST_TEXT]} for seed, why in failures.items()
    ]
    return pa.Table.from_pylist(rows, SCHEMA)


def failures_of(rows: pa.Table) -> dict[tuple[str, str], str]:
    """Return (task, actor) → what happened, and to how many episodes, where some could not be played."""
    counts: Counter[tuple[str, str]] = Counter()
    reasons: dict[tuple[str, str], list[str]] = {}
    for task, actor, why in zip(
        *(rows[name].to_pylist() for name in ("task", "actor", "failed")), strict=True
    ):
        counts[task, actor] += 1
        if why:
            reasons.setdefault((task, actor), []).append(why)
    return {
        pair: whys[0]
        if len(whys) == counts[pair]
        else f"{len(whys)} of {counted(counts[pair], 'episode')}: {whys[0]}"
        for pair, whys in reasons.items()
    }


def joined(tables: Iterable[pa.Table]) -> pa.Table:
    """Put tables of rows under each other; an episode that occurs twice is kept once."""
    whole = pa.concat_tables([SCHEMA.empty_table(), *tables])
    seen: set[str] = set()
    keep = [
        not episode or not (episode in seen or seen.add(episode))  # type: ignore[func-returns-value]
        for episode in whole["episode"].to_pylist()
    ]
    return whole.filter(pa.array(keep, pa.bool_()))


def write_rows(path: Path, rows: pa.Table) -> Path:
    """Write rows as one Parquet file that any reader opens; raises TutelageError for a full disk."""
    buffer = pa.BufferOutputStream()
    pq.write_table(rows, buffer, compression="zstd")
    with disk_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        write_whole(path, buffer.getvalue().to_pybytes())
    return path


def read_rows(path: Path, sha256: str | None = None) -> pa.Table:
    """Read rows back; those of an evaluation are read by `read_evaluation`, which knows their `sha256`.

    Raises TutelageError when the file is missing, has other bytes, or anything in it is not as `rows_from`
    makes it.
    """
    try:
        data = read_bytes(path)
    except FileNotFoundError:
        raise TutelageError(f"expected rows at {path}, found none; run `tutelage evaluate` first") from None
    if sha256 is not None and hashlib.sha256(data).hexdigest() != sha256:
        raise TutelageError(
            f"expected {path} as it was written, got other bytes (its SHA-256 differs); "
            f"copy it again, or run `tutelage evaluate` again"
        )
    try:
        table = _table(data, path)
    except (pa.ArrowException, OSError, ValueError) as error:
        if isinstance(error, TutelageError):
            raise
        first = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise TutelageError(f"expected rows of episodes in {path}, got a damaged file: {first}") from None
    _expect_rows(table, path)
    return table


def _table(data: bytes, path: Path) -> pa.Table:
    BoundedParquet(io.BytesIO(data), str(path)).check()
    file = pq.ParquetFile(pa.BufferReader(data))
    groups = [file.metadata.row_group(at) for at in range(file.metadata.num_row_groups)]
    most = Limits.current()
    if sum(group.total_byte_size for group in groups) > most.expanded_bytes:
        raise too_large(path, "bytes", most.expanded_bytes)
    if file.metadata.num_rows > MOST_ROWS * most.nodes // Limits.nodes:
        raise too_large(path, "rows", MOST_ROWS)
    missing = [name for name in SCHEMA.names if name not in file.schema_arrow.names]
    if missing:
        raise TutelageError(f"expected columns {', '.join(SCHEMA.names)} in {path}, missing {missing[0]!r}")
    texts = [field.name for field in SCHEMA if field.type == pa.string()]
    # as dictionaries: a text that is repeated a million times is held once, and measured before it is copied
    read = pq.read_table(pa.BufferReader(data), columns=SCHEMA.names, read_dictionary=texts)
    for name in texts:
        longest = max((len(value or "") for value in read[name].unique().to_pylist()), default=0)
        if longest > LONGEST_TEXT:
            raise too_large(path, f"letters in {name}", LONGEST_TEXT)
    return read.cast(SCHEMA)


def _expect_rows(table: pa.Table, path: Path) -> None:
    """Raise TutelageError for a row that no episode gives."""
    played = table.filter(pc.equal(table["failed"], ""))
    for name in SCHEMA.names:
        if name == "success":
            continue
        if (played if name in OUTCOME else table)[name].null_count:
            raise TutelageError(f"expected a value in every row of {path}, got none in column {name!r}")
    # none is known of a task without a rule: there, of no episode
    counts = played.group_by("task").aggregate([("success", "count"), ("seed", "count")])
    rated, count = counts["success_count"].to_numpy(), counts["seed_count"].to_numpy()
    if ((rated > 0) & (rated < count)).any():
        raise TutelageError(
            f"expected a value in every row of a task in {path}, got none in column 'success'"
        )
    kinds = set(table["kind"].unique().to_pylist()) - set(KINDS)
    if kinds:
        raise TutelageError(f"expected kinds {', '.join(KINDS)} in {path}, got {min(kinds)!r}")
    steps, seconds = played["steps"].to_numpy(), played["seconds"].to_numpy()
    if (steps < 1).any() or not np.isfinite(seconds).all() or (seconds < 0).any():
        raise TutelageError(f"expected steps and seconds of episodes in {path}, got others")
