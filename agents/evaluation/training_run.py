"""A whole training run: behavior cloning, checkpoint selection on select seeds, and self-imitation."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

from ...datasets.quality.weights import DemonstratorWeight
from ...datasets.store import Store
from ...datasets.suite_union import union
from ...errors import TutelageError
from ...files.safe_tree import refuse_link
from ..policy.checkpoint import LoadedPolicy, copy, load
from ..policy.fine_tuning import expect_same_shape
from ..training.behavior_cloning import train
from ..training.config import TrainConfig
from ..training.distributed import ALONE, Processes
from ..training.resuming import CONFIG
from ..training.run_log import SelfImitationRound
from ..training.self_imitation import self_imitate
from .compare import checkpoint_of, select_success

PARENT = "parent"
"""The copy of the checkpoint that a run started from."""


def train_run(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    parent: Path | None = None,
    resume: bool = False,
    progress: bool = False,
    tell_weights: Callable[[list[DemonstratorWeight]], None] | None = None,
    tell_round: Callable[[SelfImitationRound], None] | None = None,
    tell_failure: Callable[[str, str], None] | None = None,
    processes: Processes = ALONE,
) -> Path:
    """Train one policy on the stores, keep the best on select seeds, and let it imitate its own successes.

    Weights start from those of `parent`, a run or checkpoint, if given; a copy of it is kept in the run, from
    which it is resumed. `tell_weights` hears what each demonstrator's episodes weigh, `tell_round` what came
    of each round of self-imitation, `tell_failure` of (task, reason) where an environment failed. Returns
    `out/kept`. Each of several `processes` calls this; self-imitation needs a run of one, which may resume
    theirs. Raises what `behavior_cloning.train` and `self_imitation.self_imitate` raise.
    """
    if config.self_imitation and processes.count > 1:
        raise TutelageError(
            f"expected one process for --self-imitation, got {processes.count}; train with "
            "--self-imitation 0, then --resume with one process"
        )

    def note_failure(task: str, reason: str) -> None:
        if tell_failure is not None:
            tell_failure(task, reason)

    def note_round(result: SelfImitationRound) -> None:
        if tell_round is not None:
            tell_round(result)
        for task, reason in result.failed.items():
            note_failure(task, reason)

    evaluate = select_success(
        union(stores), episodes=config.select_episodes, workers=config.workers, tell=note_failure
    )
    with processes.first_alone():
        # the first process copies it into the run, where the others find it
        loaded = (
            _parent(parent, out, config, resume) if processes.is_first else _copied_parent(out, config.device)
        )
    has_rounds = (out / "kept").is_dir() and (out / "self-imitation").is_dir()
    if not (resume and config.self_imitation and has_rounds):
        try:
            train(
                stores,
                out,
                config,
                evaluate=evaluate,
                resume=resume,
                progress=progress,
                tell=tell_weights,
                parent=loaded,
                processes=processes,
            )
        except TutelageError:
            if loaded and not resume and processes.is_first and not (out / CONFIG).exists():
                _forget_parent(out)  # which was refused
            raise
    if config.self_imitation:
        self_imitate(stores, out, config, evaluate=evaluate, progress=progress, tell=note_round)
    return out / "kept"


def _parent(source: Path | None, out: Path, config: TrainConfig, resume: bool) -> LoadedPolicy | None:
    """Return the policy that a run starts from: `source`, which is copied into the run; later, that copy."""
    copied = out / PARENT
    refuse_link(copied)
    if resume:
        loaded = _copied_parent(out, config.device)
        if source is not None and (loaded is None or load(checkpoint_of(source)).seal != loaded.seal):
            raise TutelageError(
                f"expected the parent that {out} was begun with, got another ({source}); resume without "
                "--from, or train anew in another folder"
            )
        return loaded
    if source is None:
        if copied.is_dir():
            raise TutelageError(
                f"expected no parent in {out} without --from, found one of a run that has not begun; "
                "go on with --resume, give --from again, or name another folder"
            )
        for name, unset, done in (("freeze", "nothing", "frozen"), ("adapters", 0, "adapted")):
            if (value := getattr(config, name)) != unset:
                raise TutelageError(
                    f"expected --from RUN with --{name} {value}, got none: nothing is trained yet "
                    f"that could be {done}"
                )
        return None
    loaded = load(checkpoint_of(source), config.device)
    expect_same_shape(loaded.policy.config, config)  # before anything is written
    copy(checkpoint_of(source), copied)
    return loaded


def _forget_parent(out: Path) -> None:
    """Remove the copy of a parent from a run that has not begun, and the run's folder if nothing is left."""
    shutil.rmtree(out / PARENT)
    with contextlib.suppress(OSError):
        out.rmdir()


def _copied_parent(out: Path, device: str) -> LoadedPolicy | None:
    """Return the parent that a run has a copy of; None if it started from none."""
    refuse_link(out / PARENT)
    return load(out / PARENT, device) if (out / PARENT).is_dir() else None
