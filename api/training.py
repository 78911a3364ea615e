"""Train a policy from a program: one call, whose result is the run."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..datasets.store import Store
from ..errors import TutelageError
from ..files.folder_kinds import RUN, expect_place
from .policies import Run

StoreSource = Store | str | Path
"""A store, or the path of one."""


def train(
    stores: StoreSource | Sequence[StoreSource],
    out: str | Path,
    *,
    parent: Run | str | Path | None = None,
    resume: bool = False,
    progress: bool = False,
    workers: int = 1,
    **config: Any,
) -> Run:
    """Train one policy on everything in the stores that was recorded on record seeds; return the run.

    Keywords are the fields of `TrainConfig` (`steps`, `size`, `learning_rate`, ...: `tutelage train --help`
    lists them). Weights start from those of `parent`, a run or checkpoint, if given; it keeps its tasks.
    Checkpoints are chosen on select seeds. The run is written to the folder `out`; `resume`
    goes on where one that is there stopped. A program that `torchrun` started in several processes trains
    with all of them: each must make the same call. More than one of `workers` starts processes: call it under
    `if __name__ == "__main__":`. Raises TutelageError for a setting that is none or cannot work, and where
    there is nothing to learn from.
    """
    from ..agents.evaluation.compare import checkpoint_of
    from ..agents.evaluation.training_run import train_run
    from ..agents.policy.checkpoint import shape_of
    from ..agents.training.distributed import joined
    from ..agents.training.resuming import settings_for

    out = Path(out)
    with joined() as processes:
        expect_place(out, RUN)
        if not resume and any((out / name).exists() for name in ("state.safetensors", "kept")):
            raise TutelageError(
                f"expected no run in {out}, found one; pass resume=True or name another folder"
            )
        before = parent.path if isinstance(parent, Run) else None if parent is None else Path(parent)
        shape = shape_of(checkpoint_of(before)) if before is not None else {}
        settings = settings_for(out, None, {"workers": workers, **config}, resume, shape)
        opened = open_stores(stores)
        processes.wait()  # until all have looked at the run's folder
        train_run(opened, out, settings, parent=before, resume=resume, progress=progress, processes=processes)
    return Run(out)


def open_stores(stores: StoreSource | Sequence[StoreSource]) -> list[Store]:
    """Return the stores that one or several sources stand for."""
    listed = [stores] if isinstance(stores, Store | str | Path) else list(stores)
    return [source if isinstance(source, Store) else Store.open(source) for source in listed]
