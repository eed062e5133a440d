"""Windows and batches."""

from hypothesis import given
from hypothesis import strategies as st

from sentiment_monitor.score.batching import batches, within
from sentiment_monitor.score.windows import plan, split

WORDS = st.lists(st.integers(1, 30), max_size=40).map(
    lambda sizes: [n for n, size in enumerate(sizes) for _ in range(size)]
)


@given(WORDS, st.integers(4, 20))
def test_windows_lose_no_token_and_fit(words: list[int], room: int) -> None:
    spans = split(words, room)
    assert [at for start, stop in spans for at in range(start, stop)] == list(range(len(words)))
    assert all(0 < stop - start <= room for start, stop in spans)


@given(st.lists(st.integers(1, 4), min_size=1, max_size=60), st.integers(8, 20))
def test_no_window_ends_inside_a_short_word(sizes: list[int], room: int) -> None:
    words = [n for n, size in enumerate(sizes) for _ in range(size)]
    assert all(stop == len(words) or words[stop] != words[stop - 1] for _, stop in split(words, room))


@given(WORDS, WORDS, st.integers(4, 20), st.integers(1, 8))
def test_weights_sum_to_one_and_the_ceiling_holds(head: list[int], body: list[int], room: int, ceiling: int) -> None:
    planned = plan(head, body, room, ceiling)
    assert abs(sum(planned.weights) - 1) < 1e-9
    assert len(planned.weights) == len(planned.headline) + len(planned.body) <= ceiling
    whole = len(split(head, room)) + len(split(body, room)) <= ceiling
    assert planned.truncated is not whole


@given(st.lists(st.integers(1, 200), max_size=80), st.integers(1, 600), st.integers(1, 20))
def test_batches_hold_every_window_once_within_budget(lengths: list[int], budget: int, rows: int) -> None:
    made = batches(lengths, within(budget, rows))
    assert sorted(index for batch in made for index in batch) == list(range(len(lengths)))
    for batch in made:
        assert len(batch) <= rows
        assert len(batch) == 1 or len(batch) * max(lengths[index] for index in batch) <= budget
