"""The work of `tutelage train`, in this process or in one of those that `torchrun` started."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..console.terminal import SafeConsole
from ..errors import TutelageError
from .json_output import print_json

if TYPE_CHECKING:
    from ..agents.training.distributed import Processes
    from ..agents.training.run_log import SelfImitationRound
    from ..datasets.quality.weights import DemonstratorWeight

console = SafeConsole()
errors = SafeConsole(stderr=True, soft_wrap=True)


def train_stores(
    folders: Sequence[Path],
    out: Path,
    config: Path | None,
    flags: Mapping[str, Any],
    parent: Path | None,
    resume: bool,
    as_json: bool,
) -> list[str]:
    """Train one policy on stores, with the settings of the `flags` that are not None; return what failed.

    Of several processes, the first prints. PyTorch is imported once the settings are known to be right.
    """
    given = {name: value for name, value in flags.items() if value is not None}
    if "WORLD_SIZE" not in os.environ:
        return _train(folders, out, config, given, parent, resume, as_json)
    os.environ.setdefault("TORCH_CPP_LOG_LEVEL", "FATAL")  # what a lost connection means is told in one line
    from ..agents.training.distributed import joined

    with joined() as processes:
        return _train(folders, out, config, given, parent, resume, as_json, processes)


def _train(
    folders: Sequence[Path],
    out: Path,
    config: Path | None,
    given: Mapping[str, Any],
    parent: Path | None,
    resume: bool,
    as_json: bool,
    processes: Processes | None = None,
) -> list[str]:
    from ..agents.training.resuming import settings_for
    from ..datasets.store import Store
    from ..files.folder_kinds import RUN, expect_place

    expect_place(out, RUN)
    settings = settings_for(out, config, given, resume, _shape_of(parent))
    if parent is None and not resume:  # else the weights are those of a checkpoint
        from ..agents.policy.images.pretrained import expect_weights

        expect_weights(settings.features)
    stores = [Store.open(folder) for folder in folders]
    if not resume and any((out / name).exists() for name in ("state.safetensors", "kept")):
        raise TutelageError(
            f"expected no run in {out}, found one; go on with --resume or name another folder"
        )
    from ..agents.evaluation.training_run import train_run
    from ..agents.policy.checkpoint import kept_facts
    from ..agents.training.distributed import ALONE
    from ..datasets.quality.weights import table

    processes = processes or ALONE
    failed: dict[str, str] = {}
    shown = errors if as_json else console
    document: dict[str, Any] = {"run": out, "kept": out / "kept", "demonstrators": [], "rounds": []}

    def tell_weights(weights: list[DemonstratorWeight]) -> None:
        document["demonstrators"] = [weight.to_dict() for weight in weights]
        shown.print(table(weights))

    def tell_round(result: SelfImitationRound) -> None:
        document["rounds"].append(dataclasses.asdict(result))
        shown.print(str(result))

    def note_failure(task: str, reason: str) -> None:
        failed.setdefault(task, reason)

    processes.wait()  # until all have looked at the run's folder, where the first writes from now on
    train_run(
        stores,
        out,
        settings,
        parent=parent,
        resume=resume,
        progress=True,
        tell_weights=tell_weights,
        tell_round=tell_round,
        tell_failure=note_failure,
        processes=processes,
    )
    if not processes.is_first:
        return []
    failures = [f"task {task!r}: failed: {why}" for task, why in failed.items()]
    if as_json:
        print_json("train", {**document, **kept_facts(out / "kept"), "failures": failures})
    else:
        console.print(f"kept policy: {out / 'kept'}")
    return failures


def _shape_of(parent: Path | None) -> dict[str, Any]:
    """Return the size, window, features and chunks that a run takes from its parent."""
    if parent is None:
        return {}
    from ..agents.evaluation.compare import checkpoint_of
    from ..agents.policy.checkpoint import shape_of

    return shape_of(checkpoint_of(parent))
