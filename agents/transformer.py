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


class RMSNorm(nn.Module):
    """Divide each row by its root mean square (Zhang and Sennrich, 2019)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        return F.rms_norm(x, (x.shape[-1],), self.gain)


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


def attend(q: Tensor, k: Tensor, v: Tensor, packing: Packing, heads: int, causal: bool = False) -> Tensor:
    """Let every sequence attend within itself.

    `k`, `v` `[N, d]`; `q` `[N, d]`, or one row a sequence `[sequences, d]`. Returns rows like `q`.
    """
    single = len(q) != len(k)
    outs: list[Tensor] = []
    row = query = 0
    for length, count in packing.runs:
        asked = 1 if single else length
        keys = _heads(k[row : row + length * count], count, heads)
        values = _heads(v[row : row + length * count], count, heads)
        queries = _heads(q[query : query + asked * count], count, heads)
        out = F.scaled_dot_product_attention(queries, keys, values, is_causal=causal and not single)
        outs.append(out.transpose(1, 2).reshape(asked * count, -1))
        row += length * count
        query += asked * count
    return torch.cat(outs)


class Block(nn.Module):
    """Attention, then a squared-ReLU network, each added to the stream; no biases.

    The last matrix of each half begins at zero, so a new block does nothing yet.
    """

    def __init__(self, width: int, heads: int, dropout: float) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.norm_in, self.norm_mid = RMSNorm(width), RMSNorm(width)
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
        q, k, v = self.qkv(self.norm_in(x)).chunk(3, -1)
        if positions is not None:
            q, k = rotate(q, positions, self.heads), rotate(k, positions, self.heads)
        return self.digest(x + self._dropped(self.out(attend(q, k, v, packing, self.heads, causal))))

    def summarise(self, x: Tensor, packing: Packing, first: Tensor) -> Tensor:
        """Return only the stream of the rows `first` (one a sequence): all that a last block needs.

        Keys and values are still made of every row; queries and the network only of these.
        """
        width = x.shape[1]
        seen = self.norm_in(x)
        q = F.linear(seen[first], self.qkv.weight[:width])
        k, v = F.linear(seen, self.qkv.weight[width:]).chunk(2, -1)
        return self.digest(x[first] + self._dropped(self.out(attend(q, k, v, packing, self.heads))))

    def step(self, x: Tensor, past: tuple[Tensor, Tensor], rows: Tensor, time: int) -> Tensor:
        """Do one time step for rows `[A, d]` of a running memory.

        `past` holds rotated keys and values, each a ring `[episodes, window, d]`; `rows` `[A]` says which
        episodes these are. Positions are absolute: only their differences matter, so a ring will do.
        """
        keys, values = past
        window = keys.shape[1]
        q, k, v = self.qkv(self.norm_in(x)).chunk(3, -1)
        now = torch.full((len(x),), time)
        keys[rows, time % window] = rotate(k, now, self.heads)
        values[rows, time % window] = v
        seen = min(time + 1, window)
        queries = _heads(rotate(q, now, self.heads), len(x), self.heads)
        past_keys = _heads(keys[rows, :seen].flatten(0, 1), len(x), self.heads)
        past_values = _heads(values[rows, :seen].flatten(0, 1), len(x), self.heads)
        out = F.scaled_dot_product_attention(queries, past_keys, past_values)
        return self.digest(x + self.out(out.transpose(1, 2).flatten(1)))

    def digest(self, x: Tensor) -> Tensor:
        """Apply the second half: the network, row by row."""
        return x + self._dropped(self.down(F.relu(self.up(self.norm_mid(x))).square()))

    def _dropped(self, x: Tensor) -> Tensor:
        return F.dropout(x, self.dropout, self.training) if self.dropout else x


def _heads(rows: Tensor, count: int, heads: int) -> Tensor:
    """View rows `[count * length, d]` as `[count, heads, length, d / heads]`."""
    return rows.view(count, -1, heads, rows.shape[-1] // heads).transpose(1, 2)
