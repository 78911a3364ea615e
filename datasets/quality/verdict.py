"""Quality verdict on one demonstrator: findings from their episodes, each with its reason.

Covers: outcomes, lengths and timing of key presses, compared with the median person on the same tasks. Does
not cover: identity, bots that imitate human timing, and performance on other tasks. Every test uses the end
of a confidence interval that favors the person, so a few bad episodes do not exclude anyone.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from ...console.wording import counted
from ...errors import TutelageError
from ...intervals import wilson
from .demonstrator_stats import DemonstratorStats

FEW = 3
"""Up to this number of episodes, no requirement counts as missed."""

_CLEARLY = 0.8  # fraction of the median person's share; surely below it is a finding
_PRIOR_EPISODES = 4  # weight of the crowd's share in the prior, in episodes


@dataclass(frozen=True)
class QualityThresholds:
    """Requirements of a study, checked after `after` episodes."""

    after: int = 5
    success: float = 0.0
    gold: float = 0.0

    def __post_init__(self) -> None:
        for name in ("success", "gold"):
            if not 0 <= getattr(self, name) <= 1:
                raise TutelageError(f"expected {name} to be a share in [0, 1], got {getattr(self, name)!r}")
        if self.after < 1:
            raise TutelageError(f"expected a requirement after at least 1 episode, got {self.after!r}")


NOTHING_REQUIRED = QualityThresholds()


@dataclass(frozen=True)
class QualityFinding:
    """One sentence about a person, and whether it counts against them."""

    measure: str
    sentence: str
    against: bool = False


@dataclass(frozen=True)
class Verdict:
    """The judgment of one demonstrator.

    `score` in [0, 1] is the share of solved episodes (and of passed gold episodes), shrunk towards the median
    person's while there are few episodes; None where no episode's success is known. It is informative only:
    payment does not depend on it. `met` is whether the requirements are met, None until there are enough
    rated episodes. `findings` are all sentences, `reasons` those that count against the person.
    """

    person: str
    score: float | None
    met: bool | None
    findings: tuple[QualityFinding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(finding.sentence for finding in self.findings if finding.against)


def quality(stats: DemonstratorStats, required: QualityThresholds = NOTHING_REQUIRED) -> Verdict:
    """Judge a person by their statistics; a requirement is missed only when that is significant.

    That is: when, after `required.after` rated episodes, the upper end of Wilson's 95 % interval is below the
    required share.
    """
    shares = [
        (stats.successes, stats.rated, required.success, stats.usual.get("success")),
        (stats.gold_passed, stats.gold, required.gold, stats.usual.get("gold")),
    ]
    shares = [share for share in shares if share[1]]
    score = math.fsum(_posterior_mean(count, of, like) for count, of, _, like in shares) / max(1, len(shares))
    missed = [_surely_below(count, of, requirement) for count, of, requirement, _ in shares]
    findings = [finding for find in _FINDINGS if (finding := find(stats)) is not None]
    is_enough = stats.rated >= required.after
    if is_enough:
        short = zip(missed, shares, ("success", "gold"), strict=False)
        findings[:0] = [_missed_finding(name, *share[:3]) for miss, share, name in short if miss]
    met = not any(missed) if is_enough else None
    return Verdict(stats.person, score if shares else None, met, tuple(findings))


def _surely_below(count: float, of: int, share: float) -> bool:
    return of > FEW and wilson(min(count, of), of).high < share


def _find_success(stats: DemonstratorStats) -> QualityFinding | None:
    if not stats.rated:
        return None
    solved = f"solves {_percent(stats.successes / stats.rated)} ({stats.successes} of {stats.rated})"
    return _beside_median(
        "success", solved, "solves", stats.successes, stats.rated, stats.usual.get("success")
    )


def _find_gold(stats: DemonstratorStats) -> QualityFinding | None:
    if not stats.gold:
        return None
    share = _percent(stats.gold_passed / stats.gold)
    passed = f"passes {share} of gold episodes ({stats.gold_passed} of {stats.gold})"
    return _beside_median("gold", passed, "passes", stats.gold_passed, stats.gold, stats.usual.get("gold"))


def _beside_median(
    measure: str, sentence: str, verb: str, count: int, of: int, like: float | None
) -> QualityFinding:
    if like is None:
        return QualityFinding(measure, sentence)
    against = _surely_below(count, of, _CLEARLY * like)
    return QualityFinding(measure, f"{sentence} where the median person {verb} {_percent(like)}", against)


def _find_agreement(stats: DemonstratorStats) -> QualityFinding | None:
    if not stats.repeats:
        return None
    sentence = (
        f"ends as most others on {stats.agreed} of {counted(stats.repeats, 'seed')} that they played too"
    )
    return QualityFinding("agreement", sentence, _surely_below(stats.agreed, stats.repeats, 0.5))


def _find_length(stats: DemonstratorStats) -> QualityFinding | None:
    if "length" not in stats.own:
        return None
    sentence = f"needs {stats.own['length']:.1f} times the expert's steps"
    if (like := stats.usual.get("length")) is None:
        return QualityFinding("length", sentence)
    against = (stats.length_low or 0.0) > 1.5 * like
    return QualityFinding("length", f"{sentence} where the median person needs {like:.1f} times", against)


def _find_reaction(stats: DemonstratorStats) -> QualityFinding | None:
    if "reaction_ms" not in stats.own:
        return None
    sentence = f"answers a picture after {stats.own['reaction_ms']:,.0f} ms"
    if "reaction_ms" in stats.usual:
        sentence += f" where the median person takes {stats.usual['reaction_ms']:,.0f} ms"
    return QualityFinding("reaction", sentence)


def _find_fast(stats: DemonstratorStats) -> QualityFinding | None:
    return _share_finding(
        stats, "fast_share", "presses {} of the keys sooner than anyone can have seen the picture"
    )


def _find_idle(stats: DemonstratorStats) -> QualityFinding | None:
    return _share_finding(stats, "idle_share", "is idle {} of the time")


def _find_repeats(stats: DemonstratorStats) -> QualityFinding | None:
    return _share_finding(stats, "repeat_share", "does in {} of the steps what they did in the one before")


def _find_hidden(stats: DemonstratorStats) -> QualityFinding | None:
    return _share_finding(stats, "hidden_share", "had the page hidden {} of the time")


def _share_finding(stats: DemonstratorStats, measure: str, sentence: str) -> QualityFinding | None:
    """Report a share per episode; it counts against the person when it is surely above a threshold.

    The threshold is the larger of one half and halfway from the median person's share to 1. The interval
    counts episodes, not steps, since steps of one episode are correlated. With few episodes, no share is
    surely above one half.
    """
    share, like = stats.own.get(measure, 0.0), stats.usual.get(measure, 0.0)
    if not share:
        return None
    text = sentence.format(_percent(share))
    text += f" where the median person does so {_percent(like)}" if measure in stats.usual else ""
    return QualityFinding(
        measure, text, wilson(share * stats.episodes, stats.episodes).low > max(0.5, (1 + like) / 2)
    )


def _find_lag(stats: DemonstratorStats) -> QualityFinding | None:
    """Report the median latency of frames; it never counts against the person."""
    if "lag_ms" not in stats.own:
        return None
    return QualityFinding("lag", f"waits {stats.own['lag_ms']:,.0f} ms for a picture")


_FINDINGS: Sequence[Callable[[DemonstratorStats], QualityFinding | None]] = (
    *(_find_success, _find_gold, _find_length, _find_agreement, _find_reaction),
    *(_find_fast, _find_idle, _find_repeats, _find_hidden, _find_lag),
)


def _missed_finding(name: str, count: int, of: int, requirement: float) -> QualityFinding:
    noun = "episodes" if name == "success" else "gold episodes"
    return QualityFinding(
        name, f"{count} of {of} {noun} are surely less than the {_percent(requirement)} asked for", True
    )


def _posterior_mean(count: int, of: int, like: float | None) -> float:
    """Return the mean of a beta posterior whose prior mean is the median person's share."""
    return (count + _PRIOR_EPISODES * (0.5 if like is None else like)) / (of + _PRIOR_EPISODES)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
