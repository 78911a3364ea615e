"""Tokens: what is seen and said at every step, embedded and packed step by step, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .encoding import (
    GRID_VALUES,
    Encoding,
    ObservationSpec,
    feature_count,
    ground_and_things,
    patches,
    quantile_features,
)
from .pointer import TokenPool
from .transformer import Packing, pack
from .web.page_tokens import GAP, PageEmbedding
from .word_embedding import WordEmbedding

Piece = tuple[Tensor, np.ndarray]
"""Tokens `[M, d]` and the step that each belongs to `[M]`."""

SCALE = 0.3  # standard deviation of fresh tables


@dataclass(frozen=True)
class EmbeddedBatch:
    """All that is seen in a batch: tokens `[N, d]`, a sequence a step, and where each step went `[S]`.

    `positions` `[N]` say where a word or an element stands on its page (None where there are no pages).
    `places` say for each task with pages which of the tokens can be pointed at, by kind: their rows, and
    how many each step has.
    """

    tokens: Tensor
    packing: Packing
    back: Tensor
    positions: Tensor | None
    places: Mapping[str, Mapping[str, tuple[Tensor, np.ndarray]]]

    def pools(self, tasks: Sequence[str], tokens: Tensor) -> dict[str, TokenPool]:
        """Return what can be pointed at in the steps of tasks, given what has become of the tokens."""
        some = [self.places[task] for task in tasks if task in self.places]
        pools = {}
        for kind in some[0] if some else ():
            rows = torch.cat([one[kind][0] for one in some])
            counts = np.concatenate([one[kind][1] for one in some])
            pools[kind] = TokenPool(tokens.index_select(0, rows), counts)
        return pools


class ObservationEmbedding(nn.Module):
    """Embed the observations of all tasks of a batch as one packed line of tokens.

    A step's first token is the summary, a learned row that gathers what the step means.
    """

    def __init__(self, encoding: Encoding, width: int) -> None:
        super().__init__()
        self.encoding = encoding
        self.summary = nn.Parameter(torch.randn(width) * SCALE)
        self.words = WordEmbedding(width)
        self.leaves = nn.ModuleList(
            nn.ModuleList(
                PageEmbedding(width) if seen.kind == "page" else _LEAVES[seen.kind](seen, width)
                for seen in one.seen
                if seen.kind != "text"
            )
            for one in encoding.interfaces
        )
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                nn.init.normal_(module.weight, std=SCALE)

    def forward(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> EmbeddedBatch:
        """Embed what is seen in steps of several tasks, task after task."""
        pieces: list[Piece] = []
        positions: list[np.ndarray] = []
        pointed: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        base = 0
        shown = self._read_pages(observations)
        for task, leaves in observations.items():
            count = len(next(iter(leaves.values())))
            begin = sum(len(step) for _, step in pieces)
            own = shown.get(task) or list(self._pieces(task, leaves, count))
            pieces += [(tokens, base + step) for tokens, step in own]
            places = [np.zeros(len(step), np.int64) for _, step in own]
            if self._pages(task) is not None:
                words, elements = (np.bincount(step, minlength=count) for _, step in own[1:])
                places[1], places[2] = 1 + _within(words), 1 + GAP + _within(elements) + words[own[2][1]]
                begin += count
                pointed[task] = {
                    "word": (np.arange(begin, begin + words.sum()), words),
                    "element": (np.arange(elements.sum()) + begin + words.sum(), elements),
                }
            positions += places
            base += count
        step = np.concatenate([one for _, one in pieces])
        packing, order = pack(np.bincount(step, minlength=base))
        rank = np.empty(base, np.int64)
        rank[order] = np.arange(base)
        place = np.argsort(rank[step], kind="stable")  # stable: the summary stays first
        rows = torch.cat([one for one, _ in pieces]).index_select(0, torch.from_numpy(place))
        back = np.empty_like(place)
        back[place] = np.arange(len(place))
        return EmbeddedBatch(
            rows,
            packing,
            torch.from_numpy(rank),
            torch.from_numpy(np.concatenate(positions)[place]) if pointed else None,
            {
                task: {kind: (torch.from_numpy(back[some]), counts) for kind, (some, counts) in kinds.items()}
                for task, kinds in pointed.items()
            },
        )

    def _pages(self, task: str) -> PageEmbedding | None:
        one = next(iter(self.leaves[self.encoding.tasks[task][0]].children()), None)
        return one if isinstance(one, PageEmbedding) else None

    def _read_pages(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[Piece]]:
        """Embed the pages of all tasks that have some at once; returns each task's pieces."""
        tasks = [task for task in observations if self._pages(task) is not None]
        if not tasks or (pages := self._pages(tasks[0])) is None:
            return {}
        said: list[str] = []
        documents: list[str] = []
        for task in tasks:
            documents += (own := list(observations[task]["elements"]))
            fixed = self.encoding.tasks[task][1]
            said += [fixed] * len(own) if fixed else map(str, observations[task]["instruction"])
        words, spoken, elements, shown = pages(said, documents)
        sizes = [len(observations[task]["elements"]) for task in tasks]
        each: dict[str, list[Piece]] = {}
        both = [_cut(words, spoken, sizes), _cut(elements, shown, sizes)]
        for task, count, spoke, showed in zip(tasks, sizes, *both, strict=True):
            each[task] = [(self.summary.expand(count, -1), np.arange(count)), spoke, showed]
        return each

    def _pieces(self, task: str, leaves: Mapping[str, np.ndarray], count: int) -> Iterator[Piece]:
        index, instruction = self.encoding.tasks[task]
        steps = np.arange(count)
        yield self.summary.expand(count, -1), steps
        if instruction:
            # the same words at every step: one token that is their mean
            words, _ = self.words([instruction])
            yield words.mean(0).expand(count, -1), steps
        modules = iter(list(self.leaves[index].children()))
        for seen in self.encoding.interfaces[index].seen:
            values = np.asarray(leaves[seen.path])
            if seen.kind == "text":
                yield self._said(values)
            else:
                yield from next(modules)(values)

    def _said(self, texts: np.ndarray) -> Piece:
        """Embed each different sentence once, and lay its words out wherever it was said."""
        different, which = np.unique(texts.astype(str), return_inverse=True)
        words, counts = self.words([str(one) for one in different])
        begins = np.cumsum(counts) - counts
        own = counts[which]
        steps = np.repeat(np.arange(len(texts)), own)
        within = np.arange(len(steps)) - np.repeat(np.cumsum(own) - own, own)
        rows = torch.from_numpy(np.repeat(begins[which], own) + within)
        return words.index_select(0, rows), steps


