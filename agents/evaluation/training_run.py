"""A whole training run: behavior cloning, checkpoint selection on select seeds, and self-imitation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from ...datasets.quality.weights import DemonstratorWeight
from ...datasets.store import Store
from ...datasets.suite_union import union
from ..training.behavior_cloning import train
from ..training.config import TrainConfig
from ..training.run_log import SelfImitationRound
from ..training.self_imitation import self_imitate
from .compare import select_success


def train_run(
    stores: Sequence[Store],
    out: Path,
    config: TrainConfig,
    *,
    resume: bool = False,
    progress: bool = False,
    tell_weights: Callable[[list[DemonstratorWeight]], None] | None = None,
    tell_round: Callable[[SelfImitationRound], None] | None = None,
    tell_failure: Callable[[str, str], None] | None = None,
) -> Path:
    """Train one policy on the stores, keep the best on select seeds, and let it imitate its own successes.

    `tell_weights` hears what each demonstrator's episodes weigh, `tell_round` what came of each round of
    self-imitation, `tell_failure` of (task, reason) where an environment failed. Returns `out/kept`. Raises
    what `behavior_cloning.train` and `self_imitation.self_imitate` raise.
    """

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
    has_rounds = (out / "kept").is_dir() and (out / "self-imitation").is_dir()
    if not (resume and config.self_imitation and has_rounds):
        train(stores, out, config, evaluate=evaluate, resume=resume, progress=progress, tell=tell_weights)
    if config.self_imitation:
        self_imitate(stores, out, config, evaluate=evaluate, progress=progress, tell=note_round)
    return out / "kept"
