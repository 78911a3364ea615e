"""Choices among what is seen: one of a step's own tokens, an element of the page or a word that was said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .action_sampling import SamplingSettings, pick
from .fused_ops import normed_linear


@dataclass(frozen=True)
class TokenPool:
    """What can be pointed at: the tokens of S steps, end to end, `[N, d]`; `counts` `[S]` sum to N."""

    tokens: Tensor
    counts: np.ndarray

    def of(self, steps: np.ndarray) -> TokenPool:
        """Return the pool of some steps `[A]` alone."""
        begins = np.cumsum(self.counts) - self.counts
        counts = self.counts[steps]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = torch.from_numpy(np.repeat(begins[steps], counts) + within)
        return TokenPool(self.tokens.index_select(0, rows), counts)


class Pointer(nn.Module):
    """One choice among tokens, or none of them, which is option 0 (where `none` is offered)."""

    def __init__(self, width: int, none: bool) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.none = nn.Parameter(torch.zeros(width)) if none else None
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.value.weight)

    def loss(self, x: Tensor, pool: TokenPool, wanted: np.ndarray) -> Tensor:
        """Return the cross entropy `[S]` of pointing at `wanted` `[S]`, places in each step's own tokens."""
        logits, counts = self._logits(x, pool)
        segment = torch.from_numpy(np.repeat(np.arange(len(counts)), counts))
        top = torch.full((len(counts),), -torch.inf, dtype=logits.dtype)
        top = top.scatter_reduce(0, segment, logits.detach(), "amax")
        mass = torch.zeros_like(top).index_add(0, segment, (logits - top[segment]).exp())
        place = torch.from_numpy(np.cumsum(counts) - counts + self._option(wanted))
        return mass.log() + top - logits.index_select(0, place)

    def choose(
        self,
        x: Tensor,
        pool: TokenPool,
        draw: SamplingSettings | None,
        least: np.ndarray,
        never: Sequence[Sequence[int]] | None = None,
    ) -> np.ndarray:
        """Return a place `[S]` of each step, -1 for none.

        It is never one before `least` `[S]`, nor one of `never` `[S]`, unless those are all there are.
        """
        logits, counts = self._logits(x, pool)
        able = torch.full((len(counts), int(counts.max())), -torch.inf, dtype=logits.dtype)
        step = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
        able[torch.from_numpy(step), torch.from_numpy(place)] = logits
        before = torch.arange(able.shape[1]) < torch.from_numpy(self._option(least))[:, None]
        able = able.masked_fill(before, -torch.inf)
        for row, places in enumerate(never or ()):
            left = able[row].clone()
            left[[place + (self.none is not None) for place in places]] = -torch.inf
            if left.isfinite().any():
                able[row] = left
        best = pick(able, draw)
        return best.numpy() - (self.none is not None)

    def chosen(self, pool: TokenPool, places: np.ndarray) -> Tensor:
        """Return what being pointed at adds `[S, d]`; nothing for none."""
        begins = np.cumsum(pool.counts) - pool.counts
        rows = pool.tokens.index_select(0, torch.from_numpy(begins + np.maximum(places, 0)))
        known = torch.from_numpy(places >= 0).to(rows.dtype)[:, None]
        return normed_linear(rows, self.value.weight) * known

    def _option(self, places: np.ndarray) -> np.ndarray:
        return places.astype(np.int64) + (self.none is not None)

    def _logits(self, x: Tensor, pool: TokenPool) -> tuple[Tensor, np.ndarray]:
        """Score every token of each step, after none of them where that is offered."""
        query = normed_linear(x, self.query.weight)
        scale = 2 * x.shape[1] ** -0.5
        keys = normed_linear(pool.tokens, self.key.weight)
        steps = torch.from_numpy(np.repeat(np.arange(len(pool.counts)), pool.counts))
        scores = (query.index_select(0, steps) * keys).sum(-1) * scale
        if self.none is None:
            return scores.float(), pool.counts
        first = (query * self.none).sum(-1) * scale
        begins = np.cumsum(pool.counts) - pool.counts
        order = np.insert(np.arange(len(keys)) + len(first), begins, np.arange(len(first)))
        return torch.cat([first, scores]).index_select(0, torch.from_numpy(order)).float(), pool.counts + 1
