"""Words as hashed character n-grams: an open vocabulary in which unseen names still match themselves."""

from __future__ import annotations

import re
import zlib
from functools import lru_cache

import numpy as np
from torch import Tensor, nn

from .devices import to_device

BUCKETS = 4096
_WORD = re.compile(r"\w+|[^\w\s]")


@lru_cache(maxsize=65536)
def buckets_of(word: str) -> tuple[int, ...]:
    """Return the table rows of a word: the word and its character 3- and 4-grams, each hashed by CRC-32.

    After Bojanowski et al., "Enriching word vectors with subword information" (2017).
    """
    # marks of begin and end: a prefix differs from the same letters inside a word
    marked = f"<{word}>"
    grams = [marked, *(marked[i : i + n] for n in (3, 4) for i in range(len(marked) - n + 1))]
    return tuple(zlib.crc32(gram.encode()) % BUCKETS for gram in grams)


@lru_cache(maxsize=65536)
def split(sentence: str) -> tuple[str, ...]:
    """Split a sentence into lower-case words and punctuation marks; an empty one gives one empty word."""
    return tuple(_WORD.findall(sentence.lower())) or ("",)


class WordEmbedding(nn.Module):
    """Sentences → one token a word: the mean of the word's n-grams plus its position."""

    LONGEST = 256  # later words share the last position

    def __init__(self, width: int) -> None:
        super().__init__()
        self.grams = nn.EmbeddingBag(BUCKETS, width, mode="mean")
        self.places = nn.Embedding(self.LONGEST, width)

    def forward(self, sentences: list[str]) -> tuple[Tensor, np.ndarray]:
        """Return tokens `[sum W, d]` and the number of words W of each sentence."""
        rows: list[int] = []
        offsets: list[int] = []
        places: list[int] = []
        counts = np.zeros(len(sentences), np.int64)
        for i, sentence in enumerate(sentences):
            words = split(sentence)
            counts[i] = len(words)
            places += [min(place, self.LONGEST - 1) for place in range(len(words))]
            for word in words:
                offsets.append(len(rows))
                rows += buckets_of(word)
        # ragged bags: `offsets` are the first row of each word
        device = self.places.weight.device
        indices, bags, positions = (
            to_device(np.array(numbers, np.int64), device) for numbers in (rows, offsets, places)
        )
        return self.grams(indices, bags) + self.places(positions), counts
