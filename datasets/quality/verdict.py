"""What speaks for and against one demonstrator: evidence from their episodes, and a verdict with its reasons.

What is covered: what came of their episodes, how long these took, how keys came, all beside what the median
person does on the same tasks. What is not: whether they are who they say, whether a machine plays for them
that waits as people wait, and what they would do on other tasks. Whatever has a say in a verdict is judged by
the end of an interval that is kinder to the person, so a few bad episodes condemn nobody.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import NormalDist

from ...console.wording import counted
from ...errors import TutelageError
from .demonstrator_stats import DemonstratorStats

FEW = 3
"""So many episodes condemn nobody, whatever is asked for."""

_CLEARLY = 0.8  # of the median person's share: who stays surely below it is worth a word
_PRIOR_EPISODES = 4  # what the crowd does counts like so many episodes of one's own


@dataclass(frozen=True)
class QualityThresholds:
    """What a study asks for once `after` episodes are done."""

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
    """One sentence about a person, and whether it speaks against them."""

    measure: str
    sentence: str
    against: bool = False


@dataclass(frozen=True)
class Verdict:
    """What the evidence comes to.

    `score` in [0, 1] is the share solved (and of gold passed), drawn towards the median person's while there
    are few episodes: it informs, and nothing is paid by it; None where no episode's success is known. `met`
    says whether the requirement is met, and is None until there are enough such episodes. `findings` say
    everything in sentences, `reasons` what speaks against the person.
    """

    person: str
    score: float | None
    met: bool | None
    findings: tuple[QualityFinding, ...]

    @property
    def reasons(self) -> tuple[str, ...]:
        return tuple(one.sentence for one in self.findings if one.against)


def quality(one: DemonstratorStats, required: QualityThresholds = NOTHING_REQUIRED) -> Verdict:
    """Judge a person by the evidence; a requirement is missed only when that is beyond chance.

    That is: when, after `required.after` episodes, the upper end of Wilson's 95 % interval is below what is
    asked for.
    """
    shares = [
        (one.successes, one.rated, required.success, one.usual.get("success")),
        (one.gold_passed, one.gold, required.gold, one.usual.get("gold")),
    ]
    shares = [share for share in shares if share[1]]
    score = math.fsum(_shrunk(done, of, like) for done, of, _, like in shares) / max(1, len(shares))
    missed = [_surely_below(done, of, asked) for done, of, asked, _ in shares]
    findings = [finding for find in _FINDINGS if (finding := find(one)) is not None]
    is_enough = one.rated >= required.after
    if is_enough:
        short = zip(missed, shares, ("success", "gold"), strict=False)
        findings[:0] = [_short(name, *share[:3]) for miss, share, name in short if miss]
    met = not any(missed) if is_enough else None
    return Verdict(one.person, score if shares else None, met, tuple(findings))


def wilson(count: float, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share; `count` may be a sum of shares."""
    if of == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.975)
    share, more = count / of, z * z / of
    middle, reach = share + more / 2, z * math.sqrt(share * (1 - share) / of + more / of / 4)
    return max(0.0, (middle - reach) / (1 + more)), min(1.0, (middle + reach) / (1 + more))


def _surely_below(count: float, of: int, share: float) -> bool:
    return of > FEW and wilson(count, of)[1] < share


def _find_success(one: DemonstratorStats) -> QualityFinding | None:
    if not one.rated:
        return None
    solved = f"solves {_percent(one.successes / one.rated)} ({one.successes} of {one.rated})"
    return _beside_median("success", solved, "solves", one.successes, one.rated, one.usual.get("success"))


def _find_gold(one: DemonstratorStats) -> QualityFinding | None:
    if not one.gold:
        return None
    share = _percent(one.gold_passed / one.gold)
    passed = f"passes {share} of gold episodes ({one.gold_passed} of {one.gold})"
    return _beside_median("gold", passed, "passes", one.gold_passed, one.gold, one.usual.get("gold"))


