"""Embed pages with their instructions: one token a word, one token an element."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..devices import to_device
from ..word_embedding import BUCKETS
from .page_features import (
    AMOUNTS,
    ATTRIBUTES,
    ELEMENT_SIZES,
    NAMES,
    WORD_SIZES,
    IndexBags,
    PageFeatures,
    extract_features,
)

GAP = 8
"""Positions between the last word and the first element, so that elements are near each other, not words."""

DISGUISED = 0.15
"""Share of the word types whose embeddings are swapped in a training batch (see `PageEmbedding`)."""


class PageEmbedding(nn.Module):
    """Embed words on the page, in fields and in the instruction with one table; features are added.

    Augmentation: per batch, 15 % of the word types use other rows of the table, consistently across page and
    instruction, so that the policy learns to match words, not to memorize them.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.grams = nn.EmbeddingBag(BUCKETS, width, mode="mean")
        self.attributes = nn.EmbeddingBag(ATTRIBUTES, width, mode="mean")
        self.beside = nn.EmbeddingBag(ATTRIBUTES, width, mode="mean")
        self.words = nn.Embedding(sum(WORD_SIZES), width)
        self.elements = nn.Embedding(sum(ELEMENT_SIZES), width)
        self.amounts = nn.Linear(AMOUNTS, width)
        # values, parents and groups use the same embeddings through matrices of their own
        self.held = nn.Linear(width, width, bias=False)
        self.inside = nn.Linear(width, width, bias=False)
        self.among = nn.Linear(width, width, bias=False)

    def forward(
        self, instructions: Sequence[str], documents: Sequence[str]
    ) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
        """Return word tokens `[sum W, d]`, W of each step, element tokens `[sum E, d]` and E of each step."""
        steps = [extract_features(*pair) for pair in zip(instructions, documents, strict=True)]
        row_shift = _draw_row_shifts() if self.training else None
        instruction = _bag_means(self.grams, [step.instruction for step in steps], row_shift)
        words = instruction + _summed_rows(
            self.words, WORD_SIZES, np.concatenate([step.words for step in steps])
        )
        content = (
            _bag_means(self.grams, [step.text for step in steps], row_shift)
            + self.held(_bag_means(self.grams, [step.value for step in steps], row_shift))
            + _bag_means(self.attributes, [step.attributes for step in steps])
            + _bag_means(self.beside, [step.beside for step in steps])
        )
        amounts = to_device(np.concatenate([step.amounts for step in steps]), content.device)
        content = content + self.amounts(amounts.to(content.dtype))
        # one step of message passing: parent and group contribute what they are by themselves
        elements = content + self.inside(_parent_content(content, [step.parents for step in steps]))
        elements = elements + self.among(_group_means(content, steps))
        elements = elements + _summed_rows(
            self.elements, ELEMENT_SIZES, np.concatenate([step.elements for step in steps])
        )
        counts = [np.array([len(getattr(step, name)) for step in steps]) for name in ("words", "elements")]
        # counts let the caller assign tokens to steps
        return words, counts[0], elements, counts[1]


def _draw_row_shifts() -> np.ndarray:
    """Draw the row shift of each word type, int64 `[NAMES]`: 0 for most."""
    hidden = torch.rand(NAMES) < DISGUISED
    shift: np.ndarray = torch.where(hidden, torch.randint(1, BUCKETS, (NAMES,)), 0).numpy()
    return shift


def _bag_means(table: nn.EmbeddingBag, bags: Sequence[IndexBags], shift: np.ndarray | None = None) -> Tensor:
    """Return the mean of the rows of each bag `[bags, d]`; rows of word w are shifted by `shift[w]`."""
    rows, begins = _concatenated(bags)
    if shift is not None:
        rows = (rows + shift[np.concatenate([bag.names for bag in bags])]) % BUCKETS
    mean: Tensor = table(*(to_device(indices, table.weight.device) for indices in (rows, begins)))
    return mean


def _summed_rows(table: nn.Embedding, sizes: Sequence[int], columns: np.ndarray) -> Tensor:
    """Return the sum `[M, d]` of one table row for each integer of `columns` `[M, len(sizes)]`."""
    # each integer has its own block of rows
    shift = np.cumsum(sizes) - sizes
    rows = to_device(columns.astype(np.int64) + shift, table.weight.device)
    total: Tensor = table(rows).sum(1)
    return total


def _parent_content(content: Tensor, parents: Sequence[np.ndarray]) -> Tensor:
    """Return the content of each element's parent `[sum E, d]`, zeros for a root."""
    sizes = np.array([len(step_parents) for step_parents in parents])
    # first element of each step in the batch
    base = np.cumsum(sizes) - sizes
    rows = np.concatenate(
        [
            np.where(step_parents >= 0, step_parents + start, -1)
            for step_parents, start in zip(parents, base, strict=True)
        ]
    )
    has_parent = to_device(rows >= 0, content.device).to(content.dtype)[:, None]
    return content.index_select(0, to_device(np.maximum(rows, 0), content.device)) * has_parent


def _group_means(content: Tensor, steps: Sequence[PageFeatures]) -> Tensor:
    """Return the mean content of each element's group `[sum E, d]`, zeros for an empty group."""
    bags = [step.group for step in steps]
    rows, begins = _concatenated(bags)
    elements = np.array([len(step.parents) for step in steps])
    # element indices are those of a step: make them those of the batch
    rows += np.repeat(np.cumsum(elements) - elements, [len(bag.rows) for bag in bags])
    indices, offsets = (to_device(array, content.device) for array in (rows, begins))
    return F.embedding_bag(indices, content, offsets, mode="mean")


def _concatenated(bags: Sequence[IndexBags]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all bags, end to end, and the first row of each bag."""
    sizes = np.array([len(bag.rows) for bag in bags])
    begins = [bag.begins + start for bag, start in zip(bags, np.cumsum(sizes) - sizes, strict=True)]
    return np.concatenate([bag.rows for bag in bags]).astype(np.int64), np.concatenate(begins)
