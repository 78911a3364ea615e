"""Choose one of several options: the most likely, or a sample at a temperature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingSettings:
    """Sample options: a `temperature` of 1 keeps the policy's probabilities, a higher one flattens them."""

    generator: torch.Generator | None
    temperature: float = 1.0


def pick(logits: Tensor, draw: SamplingSettings | None) -> Tensor:
    """Return one option `[S]` for each step from logits `[S, n]`; the most likely without `draw`."""
    if draw is None:
        return logits.argmax(-1)
    # masked options have logit -inf, hence probability 0 at any temperature
    probabilities = (logits / draw.temperature).softmax(-1)
    return torch.multinomial(probabilities, 1, generator=draw.generator)[:, 0]
