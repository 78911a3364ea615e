"""Tokens: embed the observation and instruction of every step, of any kind, and pack them step by step."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from .devices import to_device
from .encoding import (
    GRID_VALUES,
    Encoding,
    ObservationSpec,
    feature_count,
    ground_and_things,
    quantile_features,
)
from .image_encoder import FeatureEmbedding, ImageEmbedding, ImageEncoder, PatchEmbedding
from .images.pretrained import FeatureNetwork, is_network
from .pointer import TokenPool
from .transformer import Packing, pack
from .web.page_tokens import GAP, PageEmbedding
from .word_embedding import WordEmbedding

Piece = tuple[Tensor, np.ndarray]
"""Tokens `[M, d]` and the step that each belongs to `[M]`."""

SCALE = 0.3  # standard deviation of fresh tables


@dataclass(frozen=True)
class EmbeddedBatch:
    """The observations of a batch as packed tokens `[N, d]`, one sequence a step.

    `back` `[S]` is the packed index of each step. `positions` `[N]` are the positions of words and elements
    on their page (None without pages). `places` maps each task with pages to the tokens that actions can
    point at, by kind: their rows, and how many each step has.
    """

    tokens: Tensor
    packing: Packing
    back: Tensor
    positions: Tensor | None
    places: Mapping[str, Mapping[str, tuple[Tensor, np.ndarray]]]

    def pools(self, tasks: Sequence[str], tokens: Tensor) -> dict[str, TokenPool]:
        """Return the tokens that actions of tasks can point at, by kind; `tokens` `[N, d]` are encoded."""
        places = [self.places[task] for task in tasks if task in self.places]
        pools = {}
        for kind in places[0] if places else ():
            rows = torch.cat([place[kind][0] for place in places])
            counts = np.concatenate([place[kind][1] for place in places])
            pools[kind] = TokenPool(tokens.index_select(0, rows), counts)
        return pools


class ObservationEmbedding(nn.Module):
    """Embed the observations of all tasks of a batch as one packed sequence of tokens.

    A step's first token is the summary, a learned row (plus what images show) whose encoder output represents
    the step.
    """

    def __init__(
        self, encoding: Encoding, width: int, features: str = "none", augmentation: str = "none"
    ) -> None:
        super().__init__()
        self.encoding, self.augmentation = encoding, augmentation
        self.summary = nn.Parameter(torch.randn(width) * SCALE)
        self.words = WordEmbedding(width)
        # one network for all cameras; `features` are those of `pretrained.FEATURES`
        self.features = FeatureNetwork(features) if is_network(features) else None
        self.leaves = nn.ModuleList(
            nn.ModuleList(self._leaf(spec, width, features) for spec in interface.seen if spec.kind != "text")
            for interface in encoding.interfaces
        )
        for module in self.modules():
            if isinstance(module, nn.Embedding | nn.EmbeddingBag):
                nn.init.normal_(module.weight, std=SCALE)

    def _leaf(self, spec: ObservationSpec, width: int, features: str) -> nn.Module:
        if spec.kind == "page":
            return PageEmbedding(width)
        if spec.kind != "image":
            return _LEAVES[spec.kind](spec, width)
        if not spec.layout or features == "patches":
            return PatchEmbedding(spec, width, self.augmentation)
        if self.features is not None:
            return FeatureEmbedding(spec, width, self.augmentation, self.features)
        return ImageEncoder(spec, width, self.augmentation)

    def forward(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> EmbeddedBatch:
        """Embed observations: task id → leaf path → `[S, ...]`."""
        pieces: list[Piece] = []
        positions: list[np.ndarray] = []
        pointed: dict[str, dict[str, tuple[np.ndarray, np.ndarray]]] = {}
        # number of steps embedded so far, over all tasks
        base = 0
        page_pieces = self._read_pages(observations)
        for task, leaves in observations.items():
            count = len(next(iter(leaves.values())))
            # first row of the task in the concatenated, not yet packed tokens
            begin = sum(len(step) for _, step in pieces)
            task_pieces = page_pieces.get(task) or self._pieces(task, leaves, count)
            pieces += [(tokens, base + step) for tokens, step in task_pieces]
            places = [np.zeros(len(step), np.int64) for _, step in task_pieces]
            if self._pages(task) is not None:
                # tokens per step `[S]`; rotary positions: summary 0, words 1.., elements after a gap
                words, elements = (np.bincount(step, minlength=count) for _, step in task_pieces[1:])
                places[1], places[2] = (
                    1 + _index_within_groups(words),
                    1 + GAP + _index_within_groups(elements) + words[task_pieces[2][1]],
                )
                # skip the summaries: one row a step
                begin += count
                pointed[task] = {
                    "word": (np.arange(begin, begin + words.sum()), words),
                    "element": (np.arange(elements.sum()) + begin + words.sum(), elements),
                }
            positions += places
            base += count
        device = self.summary.device
        # from pieces (grouped by kind) to sequences (grouped by step, sorted by length)
        step = np.concatenate([steps for _, steps in pieces])
        packing, order = pack(np.bincount(step, minlength=base))
        rank = np.empty(base, np.int64)
        rank[order] = np.arange(base)
        place = np.argsort(rank[step], kind="stable")  # stable: the summary stays the first token
        rows = torch.cat([tokens for tokens, _ in pieces]).index_select(0, to_device(place, device))
        # inverse permutation: unpacked row → packed row
        back = np.empty_like(place)
        back[place] = np.arange(len(place))
        return EmbeddedBatch(
            rows,
            packing,
            to_device(rank, device),
            to_device(np.concatenate(positions)[place], device) if pointed else None,
            {
                task: {
                    kind: (to_device(back[rows], device), counts) for kind, (rows, counts) in kinds.items()
                }
                for task, kinds in pointed.items()
            },
        )

    def _pages(self, task: str) -> PageEmbedding | None:
        module = next(iter(self.leaves[self.encoding.tasks[task][0]].children()), None)
        return module if isinstance(module, PageEmbedding) else None

    def _read_pages(self, observations: Mapping[str, Mapping[str, np.ndarray]]) -> dict[str, list[Piece]]:
        """Embed the pages of all tasks in one call; returns each task's pieces: summary, words, elements."""
        tasks = [task for task in observations if self._pages(task) is not None]
        if not tasks or (pages := self._pages(tasks[0])) is None:
            return {}
        instructions: list[str] = []
        documents: list[str] = []
        for task in tasks:
            documents += (task_documents := list(observations[task]["elements"]))
            fixed = self.encoding.tasks[task][1]
            instructions += (
                [fixed] * len(task_documents) if fixed else map(str, observations[task]["instruction"])
            )
        words, word_counts, elements, element_counts = pages(instructions, documents)
        # steps of each task
        sizes = [len(observations[task]["elements"]) for task in tasks]
        pieces: dict[str, list[Piece]] = {}
        by_task = [_split_by_task(words, word_counts, sizes), _split_by_task(elements, element_counts, sizes)]
        for task, count, word_piece, element_piece in zip(tasks, sizes, *by_task, strict=True):
            pieces[task] = [(self.summary.expand(count, -1), np.arange(count)), word_piece, element_piece]
        return pieces

    def _pieces(self, task: str, leaves: Mapping[str, np.ndarray], count: int) -> list[Piece]:
        index, instruction = self.encoding.tasks[task]
        steps = np.arange(count)
        summary = self.summary.expand(count, -1)
        pieces: list[Piece] = []
        if instruction:
            # a fixed instruction is the same at every step: one mean token suffices
            words, _ = self.words([instruction])
            pieces.append((words.mean(0).expand(count, -1), steps))
        seen = self.encoding.interfaces[index].seen
        pieces += [self._embed_texts(np.asarray(leaves[spec.path])) for spec in seen if spec.kind == "text"]
        said = _mean_by_step(pieces, count)
        modules = iter(list(self.leaves[index].children()))
        for spec in seen:
            if spec.kind == "text":
                continue
            values, module = np.asarray(leaves[spec.path]), next(modules)
            if isinstance(module, PatchEmbedding):
                tokens = module(values)
                pieces.append((tokens.flatten(0, 1), np.repeat(steps, tokens.shape[1])))
            elif isinstance(module, ImageEmbedding):
                network = {} if self.features is None else {"features": self.features}
                token = module(values, said, **network)
                # also added to the summary, which would have to learn to attend to it first
                summary = summary + token
                pieces.append((token, steps))
            else:
                pieces += module(values)
        return [(summary, steps), *pieces]

    def _embed_texts(self, texts: np.ndarray) -> Piece:
        """Embed each distinct sentence once and copy its word tokens to every step that has it."""
        sentences, inverse = np.unique(texts.astype(str), return_inverse=True)
        words, counts = self.words([str(sentence) for sentence in sentences])
        starts = np.cumsum(counts) - counts
        lengths = counts[inverse]
        steps = np.repeat(np.arange(len(texts)), lengths)
        within = np.arange(len(steps)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        # rows of each step's sentence in `words`, word by word
        rows = to_device(np.repeat(starts[inverse], lengths) + within, words.device)
        return words.index_select(0, rows), steps


class _GridEmbedding(nn.Module):
    """A symbol grid: one token for the ground, one for each object on it."""

    def __init__(self, spec: ObservationSpec, width: int) -> None:
        super().__init__()
        cells = int(np.prod(spec.shape[:2]))
        self.spec, channels = spec, len(spec.common[0])
        self.ground = nn.Linear(cells * len(spec.common), width, bias=False)
        self.values = nn.Embedding(channels * GRID_VALUES, width)
        self.places = nn.Embedding(cells, width)
        self.shift = np.arange(channels) * GRID_VALUES

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        # the ground is a dense vector, objects are sparse: their number varies by step
        ground, step, cell, things = ground_and_things(self.spec, values)
        yield self.ground(_to_tensor(self.ground.weight, ground)), np.arange(len(values))
        device = self.ground.weight.device
        rows = to_device(things + self.shift, device)
        # an object is the sum of its channel values and its cell
        yield self.values(rows).sum(1) + self.places(to_device(cell, device)), step


class _DiscreteEmbedding(nn.Module):
    """Discrete numbers: one token each."""

    def __init__(self, spec: ObservationSpec, width: int) -> None:
        super().__init__()
        self.sizes, self.low = np.array(spec.sizes), np.array(spec.low)
        # each number has its own block of rows in one table
        self.begin = np.cumsum(self.sizes) - self.sizes
        self.table = nn.Embedding(int(self.sizes.sum()), width)

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        # values outside the fitted range share the nearest row
        numbers = np.clip(values.reshape(len(values), -1) - self.low, 0, self.sizes - 1) + self.begin
        tokens = self.table(to_device(numbers.astype(np.int64), self.table.weight.device))
        yield tokens.flatten(0, 1), np.repeat(np.arange(len(values)), len(self.sizes))


class _VectorEmbedding(nn.Module):
    """A vector of numbers: one token."""

    def __init__(self, spec: ObservationSpec, width: int) -> None:
        super().__init__()
        self.spec = spec
        self.features = nn.Linear(feature_count(spec), width)

    def forward(self, values: np.ndarray) -> Iterator[Piece]:
        features = quantile_features(self.spec, values)
        yield self.features(_to_tensor(self.features.weight, features)), np.arange(len(values))


_LEAVES = {
    "grid": _GridEmbedding,
    "discrete": _DiscreteEmbedding,
    "vector": _VectorEmbedding,
}


def _mean_by_step(pieces: Sequence[Piece], count: int) -> Tensor | None:
    """Return the mean token of each of `count` steps, `[count, d]`; None of no pieces."""
    if not pieces:
        return None
    tokens = torch.cat([tokens for tokens, _ in pieces])
    steps = np.concatenate([steps for _, steps in pieces])
    sums = tokens.new_zeros(count, tokens.shape[1]).index_add(0, to_device(steps, tokens.device), tokens)
    counts = np.maximum(np.bincount(steps, minlength=count), 1)[:, None]
    return sums / to_device(counts, tokens.device)


def _split_by_task(tokens: Tensor, counts: np.ndarray, sizes: Sequence[int]) -> list[Piece]:
    """Split tokens among tasks: `counts` `[S]` tokens of each step, `sizes` steps of each task."""
    task_counts = np.split(counts, np.cumsum(sizes)[:-1])
    task_tokens = tokens.split([int(step_counts.sum()) for step_counts in task_counts])
    return [
        (tokens_of_task, np.repeat(np.arange(len(step_counts)), step_counts))
        for tokens_of_task, step_counts in zip(task_tokens, task_counts, strict=True)
    ]


def _index_within_groups(counts: np.ndarray) -> np.ndarray:
    """Return the index of each row within its group, given group sizes `[G]`; groups lie end to end."""
    return np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)


def _to_tensor(weight: Tensor, values: np.ndarray) -> Tensor:
    return to_device(values, weight.device).to(weight.dtype)
