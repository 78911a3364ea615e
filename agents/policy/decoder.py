"""The action decoder: one summary → the numbers of an action, part by part, legal choices only."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .action_parts import POINTING, SKIPPED, ActionPart, targets
from .action_sampling import SamplingSettings, pick
from .devices import to_device
from .encoding import IOSpec
from .fused_ops import normed_linear
from .pointer import Pointer, TokenPool


class Decoder(nn.Module):
    """Autoregressive decoder with one option table for all interfaces.

    Each interface owns a block of rows, so options of other tasks cannot be chosen. Parts are decided in
    order: the vector of each choice is added to the input of the next part. Pointing parts (`element`,
    `word`) choose among the step's own tokens instead of table rows. A part that only some verbs have is
    decided for those verbs, and is `SKIPPED` for all others.
    """

    def __init__(self, interfaces: Sequence[IOSpec], width: int) -> None:
        super().__init__()
        sizes = [interface.option_counts for interface in interfaces]
        # first table row of every part, by interface
        self.offsets: list[list[int]] = []
        total = 0
        for row in sizes:
            self.offsets.append([total + int(offset) for offset in np.cumsum([0, *row[:-1]])])
            total += sum(row)
        self.options = nn.Embedding(total, width)
        self.bias = nn.Parameter(torch.zeros(total))
        self.query = nn.Linear(width, width, bias=False)
        self.pointers = nn.ModuleDict(
            {
                f"{index}-{place}": Pointer(width, none=part.kind == "element")
                for index, interface in enumerate(interfaces)
                for place, part in enumerate(interface.parts)
                if part.kind in POINTING
            }
        )
        # the usual scale of a dot product over `width`: logits start at order 1
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

        `pools` are the tokens that can be pointed at, by kind of part.
        """
        total = torch.zeros(len(x), dtype=torch.float32, device=x.device)
        for place, part in enumerate(interface.parts):
            column = actions[:, place]
            # None: the part is decided in every step, no indexing needed
            decided = np.flatnonzero(column != SKIPPED) if part.verbs or part.kind in POINTING else None
            if decided is None or len(decided) == len(x):
                loss, chosen = self._teach(x, part, (index, place), column, pools)
                total = total + loss
            elif not len(decided):
                continue
            else:
                rows = to_device(decided, x.device)
                step_pools = {
                    kind: pool.of(decided) for kind, pool in (pools or {}).items() if kind == part.kind
                }
                loss, chosen = self._teach(
                    x.index_select(0, rows), part, (index, place), column[decided], step_pools
                )
                # steps without this part keep their loss and their input
                total = total.index_add(0, rows, loss)
                chosen = torch.zeros_like(x).index_add(0, rows, chosen)
            if place + 1 < len(interface.parts):
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
        """Return actions `[S, k]`, the most likely or sampled; `legal` bool `[S, n]` masks a single choice.

        `barred` `[S]` are excluded triples: the first choice, its element, and the part decided after these
        two, which is SKIPPED where verb and element alone are excluded. `probabilities` receives, part after
        part, the first step's distribution over the options; None where a part points or is skipped.
        """
        numbers = np.full((len(x), len(interface.parts)), SKIPPED)
        if probabilities is not None:
            probabilities[:] = [None] * len(interface.parts)
        for place, part in enumerate(interface.parts):
            deciding = np.arange(len(x))
            if part.verbs:
                deciding = np.flatnonzero(np.isin(numbers[:, 0], part.verbs))
            if not len(deciding):
                continue
            rows = to_device(deciding, x.device)
            inputs = x.index_select(0, rows)
            barred_options = (
                [_barred_next(numbers[i, :place], barred[i]) for i in deciding.tolist()] if barred else None
            )
            if part.kind in POINTING:
                pool = (pools or {})[part.kind].of(deciding)
                # the last word of a range is not before its first
                least = numbers[deciding, place - 1] if part.after else np.full(len(deciding), part.low)
                pointer = self._pointer(index, place)
                column = pointer.choose(inputs, pool, draw, least, barred_options).astype(np.float64)
                chosen = pointer.chosen(pool, column.astype(np.int64))
            else:
                # a task's action mask covers a single Discrete space only
                mask = legal if len(interface.parts) == 1 and part.kind == "choice" else None
                if barred_options and any(barred_options):
                    mask = torch.ones(len(deciding), part.size, dtype=torch.bool)
                    for row, options in enumerate(barred_options):
                        mask[row, [int(option - part.low) for option in options]] = False
                column, chosen, logits = self._decide(inputs, part, self.offsets[index][place], draw, mask)
                if probabilities is not None and deciding[0] == 0:
                    probabilities[place] = logits[0].double().softmax(-1).numpy()
            numbers[deciding, place] = column
            if place + 1 < len(interface.parts):
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
        """Return the cross entropy `[S]` of one part, and the vector `[S, d]` that its target adds."""
        index, position = place
        if part.kind in POINTING:
            pool, indices = (pools or {})[part.kind], column.astype(np.int64)
            pointer = self._pointer(index, position)
            return pointer.loss(x, pool, indices), pointer.chosen(pool, indices)
        logits = self._logits(x, part, self.offsets[index][position])
        target = to_device(targets(part, column), x.device)
        # two-hot targets of bins; indices of a choice stay int64
        if target.is_floating_point():
            target = target.to(logits.dtype)
        loss = F.cross_entropy(logits, target, reduction="none")
        return loss, self._chosen(target, part, self.offsets[index][position])

    def _decide(
        self,
        x: Tensor,
        part: ActionPart,
        offset: int,
        draw: SamplingSettings | None,
        legal: Tensor | None,
    ) -> tuple[np.ndarray, Tensor, Tensor]:
        logits = self._logits(x, part, offset).cpu()  # choices are made, and drawn, by the processor
        if legal is not None:
            any_legal = legal.any(-1, keepdim=True)  # a mask without a legal option is ignored
            logits = logits.masked_fill(~legal & any_legal, -torch.inf)
        column = _numbers(logits, pick(logits, draw), part, draw is None)
        target = to_device(targets(part, column), x.device)
        option = self._chosen(target.to(x.dtype) if part.kind == "bins" else target, part, offset)
        return column, option, logits

    def _pointer(self, index: int, place: int) -> Pointer:
        pointer = self.pointers[f"{index}-{place}"]
        assert isinstance(pointer, Pointer)
        return pointer

    def _logits(self, x: Tensor, part: ActionPart, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        # `[S, d]` @ `[d, size]`: only the rows of this part
        logits = F.linear(normed_linear(x, self.query.weight), table) + self.bias[offset : offset + part.size]
        # cross entropy in bfloat16 would be too coarse
        return logits if logits.dtype == torch.float64 else logits.float()

    def _chosen(self, target: Tensor, part: ActionPart, offset: int) -> Tensor:
        table = self.options.weight[offset : offset + part.size]
        # bins add the mean of their rows, a choice adds its row
        return target.to(table.dtype) @ table if target.is_floating_point() else table[target]


def _barred_next(decided: np.ndarray, barred: set[tuple[int, int, int]]) -> list[int]:
    """Return the excluded values of the next number, given those decided before it."""
    first = decided[:2].tolist()
    # the element, where verb and element alone are excluded
    if len(decided) == 1:
        return [element for verb, element, then in barred if verb == first[0] and then == SKIPPED]
    # the first number after the element: a word, a letter, a key or an amount
    if len(decided) > 1 and (decided[2:] == SKIPPED).all():
        return [then for verb, element, then in barred if [verb, element] == first and then != SKIPPED]
    return []


def _numbers(logits: Tensor, drawn: Tensor, part: ActionPart, greedy: bool) -> np.ndarray:
    """Turn options `[S]` into numbers: the chosen index; for bins their mean if greedy, else the sample."""
    if part.kind == "choice":
        return drawn.numpy().astype(np.float64) + part.low
    places = torch.arange(part.size, dtype=torch.float64)
    place = logits.double().softmax(-1) @ places if greedy else places[drawn]
    number = part.low + place.numpy() / (part.size - 1) * (part.high - part.low)
    return np.clip(number, part.low, part.high)  # rounding may exceed the bound
