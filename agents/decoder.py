"""The action decoder: one summary → the numbers of an action, part after part, only legal ones."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .encoding import Interface, Part, targets
from .fused import normed_linear


class Decoder(nn.Module):
    """One option table for every interface; each owns a block of rows, so no other task's can be chosen.

    Parts are decided in order: what was chosen for one is added to what the next one is decided from.
    (Parts that point at tokens will score those tokens in place of table rows.)
    """

    def __init__(self, interfaces: Sequence[Interface], width: int) -> None:
        super().__init__()
        sizes = [[part.size for part in one.parts] for one in interfaces]
        self.offsets: list[list[int]] = []
        total = 0
        for row in sizes:
            self.offsets.append([total + int(x) for x in np.cumsum([0, *row[:-1]])])
            total += sum(row)
        self.options = nn.Embedding(total, width)
        self.bias = nn.Parameter(torch.zeros(total))
        self.query = nn.Linear(width, width, bias=False)
        nn.init.normal_(self.options.weight, std=width**-0.5)

    def loss(self, x: Tensor, interface: Interface, index: int, actions: np.ndarray) -> Tensor:
        """Return the cross entropy of each step `[S]`, summed over parts, given actions `[S, k]`."""
        total = torch.zeros(len(x), dtype=torch.float32)
        for at, part in enumerate(interface.parts):
            logits = self._logits(x, part, self.offsets[index][at])
            wanted = torch.from_numpy(targets(part, actions[:, at])).to(x.device)
            if wanted.is_floating_point():
                wanted = wanted.to(logits.dtype)
            total = total + F.cross_entropy(logits, wanted, reduction="none")
            if at + 1 < len(interface.parts):
                x = x + self._chosen(wanted, part, self.offsets[index][at])
        return total

    @torch.no_grad()
    def choose(
        self,
        x: Tensor,
        interface: Interface,
        index: int,
        greedy: bool,
        generator: torch.Generator | None,
        legal: Tensor | None,
    ) -> np.ndarray:
        """Return actions `[S, k]`; `legal` bool `[S, n]` masks the options of a single choice."""
        columns = []
        for at, part in enumerate(interface.parts):
            logits = self._logits(x, part, self.offsets[index][at])
            if legal is not None and len(interface.parts) == 1 and part.kind == "choice":
                some = legal.any(-1, keepdim=True)  # a mask that forbids everything says nothing
                logits = logits.masked_fill(~legal & some, -torch.inf)
            best = (
                logits.argmax(-1)
                if greedy
                else torch.multinomial(logits.softmax(-1), 1, generator=generator)[:, 0]
            )
            column = _numbers(logits, best, part, greedy)
            columns.append(column)
            if at + 1 < len(interface.parts):
                wanted = torch.from_numpy(targets(part, column))
                x = x + self._chosen(
                    wanted.to(x.dtype) if part.kind == "bins" else wanted, part, self.offsets[index][at]
                )
        return np.stack(columns, 1)

    def _logits(self, x: Tensor, part: Part, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        logits = F.linear(normed_linear(x, self.query.weight), table) + self.bias[offset : offset + part.size]
        return logits if logits.dtype == torch.float64 else logits.float()

    def _chosen(self, wanted: Tensor, part: Part, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        return wanted.to(table.dtype) @ table if wanted.is_floating_point() else table[wanted]


def _numbers(logits: Tensor, drawn: Tensor, part: Part, greedy: bool) -> np.ndarray:
    """Turn options `[S]` into numbers: the index chosen; for bins their mean, or the one drawn."""
    if part.kind == "choice":
        return drawn.numpy().astype(np.float64) + part.low
    places = torch.arange(part.size, dtype=torch.float64)
    place = logits.double().softmax(-1) @ places if greedy else places[drawn]
    number = part.low + place.numpy() / (part.size - 1) * (part.high - part.low)
    return np.clip(number, part.low, part.high)  # rounding may step over the bound