class _GridEmbedding(nn.Module):
    """A symbol grid: one token for the ground, one for each thing on it."""

    def __init__(self, seen: ObservationSpec, width: int) -> None:
        super().__init__()
        cells = int(np.prod(seen.shape[:2]))
        self.seen, channels = seen, len(seen.common[0])
        self.ground = nn.Linear(cells * len(seen.common), width, bias=False)
        self.values = nn.Embedding(channels * GRID_VALUES, width)
        self.places = nn.Embedding(cells, width)
        self.shift = np.arange(channels) * GRID_VALUES

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        ground, step, cell, things = ground_and_things(self.seen, values)
        yield self.ground(_like(self.ground.weight, ground)), np.arange(len(values))
        rows = torch.from_numpy(things + self.shift)
        yield self.values(rows).sum(1) + self.places(torch.from_numpy(cell)), step


class _PatchEmbedding(nn.Module):
    """An image: a token a patch."""

    def __init__(self, seen: ObservationSpec, width: int) -> None:
        super().__init__()
        height, across, channels = seen.shape
        count = -(-height // seen.patch) * -(-across // seen.patch)
        self.seen = seen
        self.patch = nn.Linear(seen.patch**2 * channels, width, bias=False)
        self.places = nn.Embedding(count, width)

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        cut = patches(self.seen, values)
        tokens = self.patch(_like(self.patch.weight, cut)) + self.places.weight
        yield tokens.flatten(0, 1), np.repeat(np.arange(len(values)), cut.shape[1])


class _DiscreteEmbedding(nn.Module):
    """Discrete numbers: a token each."""

    def __init__(self, seen: ObservationSpec, width: int) -> None:
        super().__init__()
        self.sizes, self.low = np.array(seen.sizes), np.array(seen.low)
        self.begin = np.cumsum(self.sizes) - self.sizes
        self.table = nn.Embedding(int(self.sizes.sum()), width)

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        numbers = np.clip(values.reshape(len(values), -1) - self.low, 0, self.sizes - 1) + self.begin
        tokens = self.table(torch.from_numpy(numbers.astype(np.int64)))
        yield tokens.flatten(0, 1), np.repeat(np.arange(len(values)), len(self.sizes))


class _VectorEmbedding(nn.Module):
    """A vector of numbers: one token."""

    def __init__(self, seen: ObservationSpec, width: int) -> None:
        super().__init__()
        self.seen = seen
        self.features = nn.Linear(feature_count(seen), width)

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        features = quantile_features(self.seen, values)
        yield self.features(_like(self.features.weight, features)), np.arange(len(values))


_LEAVES = {
    "grid": _GridEmbedding,
    "image": _PatchEmbedding,
    "discrete": _DiscreteEmbedding,
    "vector": _VectorEmbedding,
}


def _cut(tokens: Tensor, counts: np.ndarray, sizes: Sequence[int]) -> list[Piece]:
    """Share out tokens, `counts` of each step, among tasks of `sizes` steps."""
    own = np.split(counts, np.cumsum(sizes)[:-1])
    parts = tokens.split([int(one.sum()) for one in own])
    return [(part, np.repeat(np.arange(len(one)), one)) for part, one in zip(parts, own, strict=True)]


def _within(counts: np.ndarray) -> np.ndarray:
    """Number the rows of each group from 0, groups end to end."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _like(weight: Tensor, values: np.ndarray) -> Tensor:
    return torch.from_numpy(values).to(weight.dtype)
