"""Keys by which a syndicated copy finds the story it repeats, and what decides between candidates.

The first key is equal for headlines that are equal once case, punctuation and agency prefixes are gone. The others are
MinHash bands over the words (Broder 1997), mixed with the numbers among them, which copies share: two headlines whose
word sets have Jaccard similarity 0.9 share one with probability 0.99, at 0.5 with 0.28. A shared band only makes a
candidate; :meth:`Wording.repeats` decides. Headlines come here without their publisher's name.
"""

from __future__ import annotations

import hashlib
import re
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np

BANDS, ROWS = 5, 4
MIN_WORDS = 5  # shorter headlines are copies only when they are equal, and tagged alike
MAX_WORDS = 200  # longer ones too: no headline, and comparing them would take room and time without bound
SIMILARITY = 0.8

_PREFIX = re.compile(
    r"^(?:(?:(?:update|wrapup)\s*\d*|refile|corrected|correction|exclusive|breaking(?: news)?|just in|watch|rpt|recap)"
    r"\s*[-:–—|]+\s*)+",
    re.IGNORECASE,
)
_WORD = re.compile(r"[^\W_]+(?:[.,]\d+)*")
_HAS_DIGIT = re.compile(r"\d")
_HASHED_AT_ONCE = 65_536  # words; some 10 MB of numpy's

_random = np.random.Generator(np.random.PCG64(20230310))
_MULTIPLIERS = _random.integers(1, 2**63, BANDS * ROWS, dtype=np.uint64) * np.uint64(2) + np.uint64(1)
_OFFSETS = _random.integers(0, 2**63, BANDS * ROWS, dtype=np.uint64)
_BAND_NUMBERS = np.arange(BANDS, dtype=np.uint64)
_MIX = _random.integers(1, 2**63, (BANDS, ROWS), dtype=np.uint64) * np.uint64(2) + np.uint64(1)


def words(headline: str) -> list[str]:
    """The words that identify a headline, in order."""
    return _WORD.findall(_bare(headline).casefold())


def _bare(headline: str) -> str:
    """The headline without what agencies put before it."""
    # One blank at a time: over long runs of them the search for a prefix takes the square of their length.
    return _PREFIX.sub("", " ".join(headline.split()))


def copy_keys(headline: str) -> tuple[int, ...]:
    """The exact key, and ``BANDS`` near keys when the headline has enough words. Signed 64-bit integers."""
    return copy_keys_of([headline])[0]


def copy_keys_of(headlines: Sequence[str]) -> list[tuple[int, ...]]:
    """:func:`copy_keys` of each headline; of hundreds together it costs a tenth."""
    keys: list[tuple[int, ...]] = []
    long: list[int] = []  # which headlines have near keys
    begins: list[int] = []  # where the words of each of these begin in ``hashes``
    hashes: list[int] = []
    numbers: list[int] = []  # of each of these, a hash of its words with digits
    for place, headline in enumerate(headlines):
        headline_words = words(headline)
        joined = " ".join(headline_words) or headline
        distinct = set(headline_words)
        exact = int.from_bytes(hashlib.blake2b(joined.encode(), digest_size=8).digest(), "big", signed=True)
        keys.append((exact,))
        if MIN_WORDS <= len(distinct) <= MAX_WORDS:
            long.append(place)
            begins.append(len(hashes))
            hashes.extend([zlib.crc32(word.encode()) for word in distinct])
            # A feed whose headlines differ in a figure only would otherwise make candidates of each other by thousands.
            numbers.append(zlib.crc32(" ".join(sorted(filter(_HAS_DIGIT.search, distinct))).encode()))
            if len(hashes) >= _HASHED_AT_ONCE:
                _give_bands(keys, long, begins, hashes, numbers)
    _give_bands(keys, long, begins, hashes, numbers)
    return keys


def _give_bands(
    keys: list[tuple[int, ...]], long: list[int], begins: list[int], hashes: list[int], numbers: list[int]
) -> None:
    """Adds near keys to the headlines at these places, and empties the lists that told of them."""
    if long:
        for place, bands in zip(long, _bands(hashes, begins, numbers), strict=True):
            keys[place] += tuple(bands)
    for gathered in (long, begins, hashes, numbers):
        gathered.clear()


def _bands(hashes: list[int], begins: list[int], numbers: list[int]) -> list[list[int]]:
    # Multiply-shift hashing; unsigned overflow is the modulus.
    mixed = (np.array(hashes, dtype=np.uint64)[:, None] * _MULTIPLIERS + _OFFSETS) >> np.uint64(32)
    minima = np.minimum.reduceat(mixed, begins).reshape(-1, BANDS, ROWS)
    mixed_numbers = np.array(numbers, dtype=np.uint64)[:, None] * _MULTIPLIERS[0]
    bands = ((minima * _MIX).sum(axis=2, dtype=np.uint64) + mixed_numbers) ^ _BAND_NUMBERS
    signed_bands: list[list[int]] = bands.view(np.int64).tolist()
    return signed_bands


@dataclass(frozen=True, slots=True)
class Wording:
    """What a headline is compared by: its words, and those of them that are names or hold digits."""

    words: frozenset[str]
    names: frozenset[str]
    figures: frozenset[str]

    def repeats(self, other: Wording) -> bool:
        """True when two headlines with near keys tell the same news: nearly the same words, all figures, all names.

        A name is a word with a capital, so two headlines that capitalise every word must have the same words, or one of
        them more than the other.
        """
        # "Agency cuts Kestrel Bank to junk" told of another bank differs in one word of many.
        if not (self.names <= other.words or other.names <= self.words) or self.figures != other.figures:
            return False
        common = len(self.words & other.words)
        return common >= SIMILARITY * (len(self.words) + len(other.words) - common)


@lru_cache(maxsize=4_096)  # some 3 KB each; the same originals are met by batch after batch
def wording(headline: str) -> Wording:
    """The wording of a headline that has near keys."""
    bare = _bare(headline)
    headline_words = frozenset(_WORD.findall(bare.casefold()))
    capitals = " ".join(word for word in _WORD.findall(bare) if word != word.casefold())
    return Wording(
        headline_words,
        headline_words.intersection(_WORD.findall(capitals.casefold())),
        frozenset(filter(_HAS_DIGIT.search, headline_words)),
    )
