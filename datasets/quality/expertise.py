"""Expertise of demonstrators: which share of what each one does answers what is seen, as others answer it.

A step's action either answers what is seen, as a policy that learned from other people would, or follows the
person's own habit (their share of each action, whatever is seen). Expertise is the share of the former: a
mixture, one number a person whatever the state. After ILEED (Beliaev et al., ICML 2022, arXiv:2202.01288),
whose second part is uniform; with a policy that is sure of itself the share is Cohen's kappa (1960).

What is covered: wrong keys, random keys, one key held, another task played than the one that was asked for.
What is not: giving up (what was done before it may be perfect), and what most people do wrong. Rewards and
outcomes are not looked at. Where half of the crowd or more does not care, the crowd cannot tell.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_PEOPLE = 4
"""With fewer, nobody can say who of them is the odd one out."""

TELLING = 0.2
"""When the median person's share is lower, the policies have learned too little to judge anyone."""

LEFT_OUT = 0.1
"""Who weighs less is left out: their steps would fill batches and teach nothing."""

_PRIOR_EPISODES = 2.0  # the median person's share counts like so many episodes of one's own


@dataclass(frozen=True)
class ExpertiseEstimate:
    """One person's share, the upper end of its 95 % interval, and what it rests on.

    `usual` is the median person's share; `weight` in [0, 1] the square of `high` over it (what noisy actions
    tell shrinks with the square of their signal), 0 below LEFT_OUT.
    """

    share: float
    high: float
    usual: float
    episodes: int
    steps: int

    @property
    def weight(self) -> float:
        if self.usual < TELLING:
            return 1.0
        weight = min(1.0, self.high / self.usual) ** 2
        return weight if weight >= LEFT_OUT else 0.0


def expertise(ratios: Mapping[str, Sequence[np.ndarray]]) -> dict[str, ExpertiseEstimate]:
    """Estimate everyone's expertise; nobody's with fewer than four people.

    `ratios` map a person to an array `[T]` an episode: log of how likely each action is as an answer to what
    is seen, over how likely it is by the person's habit. Their order does not matter. Steps of an episode
    hang together, so the interval (of a beta posterior whose prior is the median person's share) counts
    episodes; weights go by its upper end, so a few bad episodes condemn nobody.
    """
    steps = {who: np.sort(np.concatenate(some)) for who, some in ratios.items() if len(some)}
    if len(steps) < FEWEST_PEOPLE:
        return {}
    likeliest = {who: _likeliest(one) for who, one in steps.items()}
    usual = float(np.median(list(likeliest.values())))
    return {who: _drawn_in(likeliest[who], usual, len(ratios[who]), len(steps[who])) for who in sorted(steps)}


def _likeliest(steps: np.ndarray) -> float:
    """Find the share that makes the steps likeliest; in it their likelihood has one peak."""
    from scipy import optimize  # here: it takes half a second

    def unlikeliness(share: float) -> float:
        return -float(np.logaddexp(steps + np.log(share), np.log1p(-share)).mean())

    return float(optimize.minimize_scalar(unlikeliness, bounds=(1e-6, 1 - 1e-6), method="bounded").x)


def _drawn_in(share: float, usual: float, episodes: int, steps: int) -> ExpertiseEstimate:
    """Draw a share towards the median person's, the more so the fewer episodes there are."""
    from scipy import stats  # here: it takes most of a second

    total = episodes + _PRIOR_EPISODES
    drawn = (episodes * share + _PRIOR_EPISODES * min(0.95, usual)) / total
    high = float(stats.beta.ppf(0.95, drawn * total, (1 - drawn) * total))
    return ExpertiseEstimate(drawn, high, usual, episodes, steps)