def _beside_median(
    measure: str, sentence: str, verb: str, count: int, of: int, like: float | None
) -> QualityFinding:
    if like is None:
        return QualityFinding(measure, sentence)
    against = _surely_below(count, of, _CLEARLY * like)
    return QualityFinding(measure, f"{sentence} where the median person {verb} {_percent(like)}", against)


def _find_agreement(one: DemonstratorStats) -> QualityFinding | None:
    if not one.repeats:
        return None
    sentence = f"ends as most others on {one.agreed} of {counted(one.repeats, 'seed')} that they played too"
    return QualityFinding("agreement", sentence, _surely_below(one.agreed, one.repeats, 0.5))


def _find_length(one: DemonstratorStats) -> QualityFinding | None:
    if "length" not in one.own:
        return None
    sentence = f"needs {one.own['length']:.1f} times the expert's steps"
    if (like := one.usual.get("length")) is None:
        return QualityFinding("length", sentence)
    against = (one.length_low or 0.0) > 1.5 * like
    return QualityFinding("length", f"{sentence} where the median person needs {like:.1f} times", against)


def _find_reaction(one: DemonstratorStats) -> QualityFinding | None:
    if "reaction_ms" not in one.own:
        return None
    sentence = f"answers a picture after {one.own['reaction_ms']:,.0f} ms"
    if "reaction_ms" in one.usual:
        sentence += f" where the median person takes {one.usual['reaction_ms']:,.0f} ms"
    return QualityFinding("reaction", sentence)


def _find_fast(one: DemonstratorStats) -> QualityFinding | None:
    return _mostly(one, "fast_share", "presses {} of the keys sooner than anyone can have seen the picture")


def _find_idle(one: DemonstratorStats) -> QualityFinding | None:
    return _mostly(one, "idle_share", "is idle {} of the time")


def _find_repeats(one: DemonstratorStats) -> QualityFinding | None:
    return _mostly(one, "repeat_share", "does in {} of the steps what they did in the one before")


def _find_hidden(one: DemonstratorStats) -> QualityFinding | None:
    return _mostly(one, "hidden_share", "had the page hidden {} of the time")


def _mostly(one: DemonstratorStats, measure: str, sentence: str) -> QualityFinding | None:
    """Report a share of each episode; it speaks against who surely does so mostly, and nearly always more.

    Episodes are counted, not steps: those of one episode hang together. With few, no share is surely above
    a half.
    """
    own, like = one.own.get(measure, 0.0), one.usual.get(measure, 0.0)
    if not own:
        return None
    told = sentence.format(_percent(own))
    told += f" where the median person does so {_percent(like)}" if measure in one.usual else ""
    return QualityFinding(
        measure, told, wilson(own * one.episodes, one.episodes)[0] > max(0.5, (1 + like) / 2)
    )


def _find_lag(one: DemonstratorStats) -> QualityFinding | None:
    """Report how long pictures take; a slow line is nobody's fault."""
    if "lag_ms" not in one.own:
        return None
    return QualityFinding("lag", f"waits {one.own['lag_ms']:,.0f} ms for a picture")


_FINDINGS: Sequence[Callable[[DemonstratorStats], QualityFinding | None]] = (
    *(_find_success, _find_gold, _find_length, _find_agreement, _find_reaction),
    *(_find_fast, _find_idle, _find_repeats, _find_hidden, _find_lag),
)


def _short(name: str, count: int, of: int, asked: float) -> QualityFinding:
    what = "episodes" if name == "success" else "gold episodes"
    return QualityFinding(
        name, f"{count} of {of} {what} are surely less than the {_percent(asked)} asked for", True
    )


def _shrunk(count: int, of: int, like: float | None) -> float:
    """Return the mean of a beta posterior whose prior is what the median person does."""
    return (count + _PRIOR_EPISODES * (0.5 if like is None else like)) / (of + _PRIOR_EPISODES)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
