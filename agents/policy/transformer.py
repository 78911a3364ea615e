"""The transformer: packed sequences of any lengths, no padding; attention, rotary positions, blocks.

Sequences are laid end to end as rows `[N, d]`, sorted by length, so that those of equal length form one
dense `[count, length, d]` view. Linear layers see the rows, attention sees the views: no row is padding.
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
    """Which rows are one sequence: runs of (length, how many sequences of it), lengths ascending."""

    runs: tuple[tuple[int, int], ...]

    @property
    def starts(self) -> np.ndarray:
        """Return the row at which each sequence begins, `[sequences]`."""
        lengths = np.repeat([length for length, _ in self.runs], [count for _, count in self.runs])
        return np.cumsum(lengths) - lengths


def pack(lengths: np.ndarray) -> tuple[Packing, np.ndarray]:
    """Sort sequences by length; return the packing and the order `[sequences]` (stable)."""
    values, counts = np.unique(lengths, return_counts=True)
    runs = tuple((int(length), int(count)) for length, count in zip(values, counts, strict=True) if length)
    return Packing(runs), np.argsort(lengths, kind="stable")


def rotate(x: Tensor, positions: Tensor, heads: int) -> Tensor:
    """Turn each pair of a head's coordinates by an angle that grows with position (Su et al., 2021).

    `x` `[N, d]`, `positions` `[N]`. Only differences of positions reach the attention scores.
    """
    half = x.shape[1] // heads // 2
    rates = torch.exp(-math.log(1000.0) * torch.arange(half, dtype=x.dtype) / half)
    angles = positions[:, None].to(x.dtype) * rates
    cos, sin = angles.cos()[:, None, :], angles.sin()[:, None, :]
    first, second = x.view(len(x), heads, 2 * half).chunk(2, -1)
    return torch.cat([first * cos - second * sin, first * sin + second * cos], -1).flatten(1)


def attend(qkv: Tensor, packing: Packing, heads: int, causal: bool = False) -> Tensor:
    """Let every sequence attend within itself: queries, keys and values `[N, 3d]` → `[N, d]`."""
    outs: list[Tensor] = []
    for (_, count), rows in zip(
        packing.runs, qkv.split([n * count for n, count in packing.runs]), strict=True
    ):
        q, k, v = rows.view(count, -1, 3, heads, qkv.shape[1] // heads // 3).permute(2, 0, 3, 1, 4).unbind()
        out = F.scaled_dot_product_attention(q, k, v, is_causal=causal)
        outs.append(out.transpose(1, 2).reshape(len(rows), -1))
    return torch.cat(outs)


def attend_once(q: Tensor, kv: Tensor, packing: Packing, heads: int) -> Tensor:
    """Let one query a sequence `[sequences, d]` see its sequence's keys and values `[N, 2d]`."""
    outs: list[Tensor] = []
    sizes, counts = [n * count for n, count in packing.runs], [count for _, count in packing.runs]
    for count, asked, rows in zip(counts, q.split(counts), kv.split(sizes), strict=True):
        k, v = rows.view(count, -1, 2, heads, q.shape[1] // heads).permute(2, 0, 3, 1, 4).unbind()
        outs.append(F.scaled_dot_product_attention(_heads(asked, count, heads), k, v).flatten(1))
    return torch.cat(outs)


class TransformerBlock(nn.Module):
    """Attention, then a squared-ReLU network, each on normed rows and added to the stream; no biases.

    The last matrix of each half begins at zero, so a new block does nothing yet.
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
        """Return the stream `[N, d]` after this block; `positions` `[N]` make attention rotary."""
        qkv = normed_linear(x, self.qkv.weight)
        if positions is not None:
            q, k, v = qkv.chunk(3, -1)
            qkv = torch.cat([rotate(q, positions, self.heads), rotate(k, positions, self.heads), v], -1)
        return self._digest(x, attend(qkv, packing, self.heads, causal))

    def summarise(
        self, x: Tensor, packing: Packing, first: Tensor, positions: Tensor | None = None
    ) -> Tensor:
        """Return only the stream of the rows `first` (one a sequence): all that a last block needs.

        Keys and values are still made of every row; queries and the network only of these.
        """
        width, summaries = x.shape[1], x.index_select(0, first)
        q = normed_linear(summaries, self.qkv.weight[:width])
        kv = normed_linear(x, self.qkv.weight[width:])
        if positions is not None:
            q = rotate(q, positions.index_select(0, first), self.heads)
            kv = torch.cat([rotate(kv[:, :width], positions, self.heads), kv[:, width:]], -1)
        return self._digest(summaries, attend_once(q, kv, packing, self.heads))

    def step(self, x: Tensor, past: tuple[Tensor, Tensor], rows: Tensor, time: int) -> Tensor:
        """Do one time step for rows `[A, d]` of a running memory.

        `past` holds rotated keys and values, each a ring `[episodes, window, d]`; `rows` `[A]` says which
        episodes these are. Positions are absolute: only their differences matter, so a ring will do.
        """
        keys, values = past
        window = keys.shape[1]
        q, k, v = normed_linear(x, self.qkv.weight).chunk(3, -1)
        now = torch.full((len(x),), time)
        keys[rows, time % window] = rotate(k, now, self.heads)
        values[rows, time % window] = v
        seen = min(time + 1, window)
        queries = _heads(rotate(q, now, self.heads), len(x), self.heads)
        past_keys = _heads(keys[rows, :seen].flatten(0, 1), len(x), self.heads)
        past_values = _heads(values[rows, :seen].flatten(0, 1), len(x), self.heads)
        out = F.scaled_dot_product_attention(queries, past_keys, past_values)
        return self._digest(x, out.transpose(1, 2).flatten(1))

    def _digest(self, x: Tensor, attended: Tensor) -> Tensor:
        """Add what attention found to the stream, then what the network makes of each row."""
        dropout = self.dropout if self.training else 0.0
        x = add_dropped(x, self.out(attended), dropout)
        return feed_forward(x, self.up.weight, self.down.weight, dropout)


def _heads(rows: Tensor, count: int, heads: int) -> Tensor:
    """View rows `[count * length, d]` as `[count, heads, length, d / heads]`."""
    return rows.view(count, -1, heads, rows.shape[-1] // heads).transpose(1, 2)
