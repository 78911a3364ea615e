"""Pages and their instructions, embedded: a token a word of what is asked, a token an element of the page."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

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
"""Places between the last word and the first element: elements are near each other, not near words."""


DISGUISED = 0.15
"""Share of the words that read as others do while training, for one batch, wherever they stand."""


class PageEmbedding(nn.Module):
    """Words on the page, in fields and in the instruction share one table; what they are in is added.

    A word in disguise still meets itself: what is learned is to look for what was said, whatever it is.
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.grams = nn.EmbeddingBag(BUCKETS, width, mode="mean")
        self.attributes = nn.EmbeddingBag(ATTRIBUTES, width, mode="mean")
        self.beside = nn.EmbeddingBag(ATTRIBUTES, width, mode="mean")
        self.words = nn.Embedding(sum(WORD_SIZES), width)
        self.elements = nn.Embedding(sum(ELEMENT_SIZES), width)
        self.amounts = nn.Linear(AMOUNTS, width)
        self.held = nn.Linear(width, width, bias=False)
        self.inside = nn.Linear(width, width, bias=False)
        self.among = nn.Linear(width, width, bias=False)

    def forward(
        self, instructions: Sequence[str], documents: Sequence[str]
    ) -> tuple[Tensor, np.ndarray, Tensor, np.ndarray]:
        """Return the words' tokens `[sum W, d]`, W of each step, the elements' `[sum E, d]` and E of each."""
        steps = [extract_features(*one) for one in zip(instructions, documents, strict=True)]
        shift = _disguises() if self.training else None
        said = _bag(self.grams, [one.said for one in steps], shift)
        words = said + _sum(self.words, WORD_SIZES, np.concatenate([one.words for one in steps]))
        own = (
            _bag(self.grams, [one.text for one in steps], shift)
            + self.held(_bag(self.grams, [one.value for one in steps], shift))
            + _bag(self.attributes, [one.attributes for one in steps])
            + _bag(self.beside, [one.beside for one in steps])
        )
        amounts = torch.from_numpy(np.concatenate([one.amounts for one in steps])).to(own.dtype)
        own = own + self.amounts(amounts)
        elements = own + self.inside(_parents(own, [one.parents for one in steps]))
        elements = elements + self.among(_fellows(own, steps))
        elements = elements + _sum(
            self.elements, ELEMENT_SIZES, np.concatenate([one.elements for one in steps])
        )
        counts = [np.array([len(getattr(one, name)) for one in steps]) for name in ("words", "elements")]
        return words, counts[0], elements, counts[1]


def _disguises() -> np.ndarray:
    """Draw by how many rows each word is shifted `[NAMES]`: none of most."""
    hidden = torch.rand(NAMES) < DISGUISED
    shift: np.ndarray = torch.where(hidden, torch.randint(1, BUCKETS, (NAMES,)), 0).numpy()
    return shift


def _bag(table: nn.EmbeddingBag, bags: Sequence[IndexBags], shift: np.ndarray | None = None) -> Tensor:
    """Return the mean of the rows of each bag; the rows of word w lie `shift[w]` further."""
    rows, begins = _joined(bags)
    if shift is not None:
        rows = (rows + shift[np.concatenate([one.names for one in bags])]) % BUCKETS
    mean: Tensor = table(torch.from_numpy(rows), torch.from_numpy(begins))
    return mean


def _sum(table: nn.Embedding, sizes: Sequence[int], columns: np.ndarray) -> Tensor:
    """Add up one row of the table for each whole number of `columns` `[M, len(sizes)]`."""
    shift = np.cumsum(sizes) - sizes
    total: Tensor = table(torch.from_numpy(columns.astype(np.int64) + shift)).sum(1)
    return total


def _parents(own: Tensor, parents: Sequence[np.ndarray]) -> Tensor:
    """Return what each element's parent is by itself, zeros for a root."""
    sizes = np.array([len(one) for one in parents])
    base = np.cumsum(sizes) - sizes
    rows = np.concatenate([np.where(one >= 0, one + at, -1) for one, at in zip(parents, base, strict=True)])
    known = torch.from_numpy(rows >= 0).to(own.dtype)[:, None]
    return own.index_select(0, torch.from_numpy(np.maximum(rows, 0))) * known


def _fellows(own: Tensor, steps: Sequence[PageFeatures]) -> Tensor:
    """Return the mean of what each element's fellows are by themselves, zeros for one without."""
    bags = [one.fellows for one in steps]
    rows, begins = _joined(bags)
    elements = np.array([len(one.parents) for one in steps])
    rows += np.repeat(np.cumsum(elements) - elements, [len(one.rows) for one in bags])
    return F.embedding_bag(torch.from_numpy(rows), own, torch.from_numpy(begins), mode="mean")


def _joined(bags: Sequence[IndexBags]) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of all bags one after the other, and where among them each bag begins."""
    sizes = np.array([len(one.rows) for one in bags])
    begins = [one.begins + at for one, at in zip(bags, np.cumsum(sizes) - sizes, strict=True)]
    return np.concatenate([one.rows for one in bags]).astype(np.int64), np.concatenate(begins)
