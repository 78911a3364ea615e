"""How one of several options is chosen: the likeliest, or drawn at a temperature."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class SamplingSettings:
    """Options are drawn at random: at a `temperature` of 1 as the policy says, above that more evenly."""

    generator: torch.Generator | None
    temperature: float = 1.0


def pick(logits: Tensor, draw: SamplingSettings | None) -> Tensor:
    """Choose one of each step's options, given logits `[S, n]`; without a draw, the likeliest."""
    if draw is None:
        return logits.argmax(-1)
    chances = (logits / draw.temperature).softmax(-1)
    return torch.multinomial(chances, 1, generator=draw.generator)[:, 0]
