"""Repair of a store: files first, then the journal's episodes, then a check of the result."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from ...console.wording import counted
from ...datasets.editing.edit_log import deleted_episodes
from ...datasets.maintenance.repair import StoreProblem, carry_out, plan_repair
from ...datasets.maintenance.store_copies import StoreCopy
from ...datasets.store import Store
from ...errors import TutelageError
from .journal_records import JOURNAL

if TYPE_CHECKING:
    from .journal import Journal


@dataclass
class RepairResult:
    """What was wrong, how many episodes were `restored` from the journal, and what could not be repaired.

    `lost` counts the episodes of parts that no copy has, `unrestored` names those of the journal that do not
    replay; `problems` is what is still wrong, empty when the store is sound.
    """

    findings: list[StoreProblem] = field(default_factory=list)
    lost: int = 0
    restored: int = 0
    unrestored: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    def lines(self) -> list[str]:
        """Summarize the result in a few sentences."""
        lines = [f"brought back from the journal: {counted(self.restored, 'episode')}"] * bool(self.restored)
        if self.lost:
            lines.append(
                f"in parts that are lost: {counted(self.lost, 'episode')}; "
                "what the journal does not have of them, a copy may: name it with --from"
            )
        lines += [f"not restored: {reason}" for reason in self.unrestored]
        lines += self.problems or ["the store is sound"]
        return lines


def mend(
    folder: Path,
    copies: Sequence[str] = (),
    journal: str = "",
    *,
    dry_run: bool = False,
    tell: Callable[[str], None] = lambda _: None,
    progress: Callable[[int], None] = lambda _: None,
) -> RepairResult:
    """Repair a store from copies (folders or URLs) and its journal; `tell` receives the whole plan first.

    With `dry_run` only the plan is made, and `problems` are the findings. Raises TutelageError when the suite
    is lost, when the journal is in use, and when a place cannot be read.
    """
    sources = [StoreCopy(place) for place in copies]
    plan = plan_repair(folder, sources)
    result = RepairResult(list(plan.findings), lost=sum(finding.lost for finding in plan.findings))
    with _opened_journal(folder, journal, dry_run) as opened:
        records = []
        if opened is not None:
            from .restoring import restorable

            stored_ids = plan.ids | deleted_episodes(folder, plan.manifest)
            records = restorable(opened, folder, plan.suite, stored_ids)
        if records:
            problem = f"not in the store: {counted(len(records), 'demonstration')} of the journal"
            result.findings.append(StoreProblem(problem, "they are played again and brought back"))
        for finding in result.findings:
            tell(f"{finding.problem}: {finding.remedy}")
        if dry_run:
            result.problems = [finding.problem for finding in result.findings]
            return result
        if plan.findings:
            carry_out(plan, sources)
        if opened is not None and records:
            from .restoring import restore

            result.restored = restore(opened, Store.open(folder), records, result.unrestored.append, progress)
    result.problems = _remaining_problems(folder)
    return result


@contextmanager
def _opened_journal(folder: Path, journal: str, unchanged: bool) -> Iterator[Journal | None]:
    """Open the journal; None where there is none: a store without one is mended without SQLAlchemy."""
    if not journal and not (folder / JOURNAL).is_file():
        yield None
        return
    from .database import database_errors
    from .restoring import open_journal

    with database_errors(), open_journal(folder, journal, unchanged=unchanged) as opened:
        yield opened


def _remaining_problems(folder: Path) -> list[str]:
    """Say what is wrong with a store as far as reading it shows."""
    try:
        Store.open(folder).part_hashes()
    except TutelageError as error:
        return [str(error)]
    return []
