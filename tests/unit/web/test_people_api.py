"""Over HTTP the same is done about alerts as on the command line, by whoever knows the token."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient
from sqlalchemy import select

from databases import migrated_sqlite
from sentiment_monitor.actions.dead_letters import ReplayRequest
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import audit
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.times import MINUTE_MS
from sentiment_monitor.web.dependencies import ChangeDesk
from sentiment_monitor.web.site import site
from writing import Alerts, alert, event

PRESENT = 27_974_481  # 2023-03-10 17:21
NOW = PRESENT * MINUTE_MS
TOKEN = "a-token-of-some-length"
MUTED = {"matchers": ["series=ticker:A"], "ends_at": "2023-03-10T19:00Z", "comment": "results"}


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    """Alert 1 fires, alert 2 is over."""
    database = migrated_sqlite(tmp_path / "monitor.sqlite")
    alerts = Alerts(database)
    lease = alerts.leases.acquire("me", NOW, 1_000)
    assert lease
    over = alert(series="ticker:B", state=State.RESOLVED, resolved_minute=PRESENT)
    alerts.apply(lease, PRESENT, [Change(alert(), event()), Change(over, event())], NOW)
    yield database
    database.close()


@pytest.fixture
def client(database: Database) -> Iterator[TestClient]:
    desk = ChangeDesk(TOKEN, database, lambda actor, ids: ReplayRequest({}))
    app = site(database, Metrics(), names={}, now_ms=lambda: NOW, changes=desk)
    with TestClient(app, headers={"Authorization": f"Bearer {TOKEN}"}) as client:
        yield client


def _post(client: TestClient, address: str, body: dict[str, Any]) -> tuple[int, Any]:
    answer = client.post(f"/api/v1/{address}", json=body)
    return answer.status_code, answer.json()


def test_an_alert_is_taken_on_given_up_and_remarked_upon(client: TestClient, database: Database) -> None:
    for outcome in ("done", "already"):
        status, answer = _post(client, "alerts/1/acknowledge", {"owner": "ada", "note": "on it"})
        assert (status, answer["id"], answer["outcome"]) == (200, 1, outcome)
    assert {kept["id"]: kept["owner"] for kept in client.get("/api/v1/alerts").json()} == {1: "ada", 2: None}
    assert client.get("/api/v1/alerts/1").json()["owner"] == "ada"
    assert "<td>ada</td>" in client.get("/alerts").text
    page = client.get("/alert?id=1").text
    assert "ada has it" in page
    assert "<b>acknowledged</b> by api, ada has it: on it" in page
    assert _post(client, "alerts/1/unacknowledge", {})[0] == 200
    assert _post(client, "alerts/2/comment", {"author": "bob", "text": "as in May"})[0] == 200
    assert client.get("/api/v1/alerts/1").json()["owner"] is None
    assert client.get("/api/v1/alerts/2").json()["people"] == [
        {"at": "2023-03-10T17:21:00Z", "actor": "bob", "deed": "commented", "owner": None, "text": "as in May"}
    ]
    with database.read() as connection:
        notes = connection.execute(select(audit.c.actor, audit.c.action).order_by(audit.c.id)).all()
    assert notes == [("api", "alert.acknowledge"), ("api", "alert.unacknowledge"), ("api", "alert.comment")]


def test_an_alert_is_ended_once(client: TestClient) -> None:
    dismissal = {"author": "ada", "reason": "a namesake"}
    assert _post(client, "alerts/1/dismiss", dismissal)[1]["outcome"] == "done"
    assert _post(client, "alerts/1/dismiss", dismissal)[1]["outcome"] == "already"
    assert _post(client, "alerts/1/resolve", {}) == (409, {"detail": "dismissed by ada"})
    assert _post(client, "alerts/2/resolve", {})[0] == 409
    assert [saying["deed"] for saying in client.get("/api/v1/alerts/1").json()["people"]] == ["dismissed"]


@pytest.mark.parametrize("number", [3, 0, -1, 2**63])
def test_an_alert_that_there_is_not_is_404(client: TestClient, number: int) -> None:
    for deed, body in (("acknowledge", {"owner": "ada"}), ("resolve", {}), ("comment", {"text": "x"})):
        assert _post(client, f"alerts/{number}/{deed}", body)[0] == 404


@pytest.mark.parametrize(
    ("address", "body"),
    [
        ("alerts/1/acknowledge", {}),
        ("alerts/1/acknowledge", {"owner": " "}),
        ("alerts/1/acknowledge", {"owner": "x" * 201}),
        ("alerts/1/dismiss", {"reason": ""}),
        ("alerts/1/comment", {"text": "a\x00b"}),
        ("alerts/1/resolve", {"why": "x"}),
        ("silences", MUTED | {"matchers": []}),
        ("silences", MUTED | {"matchers": ["team=x"]}),
        ("silences", MUTED | {"ends_at": "tomorrow"}),
        ("silences", MUTED | {"ends_at": "2023-03-10T17:00Z"}),
    ],
)
def test_what_cannot_be_meant_is_400_and_changes_nothing(
    client: TestClient, database: Database, address: str, body: dict[str, Any]
) -> None:
    assert _post(client, address, body)[0] == 400
    with database.read() as connection:
        assert connection.execute(select(audit)).all() == []


def test_a_silence_is_added_listed_and_ended(client: TestClient) -> None:
    status, added = _post(client, "silences", MUTED)
    assert (status, added) == (201, {
        "id": 1, "state": "pending", "matchers": ['series="ticker:A"'], "starts_at": "2023-03-10T17:22:00Z",
        "ends_at": "2023-03-10T19:00:00Z", "author": "api", "comment": "results",
    })  # fmt: skip
    assert client.get("/api/v1/silences").json() == [added]
    assert [client.delete("/api/v1/silences/1").json()["outcome"] for _ in range(2)] == ["done", "already"]
    assert [client.delete(f"/api/v1/silences/{number}").status_code for number in (2, 0, 2**63)] == [404] * 3
    (kept,) = client.get("/api/v1/silences", params={"expired": True}).json()
    assert kept["ends_at"] == "2023-03-10T17:22:00Z"


def test_nobody_changes_anything_without_the_token(client: TestClient, database: Database) -> None:
    wrong = {"Authorization": "Bearer x"}
    for address in ("alerts/1/acknowledge", "alerts/1/dismiss", "alerts/9/comment", "silences"):
        for body in (MUTED, {}):  # before anything else is looked at
            assert client.post(f"/api/v1/{address}", json=body, headers=wrong).status_code == 401
    assert client.delete("/api/v1/silences/1", headers=wrong).status_code == 401
    with TestClient(site(database, Metrics(), names={}, now_ms=lambda: NOW)) as closed:
        assert closed.post("/api/v1/alerts/1/resolve", json={}).status_code == 403
