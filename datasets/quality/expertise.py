"""Expertise of demonstrators: the share of each person's actions that respond to the observation.

Mixture model of a step's action: it is drawn either from a policy trained on the other people, given the
observation, or from the person's marginal action distribution. Expertise is the weight of the first
component, one number per person, independent of the state. After ILEED (Beliaev et al., ICML 2022,
arXiv:2202.01288), whose second component is uniform; for a deterministic policy the share is Cohen's kappa
(1960).

Covers: wrong keys, random keys, one key held, another task played than the instructed one. Does not cover:
giving up (the steps before it may be perfect), and errors that most people make. Rewards and outcomes are not
used. People cannot be told apart where half of the crowd or more ignores the task.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

FEWEST_PEOPLE = 4
"""Fewest people for an estimate: with fewer, the outlier cannot be identified."""

TELLING = 0.2
"""Lowest usable median share: below it, the policies have learned too little to judge by."""

LEFT_OUT = 0.1
"""Lowest weight that is used: below it, steps would fill batches and teach nothing."""

_PRIOR_EPISODES = 2.0  # weight of the median person's share in the prior, in episodes


@dataclass(frozen=True)
class ExpertiseEstimate:
    """One person's share, the upper end of its 95 % interval, and the data behind it.

    `usual` is the median person's share. `weight` in [0, 1] is the square of `high` / `usual` (the
    information in noisy actions falls with the square of their signal), 0 below LEFT_OUT.
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
    """Estimate the expertise of all people; return {} for fewer than four people.

    `ratios` map a person to one array `[T]` per episode: log-likelihood ratio of each action, policy given
    the observation over the person's marginal. The order of episodes does not matter. Steps of one episode
    are correlated, so the interval (of a beta posterior whose prior is the median person's share) counts
    episodes. Weights use its upper end, so a few bad episodes do not exclude a person.
    """
    person_steps = {
        person: np.sort(np.concatenate(episodes)) for person, episodes in ratios.items() if len(episodes)
    }
    if len(person_steps) < FEWEST_PEOPLE:
        return {}
    likeliest = {person: _most_likely_share(steps) for person, steps in person_steps.items()}
    usual = float(np.median(list(likeliest.values())))
    return {
        person: _shrunk_estimate(likeliest[person], usual, len(ratios[person]), len(person_steps[person]))
        for person in sorted(person_steps)
    }


def _most_likely_share(steps: np.ndarray) -> float:
    """Return the maximum-likelihood share; the likelihood is unimodal in it."""
    from scipy import optimize  # lazy import: takes half a second

    def unlikeliness(share: float) -> float:
        return -float(np.logaddexp(steps + np.log(share), np.log1p(-share)).mean())

    return float(optimize.minimize_scalar(unlikeliness, bounds=(1e-6, 1 - 1e-6), method="bounded").x)


def _shrunk_estimate(share: float, usual: float, episodes: int, steps: int) -> ExpertiseEstimate:
    """Shrink a share towards the median person's, more strongly the fewer episodes there are."""
    from scipy import stats  # lazy import: takes most of a second

    total = episodes + _PRIOR_EPISODES
    mean = (episodes * share + _PRIOR_EPISODES * min(0.95, usual)) / total
    high = float(stats.beta.ppf(0.95, mean * total, (1 - mean) * total))
    return ExpertiseEstimate(mean, high, usual, episodes, steps)
