"""Pipelines in these tests ask an empty source often, instead of resting a tenth of a second each time."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from sentiment_monitor.stream import pipeline


@pytest.fixture(autouse=True, scope="module")
def _short_rests() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipeline, "_POLL_MS", 10)
        yield
