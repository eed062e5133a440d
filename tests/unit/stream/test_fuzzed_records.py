"""Whatever bytes come, a record is a story that can be stored, or a dead letter with a documented reason."""

from __future__ import annotations

import fuzz
import pytest

from sentiment_monitor.store.buckets import recompute_buckets, stored_buckets
from sentiment_monitor.store.database import Database


@pytest.fixture(scope="module")
def outcome() -> fuzz.Outcome:
    # Ten times what the benchmark allows: the tests share the machine.
    return fuzz.fuzz(2_000, seed=1, documented=fuzz.documented_codes(), keep=True, slow=0.5)


def test_every_fuzzed_record_is_a_story_or_a_dead_letter_with_a_documented_reason(outcome: fuzz.Outcome) -> None:
    assert outcome.faults == []
    assert outcome.stories > 500
    assert len(outcome.codes) > 5, "the mutations break messages in many ways"


def test_what_became_a_story_can_be_stored(outcome: fuzz.Outcome, database: Database) -> None:
    before = list(outcome.faults)
    fuzz.store(database.url.render_as_string(hide_password=False), outcome)
    assert outcome.faults == before
    with database.read() as connection:
        assert stored_buckets(connection) == recompute_buckets(connection)
