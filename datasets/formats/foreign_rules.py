"""The success rule for episodes of a foreign dataset."""

from __future__ import annotations

import math
from typing import Any

from ...console.printable import printable
from ...envs.families import known_rule
from ...envs.registry import registry_with
from ...envs.success import UNKNOWN
from ...errors import TutelageError, brief

_CORRECT = "success is null, until `tutelage edit STORE suite` is given a rule"


def success_rule(dataset: Any) -> tuple[str, str]:
    """Return the success rule of a Minari dataset's task, and a sentence that explains it.

    It is the rule of the environment's bare id; where that is not registered, the dataset's own reward
    threshold. A dataset that names no environment has no rule: a guess would be stored as an outcome.
    """
    spec = dataset.env_spec
    if spec is None:
        return UNKNOWN, f"it names no environment, so no success rule is known: {_CORRECT}"
    for name in ("max_episode_steps", "reward_threshold"):
        value = getattr(spec, name)
        if value is not None and not (isinstance(value, int | float) and math.isfinite(value)):
            raise TutelageError(
                f"expected {name} of {printable(spec.id)} to be a finite number, got {brief(value)}"
            )
    is_registered = spec.id in registry_with(spec.id)
    rule = known_rule(spec.id, spec.max_episode_steps)
    if rule != UNKNOWN:
        return rule, f"its success rule is {rule!r}, as {spec.id} by itself has"
    if is_registered or spec.reward_threshold is None:
        return UNKNOWN, f"no success rule is known for {spec.id}: {_CORRECT}"
    rule = f"return >= {float(spec.reward_threshold):g}"
    return rule, f"its success rule is {rule!r}, the dataset's own threshold for {spec.id}"
