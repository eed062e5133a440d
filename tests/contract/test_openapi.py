"""The OpenAPI document against the site itself: whatever is asked, the answer is one that the document describes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from schemathesis import APIOperation, BaseSchema, Case, CheckFunction, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import positive_data_acceptance

from sentiment_monitor.actions.dead_letters import Replay, ReplayOutcome, ReplayRequest
from sentiment_monitor.domain.alert_states import Kind, State
from sentiment_monitor.domain.alerts import Evidence, TopStory
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.times import MINUTE_MS, rfc3339
from sentiment_monitor.web.dependencies import ChangeDesk
from sentiment_monitor.web.site import site
from writing import Alerts, Desk, alert, dead, event, notification, scored

MINUTE = 27_974_000  # 2023-03-10 09:20
TOKEN = "a-token-of-some-length"


def _request(actor: str, ids: Sequence[int]) -> ReplayRequest:
    outcomes = (ReplayOutcome.UNKNOWN, ReplayOutcome.ALREADY_REPLAYED)
    settled = tuple(Replay(number, outcomes[number % 3 - 1], "why") for number in ids if number % 3)
    return ReplayRequest({number: 0 for number in ids if not number % 3}, settled)


@pytest.fixture(scope="module")
def document(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BaseSchema]:
    """The document of a site that has something of everything."""
    folder: Path = tmp_path_factory.mktemp("site")
    database = Database(f"sqlite:///{folder / 'monitor.sqlite'}")
    database.migrate()
    stories = [
        scored(str(n), f"Depositors leave bank {n}", minute=MINUTE + n, label=label, tickers=("KSB",), topic=topic)
        for n, (label, topic) in enumerate((("negative", "macro"), ("positive", None), ("neutral", "earnings")))
    ]
    Desk(database).write(*stories, dead=[dead(), dead(1, value=None, code="empty")])
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", MINUTE * MINUTE_MS, 60_000)
    assert lease
    story = TopStory("1", "Depositors leave bank 0", "wire", "", rfc3339(MINUTE * MINUTE_MS), 0.9)
    fired = event(minute=MINUTE, evidence=Evidence(top_stories=(story,), statistics={"share": 0.5}))
    pending = event(minute=MINUTE, transition=Kind.PENDING, p_value=None, q_value=None)
    changes = [
        Change(alert(pending_minute=MINUTE, fired_minute=MINUTE), fired, [notification()]),
        Change(alert(series="all", state=State.PENDING, pending_minute=MINUTE, fired_minute=None), pending, []),
    ]
    alerts.apply(lease, MINUTE, changes, MINUTE * MINUTE_MS)
    app = site(database, Metrics(), names={"KSB": ["Kestrel"]}, now_ms=lambda: MINUTE * MINUTE_MS,
               changes=ChangeDesk(TOKEN, database, _request))  # fmt: skip
    described = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    yield described
    database.close()


@pytest.mark.parametrize("mode", list(GenerationMode), ids=lambda mode: str(mode.value))
def test_every_answer_is_as_the_document_says(document: BaseSchema, mode: GenerationMode) -> None:
    for operation in _operations(document, mode):
        _ask(operation, mode)


def test_also_while_the_database_is_away(document: BaseSchema, monkeypatch: pytest.MonkeyPatch) -> None:
    def away() -> NoReturn:
        raise DatabaseAway("the lights are off")

    monkeypatch.setattr(document.app.state.resources.database, "read", away)
    for operation in _operations(document, GenerationMode.POSITIVE):
        _ask(operation, GenerationMode.POSITIVE, examples=2, tolerated=[not_a_server_error])


def _operations(document: BaseSchema, mode: GenerationMode) -> list[APIOperation[Any, Any, Any, Any]]:
    described = [found.ok() for found in document.get_all_operations() if isinstance(found, Ok)]
    assert len(described) == 19
    # Nothing can be wrong in a question without parameters.
    return [
        operation
        for operation in described
        if mode.is_positive or operation.query or operation.path_parameters or operation.body
    ]


def _ask(
    operation: APIOperation[Any, Any, Any, Any],
    mode: GenerationMode,
    examples: int = 25,
    tolerated: Sequence[CheckFunction] = (),
) -> None:
    # No schema can say that a text is a day of the calendar, or that one time lies before another.
    # Nor that a text is a matcher, or says something.
    unsaid = operation.body or any(parameter.name == "since" for parameter in operation.query)
    spans = [positive_data_acceptance] if unsaid else []

    @settings(
        max_examples=examples, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
    )
    @given(case=operation.as_strategy(generation_mode=mode))
    def ask(case: Case[Any]) -> None:
        case.call_and_validate(headers={"Authorization": f"Bearer {TOKEN}"}, excluded_checks=[*tolerated, *spans])

    ask()
