"""The transformer: packed sequences of any length without padding; attention, rotary positions, blocks.

Sequences lie end to end as rows `[N, d]`, sorted by length, so that those of equal length form one dense
`[count, length, d]` view. Linear layers work on the rows, attention on the views.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fused_ops import add_dropped, feed_forward, normed_linear


@dataclass(frozen=True)
class Packing:
    """Layout of packed sequences: runs of (length, number of sequences), lengths ascending."""

    runs: tuple[tuple[int, int], ...]

    @property
    def starts(self) -> np.ndarray:
        """Return the first row of each sequence, `[sequences]`."""
        lengths = np.repeat([length for length, _ in self.runs], [count for _, count in self.runs])
        return np.cumsum(lengths) - lengths


def pack(lengths: np.ndarray) -> tuple[Packing, np.ndarray]:
    """Sort sequences by length (stable); return the packing and the order, int64 `[sequences]`."""
    values, counts = np.unique(lengths, return_counts=True)
    runs = tuple((int(length), int(count)) for length, count in zip(values, counts, strict=True) if length)
    return Packing(runs), np.argsort(lengths, kind="stable")


def rotate(x: Tensor, positions: Tensor, heads: int) -> Tensor:
    """Apply rotary position embedding (Su et al., "RoFormer", 2021): rotate pairs of a head's coordinates.

    `x` `[N, d]`, `positions` `[N]`. Only differences of positions reach the attention scores.
    """
    half = x.shape[1] // heads // 2
    # frequencies from 1 to nearly 1/1000 a position, one for each pair of coordinates
    rates = torch.exp(-math.log(1000.0) * torch.arange(half, dtype=x.dtype, device=x.device) / half)
    angles = positions[:, None].to(x.dtype) * rates
    cos, sin = angles.cos()[:, None, :], angles.sin()[:, None, :]
    first, second = x.view(len(x), heads, 2 * half).chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1).flatten(1)


def attend(qkv: Tensor, packing: Packing, heads: int, causal: bool = False) -> Tensor:
    """Attend within every sequence: queries, keys and values `[N, 3d]` → `[N, d]`."""
    outs: list[Tensor] = []
    for (_, count), rows in zip(
        packing.runs, qkv.split([n * count for n, count in packing.runs]), strict=True
    ):
        # rows of one run → three `[count, heads, length, d / heads]`
        q, k, v = rows.view(count, -1, 3, heads, qkv.shape[1] // heads // 3).permute(2, 0, 3, 1, 4).unbind()
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        outs.append(out.transpose(1, 2).reshape(len(rows), -1))
    return torch.cat(outs)


def attend_once(q: Tensor, kv: Tensor, packing: Packing, heads: int) -> Tensor:
    """Attend with one query a sequence, `[sequences, d]`, to that sequence's keys and values `[N, 2d]`."""
    outs: list[Tensor] = []
    sizes, counts = [n * count for n, count in packing.runs], [count for _, count in packing.runs]
    for count, queries, rows in zip(counts, q.split(counts), kv.split(sizes), strict=True):
        # rows of one run → two `[count, heads, length, d / heads]`
        k, v = rows.view(count, -1, 2, heads, q.shape[1] // heads).permute(2, 0, 3, 1, 4).unbind()
        outs.append(F.scaled_dot_product_attention(_split_heads(queries, count, heads), k, v).flatten(1))
    return torch.cat(outs)


class TransformerBlock(nn.Module):
    """Pre-norm block without biases: attention, then squared-ReLU feed-forward, both residual.

    The last matrix of each half is initialized to zero, so a new block is the identity.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width, bias=False)
        self.up = nn.Linear(width, 4 * width, bias=False)
        self.down = nn.Linear(4 * width, width, bias=False)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.down.weight)

    def forward(
        self, x: Tensor, packing: Packing, positions: Tensor | None = None, causal: bool = False
    ) -> Tensor:
        """Return the residual stream `[N, d]` after this block; `positions` `[N]` make attention rotary."""
        qkv = normed_linear(x, self.qkv.weight)
        if positions is not None:
            q, k, v = qkv.chunk(3, -1)
            qkv = torch.cat([rotate(q, positions, self.heads), rotate(k, positions, self.heads), v], -1)
        return self._residual(x, attend(qkv, packing, self.heads, causal))

    def summarize(
        self, x: Tensor, packing: Packing, first: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Return the residual stream of the rows `first` (one a sequence) only, as the last block needs.

        Keys and values come from every row; queries and the feed-forward from these rows only.
        """
        width, summaries = x.shape[1], x.index_select(0, first)
        q = normed_linear(summaries, self.qkv.weight[:width])
        # the stacked matrix is queries, keys, values: keys and values are its last 2 d rows
        kv = normed_linear(x, self.qkv.weight[width:])
        if positions is not None:
            # only the summaries' own positions
            q = rotate(q, positions.index_select(0, first), self.heads)
            kv = torch.cat([rotate(kv[:, :width], positions, self.heads), kv[:, width:]], -1)
        return self._residual(summaries, attend_once(q, kv, packing, self.heads))

    def step(self, x: Tensor, past: tuple[Tensor, Tensor], rows: Tensor, time: int) -> Tensor:
        """Advance a running memory by one time step for inputs `[A, d]`.

        `past` holds rotated keys and values, each a ring buffer `[episodes, window, d]`; `rows` `[A]` are the
        indices of the episodes. Positions are absolute; since only their differences matter, order in the
        ring does not.
        """
        keys, values = past
        window = keys.shape[1]
        q, k, v = normed_linear(x, self.qkv.weight).chunk(3, -1)
        now = torch.full((len(x),), time, device=x.device)
        keys[rows, time % window] = rotate(k, now, self.heads)
        values[rows, time % window] = v
        # slots in use: all of them once the ring is full
        length = min(time + 1, window)
        queries = _split_heads(rotate(q, now, self.heads), len(x), self.heads)
        past_keys = _split_heads(keys[rows, :length].flatten(0, 1), len(x), self.heads)
        past_values = _split_heads(values[rows, :length].flatten(0, 1), len(x), self.heads)
        # one query an episode; the ring holds no future, so no mask is needed
        out = F.scaled_dot_product_attention(queries, past_keys, past_values)
        return self._residual(x, out.transpose(1, 2).flatten(1))

    def _residual(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add the projected attention output to the residual stream, then the feed-forward of each row."""
        dropout = self.dropout if self.training else 0.0
        x = add_dropped(x, self.out(attended), dropout)
        return feed_forward(x, self.up.weight, self.down.weight, dropout)


def _split_heads(rows: Tensor, count: int, heads: int) -> Tensor:
    """View rows `[count * length, d]` as `[count, heads, length, d / heads]`."""
    return rows.view(count, -1, heads, rows.shape[-1] // heads).transpose(1, 2)
