"""The action decoder: one summary → the numbers of an action, part after part, only legal ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .action_parts import POINTING, SKIPPED, ActionPart, targets
from .action_sampling import SamplingSettings, pick
from .encoding import IOSpec
from .fused_ops import normed_linear
from .pointer import Pointer, TokenPool


class Decoder(nn.Module):
    """One option table for every interface; each owns a block of rows, so no other task's can be chosen.

    Parts are decided in order: what was chosen for one is added to what the next one is decided from. Parts
    that point (`element`, `word`) choose among the step's own tokens in place of table rows. A part that
    only some verbs have is decided for those alone, and is `SKIPPED` for all others.
    """

    def __init__(self, interfaces: Sequence[IOSpec], width: int) -> None:
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
        self.pointers = nn.ModuleDict(
            {
                f"{index}-{at}": Pointer(width, none=part.kind == "element")
                for index, one in enumerate(interfaces)
                for at, part in enumerate(one.parts)
                if part.kind in POINTING
            }
        )
        nn.init.normal_(self.options.weight, std=width**-0.5)

    def loss(
        self,
        x: Tensor,
        interface: IOSpec,
        index: int,
        actions: np.ndarray,
        pools: Mapping[str, TokenPool] | None = None,
    ) -> Tensor:
        """Return the cross entropy of each step `[S]`, summed over parts, given actions `[S, k]`.

        `pools` are what can be pointed at, by the kind of the part.
        """
        total = torch.zeros(len(x), dtype=torch.float32)
        for at, part in enumerate(interface.parts):
            column = actions[:, at]
            some = np.flatnonzero(column != SKIPPED) if part.verbs or part.kind in POINTING else None
            if some is None or len(some) == len(x):
                loss, chosen = self._teach(x, part, (index, at), column, pools)
                total = total + loss
            elif not len(some):
                continue
            else:
                rows = torch.from_numpy(some)
                among = {kind: one.of(some) for kind, one in (pools or {}).items() if kind == part.kind}
                loss, chosen = self._teach(x.index_select(0, rows), part, (index, at), column[some], among)
                total = total.index_add(0, rows, loss)
                chosen = torch.zeros_like(x).index_add(0, rows, chosen)
            if at + 1 < len(interface.parts):
                x = x + chosen
        return total

    @torch.no_grad()
    def choose(
        self,
        x: Tensor,
        interface: IOSpec,
        index: int,
        draw: SamplingSettings | None,
        legal: Tensor | None,
        pools: Mapping[str, TokenPool] | None = None,
        barred: Sequence[set[tuple[int, int, int]]] | None = None,
        probabilities: list[np.ndarray | None] | None = None,
    ) -> np.ndarray:
        """Return actions `[S, k]`, the likeliest or drawn; `legal` bool `[S, n]` masks a single choice.

        `barred` `[S]` are choices that are not wanted: the first, the element after it, and what is decided
        next for this first choice, SKIPPED where the element alone says it. `probabilities` takes, part after
        part, the first step's distribution over the options, None where a part points or is skipped.
        """
        numbers = np.full((len(x), len(interface.parts)), SKIPPED)
        if probabilities is not None:
            probabilities[:] = [None] * len(interface.parts)
        for at, part in enumerate(interface.parts):
            some = np.arange(len(x))
            if part.verbs:
                some = np.flatnonzero(np.isin(numbers[:, 0], part.verbs))
            if not len(some):
                continue
            rows = torch.from_numpy(some)
            own = x.index_select(0, rows)
            never = [_unwanted(numbers[i, :at], barred[i]) for i in some.tolist()] if barred else None
            if part.kind in POINTING:
                pool = (pools or {})[part.kind].of(some)
                # the last of two words is not before the first
                least = numbers[some, at - 1] if part.after else np.full(len(some), part.low)
                pointer = self._pointer(index, at)
                column = pointer.choose(own, pool, draw, least, never).astype(np.float64)
                chosen = pointer.chosen(pool, column.astype(np.int64))
            else:
                mask = legal if len(interface.parts) == 1 and part.kind == "choice" else None
                if never and any(never):
                    mask = torch.ones(len(some), part.size, dtype=torch.bool)
                    for row, unwanted in enumerate(never):
                        mask[row, [int(one - part.low) for one in unwanted]] = False
                column, chosen, logits = self._decide(own, part, self.offsets[index][at], draw, mask)
                if probabilities is not None and some[0] == 0:
                    probabilities[at] = logits[0].double().softmax(-1).numpy()
            numbers[some, at] = column
            if at + 1 < len(interface.parts):
                x = x.index_add(0, rows, chosen)
        return numbers

    def _teach(
        self,
        x: Tensor,
        part: ActionPart,
        place: tuple[int, int],
        column: np.ndarray,
        pools: Mapping[str, TokenPool] | None,
    ) -> tuple[Tensor, Tensor]:
        """Return the cross entropy `[S]` of one part, and what its right choice adds `[S, d]`."""
        index, at = place
        if part.kind in POINTING:
            pool, wanted = (pools or {})[part.kind], column.astype(np.int64)
            pointer = self._pointer(index, at)
            return pointer.loss(x, pool, wanted), pointer.chosen(pool, wanted)
        logits = self._logits(x, part, self.offsets[index][at])
        right = torch.from_numpy(targets(part, column)).to(x.device)
        if right.is_floating_point():
            right = right.to(logits.dtype)
        loss = F.cross_entropy(logits, right, reduction="none")
        return loss, self._chosen(right, part, self.offsets[index][at])

    def _decide(
        self,
        x: Tensor,
        part: ActionPart,
        offset: int,
        draw: SamplingSettings | None,
        legal: Tensor | None,
    ) -> tuple[np.ndarray, Tensor, Tensor]:
        logits = self._logits(x, part, offset)
        if legal is not None:
            some = legal.any(-1, keepdim=True)  # a mask that forbids everything says nothing
            logits = logits.masked_fill(~legal & some, -torch.inf)
        column = _numbers(logits, pick(logits, draw), part, draw is None)
        wanted = torch.from_numpy(targets(part, column))
        option = self._chosen(wanted.to(x.dtype) if part.kind == "bins" else wanted, part, offset)
        return column, option, logits

    def _pointer(self, index: int, at: int) -> Pointer:
        pointer = self.pointers[f"{index}-{at}"]
        assert isinstance(pointer, Pointer)
        return pointer

    def _logits(self, x: Tensor, part: ActionPart, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        logits = F.linear(normed_linear(x, self.query.weight), table) + self.bias[offset : offset + part.size]
        return logits if logits.dtype == torch.float64 else logits.float()

    def _chosen(self, wanted: Tensor, part: ActionPart, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        return wanted.to(table.dtype) @ table if wanted.is_floating_point() else table[wanted]


def _unwanted(decided: np.ndarray, barred: set[tuple[int, int, int]]) -> list[int]:
    """Return what the next number may not be, given those decided before it."""
    first = decided[:2].tolist()
    if len(decided) == 1:
        return [element for verb, element, then in barred if verb == first[0] and then == SKIPPED]
    if len(decided) > 1 and (decided[2:] == SKIPPED).all():
        return [then for verb, element, then in barred if [verb, element] == first and then != SKIPPED]
    return []


def _numbers(logits: Tensor, drawn: Tensor, part: ActionPart, greedy: bool) -> np.ndarray:
    """Turn options `[S]` into numbers: the index chosen; for bins their mean, or the one drawn."""
    if part.kind == "choice":
        return drawn.numpy().astype(np.float64) + part.low
    places = torch.arange(part.size, dtype=torch.float64)
    place = logits.double().softmax(-1) @ places if greedy else places[drawn]
    number = part.low + place.numpy() / (part.size - 1) * (part.high - part.low)
    return np.clip(number, part.low, part.high)  # rounding may step over the bound
