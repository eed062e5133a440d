"""Which original a story repeats: a crowd that is sifted gives the answer of one that is searched."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sentiment_monitor.enrich.copies import wording
from sentiment_monitor.store.stories import originals
from sentiment_monitor.store.stories.originals import Copying, Originals
from sentiment_monitor.store.stories.row import StoryRow
from writing import scored

_NEWS = [
    "Kestrel",
    "Bank",
    "halts",
    "all",
    "withdrawals",
    "after",
    "depositors",
    "pull",
    "their",
    "money",
    "out",
    "today",
]
_CASES = (str, str, str.upper, str.lower, str.title)


def _varied(place: int, words: list[str], case: int) -> str:
    """The news with a word replaced, left out or put in."""
    return _CASES[case](" ".join([*_NEWS[:place], *words, *_NEWS[place + 1 :]]))


_headline = st.builds(
    _varied,
    st.integers(0, len(_NEWS) - 1),
    st.lists(st.sampled_from(["Norwick", "Savings", "quickly", "12"]), max_size=2),
    st.integers(0, len(_CASES) - 1),
)
_told = st.lists(st.tuples(_headline, st.sampled_from(["negative", "negative", "neutral"])), min_size=2, max_size=25)


def _clusters(told: list[tuple[str, str]], crowd: int) -> list[int | None]:
    """For each headline the place of the one it is a copy of; every third original is dropped again."""
    copies: list[int | None] = []
    places: dict[StoryRow, int] = {}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(originals, "_CROWD", crowd)
        known = Originals(Copying(wording, window_minutes=60))
        for place, (headline, label) in enumerate(told):
            row = StoryRow.from_scored(scored(str(place), headline, minute=1_000 + place, label=label))
            original = known.repeated_by(row)
            copies.append(None if original is None else places[original])
            if original is None:
                places[row] = place
                known.add(row, row.copy_keys)
                if place % 3 == 2:
                    known.drop(row)
    return copies


@settings(max_examples=40)
@given(_told)
def test_a_sifted_crowd_gives_the_copies_of_a_searched_one(told: list[tuple[str, str]]) -> None:
    assert _clusters(told, crowd=-1) == _clusters(told, crowd=1_000_000)
