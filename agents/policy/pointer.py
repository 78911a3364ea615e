"""Pointers: choose one of a step's own tokens, an element of the page or a word of the instruction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .action_sampling import SamplingSettings, pick
from .devices import to_device
from .fused_ops import normed_linear


@dataclass(frozen=True)
class TokenPool:
    """Tokens that can be pointed at: those of S steps, end to end, `[N, d]`; `counts` `[S]` sum to N."""

    tokens: Tensor
    counts: np.ndarray

    def of(self, steps: np.ndarray) -> TokenPool:
        """Return the pool of the given steps `[A]` alone."""
        # first row of each step
        begins = np.cumsum(self.counts) - self.counts
        counts = self.counts[steps]
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        rows = to_device(np.repeat(begins[steps], counts) + within, self.tokens.device)
        return TokenPool(self.tokens.index_select(0, rows), counts)


class Pointer(nn.Module):
    """Choose a token by attention (Vinyals et al., "Pointer networks", 2015); `none` adds option 0: none."""

    def __init__(self, width: int, none: bool) -> None:
        super().__init__()
        self.query = nn.Linear(width, width, bias=False)
        self.key = nn.Linear(width, width, bias=False)
        self.value = nn.Linear(width, width, bias=False)
        self.none = nn.Parameter(torch.zeros(width)) if none else None
        # zero at first: a uniform choice that adds nothing
        nn.init.zeros_(self.query.weight)
        nn.init.zeros_(self.value.weight)

    def loss(self, x: Tensor, pool: TokenPool, targets: np.ndarray) -> Tensor:
        """Return the cross entropy `[S]` of pointing at `targets` `[S]`, indices among each step's tokens."""
        logits, counts = self._logits(x, pool)
        # log-sum-exp over segments of different lengths, without padding
        segment = to_device(np.repeat(np.arange(len(counts)), counts), x.device)
        peak = torch.full((len(counts),), -torch.inf, dtype=logits.dtype, device=x.device)
        peak = peak.scatter_reduce(0, segment, logits.detach(), "amax")
        mass = torch.zeros_like(peak).index_add(0, segment, (logits - peak[segment]).exp())
        row = to_device(np.cumsum(counts) - counts + self._option(targets), x.device)
        return mass.log() + peak - logits.index_select(0, row)

    def choose(
        self,
        x: Tensor,
        pool: TokenPool,
        draw: SamplingSettings | None,
        least: np.ndarray,
        never: Sequence[Sequence[int]] | None = None,
    ) -> np.ndarray:
        """Return a token index `[S]` of each step, -1 for none.

        Indices below `least` `[S]` are excluded; so are those in `never` `[S]`, unless no others are left.
        """
        logits, counts = self._logits(x, pool)
        logits = logits.cpu()  # choices are made, and drawn, by the processor
        # padded `[S, longest]`: `pick` takes a rectangle; missing options are -inf
        scores = torch.full((len(counts), int(counts.max())), -torch.inf, dtype=logits.dtype)
        step = np.repeat(np.arange(len(counts)), counts)
        place = np.arange(len(step)) - np.repeat(np.cumsum(counts) - counts, counts)
        scores[torch.from_numpy(step), torch.from_numpy(place)] = logits
        too_early = torch.arange(scores.shape[1]) < torch.from_numpy(self._option(least))[:, None]
        scores = scores.masked_fill(too_early, -torch.inf)
        for row, places in enumerate(never or ()):
            remaining = scores[row].clone()
            remaining[[place + (self.none is not None) for place in places]] = -torch.inf
            if remaining.isfinite().any():
                scores[row] = remaining
        options = pick(scores, draw)
        return options.numpy() - (self.none is not None)

    def chosen(self, pool: TokenPool, places: np.ndarray) -> Tensor:
        """Return the vectors `[S, d]` that the chosen tokens add to the decoder input; zeros for none."""
        begins = np.cumsum(pool.counts) - pool.counts
        rows = pool.tokens.index_select(0, to_device(begins + np.maximum(places, 0), pool.tokens.device))
        # "none" reads row 0 of its step and is multiplied by 0
        is_token = to_device(places >= 0, rows.device).to(rows.dtype)[:, None]
        return normed_linear(rows, self.value.weight) * is_token

    def _option(self, places: np.ndarray) -> np.ndarray:
        return places.astype(np.int64) + (self.none is not None)

    def _logits(self, x: Tensor, pool: TokenPool) -> tuple[Tensor, np.ndarray]:
        """Return logits of each step's options, end to end, and their counts `[S]`; "none" comes first."""
        query = normed_linear(x, self.query.weight)
        scale = 2 * x.shape[1] ** -0.5  # twice the usual 1 / sqrt(d)
        keys = normed_linear(pool.tokens, self.key.weight)
        steps = to_device(np.repeat(np.arange(len(pool.counts)), pool.counts), x.device)
        scores = (query.index_select(0, steps) * keys).sum(-1) * scale
        if self.none is None:
            return scores.float(), pool.counts
        first = (query * self.none).sum(-1) * scale
        begins = np.cumsum(pool.counts) - pool.counts
        # put each step's "none" in front of its own tokens
        order = np.insert(np.arange(len(keys)) + len(first), begins, np.arange(len(first)))
        options = torch.cat([first, scores]).index_select(0, to_device(order, x.device))
        return options.float(), pool.counts + 1
