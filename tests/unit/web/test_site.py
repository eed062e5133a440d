"""The pages and what lies behind them, asked as a browser, a program, Prometheus and an attacker would."""

from __future__ import annotations

import re
import socket
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import insert, update

from databases import copy_migrated
from sentiment_monitor.actions.dead_letters import ReplayRequest, request_replay
from sentiment_monitor.detect.rules import DEFAULT_RULES
from sentiment_monitor.domain.alert_states import State
from sentiment_monitor.domain.alerts import Evidence, TopStory, fingerprint
from sentiment_monitor.errors import DatabaseAway
from sentiment_monitor.store import schema, stops
from sentiment_monitor.store.alerts import AlertStore, Change
from sentiment_monitor.store.database import Database
from sentiment_monitor.store.schema import closings
from sentiment_monitor.telemetry.metrics import Metrics
from sentiment_monitor.times import DAY_MINUTES, MINUTE_MS, rfc3339
from sentiment_monitor.watch.lease import Leadership
from sentiment_monitor.web.dependencies import ChangeDesk
from sentiment_monitor.web.pages.render import href, spark, web_link
from sentiment_monitor.web.server import WebServer
from sentiment_monitor.web.site import site
from writing import Alerts, Desk, alert, dead, event, notification, scored

START = 27_974_000  # 2023-03-10 09:20
NOW_MS = (START + 90) * MINUTE_MS
NAMES = {"KSB": ["Kestrel Savings", "Old Kestrel"], "ELM": ["Elmet Motors"], "ELX": ["Elmet"], "ELY": ["Elmet"]}
EVIL = "<script>alert(1)</script> & Söhne"


@pytest.fixture
def filled(database: Database) -> Database:
    stories = [
        scored(str(n), f"Depositors leave bank number {n} of the coast", source=f"wire {n % 3}", minute=START + n,
               label="negative", tickers=("KSB",), url=f"https://news.example/{n}")
        for n in range(6)
    ]  # fmt: skip
    Desk(database).write(
        *stories,
        scored("copy", stories[0].enriched.story.headline, source="other", minute=START + 7, label="negative"),
        scored("evil", EVIL, source='a/b?c=d&e "f"', minute=START + 8, url="javascript:alert(1)", topic="macro"),
        scored("good", "Elmet Motors sells more cars", minute=START + 9, label="positive", tickers=("ELM",)),
        dead=[dead(value=b"<b>\xff</b>", detail="not <i>JSON</i>")],
    )
    return database


@pytest.fixture
def alerted(filled: Database) -> Database:
    alerts = Alerts(filled)
    lease = alerts.leases.acquire("me", NOW_MS, 60_000)
    assert lease
    published = rfc3339(NOW_MS)
    stories = (
        TopStory("0", EVIL, "wire", "javascript:alert(2)", published, 0.9, 2),
        TopStory("1", "Second", "wire", "https://news.example/2", published, 0.8),
    )
    fired = event(
        minute=START + 5, observed=6.0, volume=6.0, expected=0.1, explanation="What: 6 negative of 6 stories",
        evidence=Evidence(top_stories=stories, sources=("wire",), copies=2),
    )  # fmt: skip
    firing = alert(
        rule=DEFAULT_RULES[0].name, series="ticker:KSB", title="Kestrel <b>in trouble</b>", pending_minute=START + 5,
        fired_minute=START + 5,
    )  # fmt: skip
    change = Change(firing, fired, [notification(key="key", title="Kestrel in trouble")])
    alerts.apply(lease, START + 5, [change], NOW_MS)
    return filled


def _client(database: Database, metrics: Metrics | None = None, **options: Any) -> TestClient:
    metrics = metrics or Metrics()
    metrics.ask_database(AlertStore(database).counts)
    app = site(database, metrics, names=NAMES, now_ms=lambda: NOW_MS, **options)
    return TestClient(app, base_url="http://localhost:8080", raise_server_exceptions=True)


@pytest.fixture
def client(alerted: Database) -> Iterator[TestClient]:
    with _client(alerted) as client:
        yield client


def _text(html: str) -> str:
    """What a reader sees, more or less."""
    shown = re.sub(r"<script.*?</script>", " ", html, flags=re.DOTALL)
    return " ".join(re.sub(r"<[^>]*>", " ", shown).split())


# -- pages ------------------------------------------------------------------------------------------


def test_the_overview_says_how_it_stands(client: TestClient) -> None:
    page = client.get("/")
    assert page.status_code == 200
    text = _text(page.text)
    assert "1 alert firing now" in text
    assert "8 stories, and 1 copy" in text
    assert "75% of the stories are negative" in text
    assert "Newest story: 2023-03-10 09:29, 81 min ago" in text
    assert "Kestrel Savings (KSB) 6 0 6 -0.75" in text
    assert "<title>1 firing" in page.text


def test_an_empty_database_has_a_page_that_says_what_to_do(database: Database) -> None:
    with _client(database) as empty:
        page = empty.get("/")
        assert (page.status_code, "No story has come yet" in page.text) == (200, True)
        assert empty.get("/series?name=all").status_code == 404
        assert empty.get("/api/v1/trend?series=all").json() == {"detail": "the database holds no story yet"}
        assert "No alert has fired" in empty.get("/alerts").text
        assert "There are none" in empty.get("/dead-letters").text


def test_a_series_shows_its_stories_alerts_and_trend(client: TestClient) -> None:
    text = _text(client.get("/series?name=ticker:KSB&since=1h").text)
    assert "Kestrel Savings (KSB)" in text
    assert "6 stories and 0 copies" not in text
    assert "2023-03-10 09:25 to now, critical" in text
    assert "Depositors leave bank number 0 of the coast and 1 copy" in text
    only = _text(client.get("/series?name=all&label=positive").text)
    assert "Elmet Motors sells more cars" in only
    assert "Depositors" not in only


@pytest.mark.parametrize("asked", ["ticker:KSB", "KSB", "ksb", "Kestrel Savings", "kestrel", " kestrel "])
def test_a_company_is_found_by_ticker_and_by_name(client: TestClient, asked: str) -> None:
    page = client.get("/series", params={"name": asked, "since": "7d"})
    assert "<h1>Kestrel Savings (KSB)</h1>" in page.text
    assert "since=7d" in str(page.url)


def test_a_search_with_several_answers_offers_them_and_one_with_none_says_so(client: TestClient) -> None:
    choice = client.get("/series?name=wire")
    assert choice.status_code == 404
    assert choice.text.count("<li>") == 4
    nothing = client.get("/series", params={"name": EVIL})
    assert nothing.status_code == 404
    assert "Nothing is called" in nothing.text
    assert "<script>alert" not in nothing.text


def test_every_name_of_a_company_leads_to_it_and_one_of_two_companies_to_a_choice(filled: Database) -> None:
    Desk(filled).write(*(scored(t, f"Elmet {t}", minute=START, tickers=(t,)) for t in ("ELX", "ELY")))
    with _client(filled) as client:
        assert "<h1>Kestrel Savings (KSB)</h1>" in client.get("/series?name=old kestrel").text
        both = client.get("/series?name=elmet").text
    assert re.findall(r"<code>|ticker:EL\w", both) == ["ticker:ELX", "ticker:ELY"]


def test_links_of_stories_keep_the_span(client: TestClient) -> None:
    page = client.get("/series?name=all&since=3d").text
    links = re.findall(r'href="(series\?name=(?:source|topic|ticker)[^"]*)"', page)
    assert links
    assert all("since=3d" in link for link in links)


def test_more_alerts_than_fit_are_counted_all(alerted: Database) -> None:
    alerts = Alerts(alerted)
    lease = alerts.leases.acquire("me", NOW_MS, 60_000)
    assert lease
    (first,) = alerts.listing()
    more = [Change(replace(first, id=None, series=f"ticker:T{n}", title="T")) for n in range(59)]
    alerts.apply(lease, START + 6, more, NOW_MS)
    with _client(alerted) as client:
        text = _text(client.get("/").text)
    assert "60 alerts firing now" in text
    assert "50 more alerts are firing" in text


def test_a_page_of_a_wrong_address_leads_back(client: TestClient) -> None:
    page = client.get("/some/where")
    assert page.status_code == 404
    assert 'href="../static/monitor.css' in page.text
    assert {'href="../"', 'href="../alerts"'} <= set(re.findall(r'href="[^"]*"', page.text))
    assert client.get("/alerts/", follow_redirects=False).status_code == 404
    assert client.get("/static/nothing.js").headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    "address", ["/", "/alerts", "/api/v1/alerts", "/api/v1/openapi.json", "/static/monitor.css", "/metrics", "/healthz"]
)
def test_head_is_answered_as_get_without_the_body(client: TestClient, address: str) -> None:
    asked, got = client.head(address), client.get(address)
    assert (asked.status_code, asked.content) == (200, b"")
    assert asked.headers["content-type"] == got.headers["content-type"]
    assert client.head("/nowhere").status_code == 404
    refused = client.put(address)
    assert (refused.status_code, "GET" in refused.headers["allow"]) == (405, True)


def test_a_series_of_any_name_is_reached_by_its_link(client: TestClient) -> None:
    page = client.get("/series?name=topic:macro").text
    link = next(link for link in re.findall(r'href="(series[^"]*source[^"]*)"', page) if "a%2Fb" in link)
    followed = client.get("/" + link.replace("&amp;", "&"))
    assert (followed.status_code, "a/b?c=d&amp;e" in followed.text) == (200, True)


def test_what_a_feed_wrote_is_never_markup_nor_a_script(client: TestClient) -> None:
    for address in ("/", "/series?name=all", "/alert?id=1", "/alerts", "/dead-letters"):
        page = client.get(address).text
        assert "<script>alert" not in page
        assert "javascript:" not in page
        for raw in ("<i>JSON", "<b>in trouble", "<b>\\xff"):
            assert raw not in page
        assert page.count("<script") == len(re.findall(r'<script (src="[a-z/.]+\?v=|type="application/json">)', page))


def test_pages_tell_browsers_to_run_nothing_from_elsewhere(client: TestClient) -> None:
    headers = client.get("/").headers
    assert "default-src 'none'; script-src 'self'" in headers["content-security-policy"]
    assert (headers["x-content-type-options"], headers["referrer-policy"]) == ("nosniff", "no-referrer")
    assert headers["cache-control"] == "no-store"


def test_an_alert_explains_itself(client: TestClient) -> None:
    page = client.get("/alert?id=1")
    text = _text(page.text)
    for part in ("Kestrel &lt;b&gt;in trouble", "critical", "What: 6 negative of 6 stories", "spike burst", "desk"):
        assert part in text
    assert 'href="https://news.example/2"' in page.text
    assert client.get(f"/alert?fingerprint={fingerprint(DEFAULT_RULES[0].name, 'ticker:KSB')}").text == page.text
    assert "Kestrel &lt;b&gt;" in client.get("/alerts?state=firing").text
    assert "No alert is resolved" in client.get("/alerts?state=resolved").text


def test_an_alert_shows_what_became_of_the_earlier_ones_that_are_like_it(alerted: Database) -> None:
    alerts = Alerts(alerted)
    lease = alerts.leases.acquire("me", NOW_MS, 60_000)
    assert lease
    week = 7 * DAY_MINUTES
    earlier = alert(
        rule="r", series="ticker:KSB", title="Kestrel <i>before</i>", state=State.RESOLVED, pending_minute=START - week,
        fired_minute=START - week, resolved_minute=START - week + 60,
    )  # fmt: skip
    old = Evidence(top_stories=(TopStory("9", EVIL, "wire", "", rfc3339(NOW_MS), 0.9),))
    alerts.apply(lease, START + 6, [Change(earlier, event(minute=START - week, evidence=old))], NOW_MS)
    with alerted.write() as connection:
        connection.execute(
            insert(closings).values(
                alert_id=2, at_ms=NOW_MS, minute=START, actor="<b>ann", verdict="dismissed", reason="a namesake"
            )
        )
    with _client(alerted) as client:
        page = client.get("/alert?id=1").text
        assert "Similar earlier alerts" in _text(page)
        assert '<a href="alert?id=2">Kestrel &lt;i&gt;before&lt;/i&gt;</a>' in page
        assert "the same series" in page
        assert "dismissed as false by &lt;b&gt;ann after 1 h: a namesake" in page
        assert "<script>alert" not in page
        (shown,) = client.get("/api/v1/alerts/1").json()["similar"]
        assert (shown["id"], shown["series"], shown["alike"]) == (2, "ticker:KSB", ["the same series"])
        assert [saying["deed"] for saying in shown["people"]] == ["dismissed"]
        assert "Similar earlier alerts" not in client.get("/alert?id=2").text


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/?since=soon", 400, "since soon: write a time"),
        ("/?since=0h", 400, "must lie before the end"),
        ("/series?name=all&until=never", 400, "until never: write a time"),
        ("/series?name=all&label=bad", 400, "label"),
        ("/series", 400, "name: Field required"),
        ("/series?name=%00", 400, "name: String should match"),
        ("/series?name=%20", 404, "Nothing is called"),
        ("/alert?fingerprint=%00", 400, "fingerprint: String should match"),
        ("/api/v1/stories?series=source:%00", 400, "series: String should match"),
        ("/series?name=" + "x" * 201, 400, "name: String should have at most 200"),
        ("/alert?id=99", 404, "no such alert"),
        ("/alert", 404, "no such alert"),
        ("/alert?id=x", 400, "id: Input should be a valid integer"),
        ("/alert?id=99999999999999999999", 400, "id"),
        ("/nothing", 404, "Not Found"),
        ("/static/../site.py", 404, "Not Found"),
        ("/api/v1/trend?series=all&step=1s", 400, "step 1s: write a duration of at least 1m"),
        ("/api/v1/trend?series=all&since=1000w&step=1m", 400, "more than 100,000 steps"),
        ("/api/v1/stories?limit=0", 400, "limit"),
        ("/api/v1/alerts/99", 404, "no such alert"),
        ("/api/v1/alerts/99999999999999999999", 404, "no such alert"),
    ],
)  # fmt: skip
def test_what_cannot_be_shown_is_said_in_the_form_that_was_asked_for(
    client: TestClient, address: str, status: int, said: str
) -> None:
    answer = client.get(address)
    assert answer.status_code == status
    if address.startswith("/api/"):
        assert said in answer.json()["detail"]
    else:
        assert said in _text(answer.text)
        assert "sentiment-monitor" in answer.text


# -- JSON -------------------------------------------------------------------------------------------


def test_the_api_gives_what_the_commands_print(client: TestClient) -> None:
    trend = client.get("/api/v1/trend?series=ticker:KSB&since=10m&step=5m").json()
    assert [point["negative"] for point in trend["points"]] == [5, 1]
    assert trend["points"][0]["at"] == "2023-03-10T09:20:00Z"
    assert client.get("/api/v1/series?limit=1").json() == [
        {"series": "ticker:KSB", "name": "Kestrel Savings (KSB)", "stories": 6, "negative": 6, "score": -0.75,
         "stories_before": 0, "negative_before": 0}
    ]  # fmt: skip
    stories = client.get("/api/v1/stories?label=negative&limit=2").json()
    assert [story["headline"] for story in stories] == [
        f"Depositors leave bank number {n} of the coast" for n in (5, 4)
    ]
    assert stories[0]["at"] == "2023-03-10T09:25:00Z"
    alerts = client.get("/api/v1/alerts?state=firing").json()
    assert [(alert["id"], alert["fired_at"]) for alert in alerts] == [(1, "2023-03-10T09:25:00Z")]
    shown = client.get("/api/v1/alerts/1").json()
    assert shown["events"][0]["evidence"]["sources"] == ["wire"]
    assert shown["notifications"][0]["receiver"] == "desk"


def test_the_openapi_document_has_a_schema_for_every_answer(client: TestClient) -> None:
    document = client.get("/api/v1/openapi.json").json()
    themes = (
        "trend",
        "series",
        "stories",
        "alerts",
        "alerts/{number}",
        *(f"alerts/{{number}}/{deed}" for deed in ("acknowledge", "unacknowledge", "resolve", "dismiss", "comment")),
        "silences",
        "silences/{number}",
        "dead-letters",
        "dead-letters/{number}",
        "dead-letters/{number}/replay",
    )
    assert set(document["paths"]) == {f"/api/v1/{theme}" for theme in themes} | {"/healthz", "/metrics", "/readyz"}
    for address, operations in document["paths"].items():
        for operation in operations.values():
            answered = {"200", "201"} & set(operation["responses"]) and "503" in operation["responses"]
            assert answered or address in ("/healthz", "/metrics")
            for answer in operation["responses"].values():
                ((kind, content),) = answer["content"].items()
                if address.startswith("/api/v1/"):
                    assert (kind, content["schema"] != {}) == ("application/json", True)
                else:
                    assert (kind, content["schema"]) == ("text/plain", {"type": "string"})
    assert not {"HTTPValidationError", "ValidationError"} & set(document["components"]["schemas"])


TOKEN = "a-token-of-some-length"


def test_without_a_token_nothing_can_be_changed(alerted: Database) -> None:
    with _client(alerted) as client:
        refused = client.post("/api/v1/dead-letters/1/replay", headers={"Authorization": "Bearer x"})
    assert (refused.status_code, "MONITOR_WEB__TOKEN" in refused.json()["detail"]) == (403, True)


def test_who_knows_the_token_has_a_dead_letter_read_again(alerted: Database) -> None:
    Desk(alerted).write(dead=[dead(20)])
    asked: list[tuple[str, tuple[int, ...]]] = []

    def request(actor: str, ids: Sequence[int]) -> ReplayRequest:
        asked.append((actor, tuple(ids)))
        return request_replay(alerted, actor, ids, NOW_MS)

    with _client(alerted, changes=ChangeDesk(TOKEN, alerted, request)) as client:

        def post(number: int, authorization: str | None = f"Bearer {TOKEN}") -> tuple[int, Any]:
            headers = {"Authorization": authorization} if authorization else {}
            answer = client.post(f"/api/v1/dead-letters/{number}/replay", headers=headers)
            return answer.status_code, answer.json()

        for wrong in (
            None,
            "Bearer",
            "Bearer ",
            f"Bearer {TOKEN}x",
            f"Basic {TOKEN}",
        ):
            assert post(1, wrong) == (401, {"detail": "the bearer token is missing or wrong"})
        assert asked == []
        for _ in range(2):
            assert post(1) == (202, {"id": 1, "outcome": "requested", "detail": "waits for an ingest process"})
        assert client.get("/api/v1/dead-letters/1").json()["requested_ms"] == NOW_MS
        assert "waits to be read again" in client.get("/dead-letters").text
        with alerted.write() as connection:
            connection.execute(update(schema.dead_letters).values(replayed_ms=NOW_MS, requested_ms=None))
        status, answer = post(2)
        assert (status, answer["outcome"]) == (200, "already_replayed")
        assert [post(number)[0] for number in (3, 0, 2**63)] == [404, 404, 404]
        assert [client.get(f"/api/v1/dead-letters/{number}").status_code for number in (3, 0, 2**63)] == [404] * 3
        assert asked == [("api", (number,)) for number in (1, 1, 2, 3)]
        with alerted.write() as connection:
            connection.execute(update(schema.dead_letters).values(replayed_ms=None, code="unreadable_batch"))
        assert post(1)[0] == 409
        assert client.get("/api/v1/dead-letters/1/replay").status_code == 405


def test_dead_letters_are_listed_with_the_begin_of_what_is_long(filled: Database) -> None:
    Desk(filled).write(dead=[dead(10, value=b"x" * 20_000)])
    with _client(filled) as client:
        long, short = client.get("/api/v1/dead-letters").json()
    assert (len(long["raw_value"]), long["value_bytes"], long["replayed_ms"]) == (10_000, 20_000, None)
    assert (short["raw_value"], short["value_bytes"], short["code"]) == ("<b>\\xff</b>", 8, "not_json")


@pytest.mark.parametrize("series", ["nonsense", "ticker:ksb", "topic:", "ticker:", "ticker:K%", "tick:KSB"])
def test_a_series_that_is_none_has_no_stories(client: TestClient, series: str) -> None:
    assert client.get("/api/v1/stories", params={"series": series}).json() == []


def test_a_span_is_compared_with_the_one_before_it(client: TestClient) -> None:
    rows = client.get("/api/v1/series?since=2023-03-10T09:23Z&until=2023-03-10T09:26Z").json()
    assert [(row["negative"], row["negative_before"]) for row in rows] == [(3, 3)]


# -- metrics and health -----------------------------------------------------------------------------


def _metrics(client: TestClient) -> dict[tuple[str, str], float]:
    families = text_string_to_metric_families(client.get("/metrics").text)
    return {
        (sample.name.removeprefix("sentiment_monitor_"), ",".join(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_count_what_the_loops_did(alerted: Database) -> None:
    metrics = Metrics()
    metrics.tick.ticks.labels("done").inc(3)
    metrics.tick.ticks.labels("missed").inc()
    metrics.tick.alerts_decided.labels("fired").inc(2)
    metrics.tick.last_tick.set(START * 60)
    metrics.tick.deliveries.labels("sent").inc(4)
    leadership = Leadership(Alerts(alerted).leases, "me", 60_000, lambda: NOW_MS)
    leadership.lease()
    metrics.tick.leading.set_function(lambda: leadership.leading)
    with _client(alerted, metrics) as client:
        values = _metrics(client)
    assert values["ticks_total", "done"] == 3
    assert values["ticks_total", "missed"] == 1
    assert values["alerts_decided_total", "fired"] == 2
    assert values["deliveries_total", "sent"] == 4
    assert values["leading", ""] == 1
    assert values["last_tick_timestamp_seconds", ""] == START * 60
    assert values["alerts", "firing"] == 1
    assert values["notifications", "queued"] == 1
    assert values["database_up", ""] == 1
    assert values["process_resident_memory_bytes", ""] > 0


def test_health_and_metrics_answer_while_the_database_is_away(
    alerted: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    def away() -> None:
        raise DatabaseAway("the lights are off")

    with _client(alerted) as client:
        assert (client.get("/readyz").status_code, client.head("/readyz").status_code) == (200, 200)
        monkeypatch.setattr(alerted, "read", lambda: away())
        assert client.get("/healthz").text == "ok\n"
        ready = client.get("/readyz")
        assert (ready.status_code, "the lights are off" in ready.text) == (503, True)
        assert _metrics(client)["database_up", ""] == 0
        page = client.get("/")
        assert (page.status_code, "The database is away (the lights are off)" in page.text) == (503, True)
        assert client.get("/api/v1/alerts").status_code == 503


def test_what_keeps_a_loop_from_its_work_is_not_ready_a_line_each(alerted: Database) -> None:
    lines = ["database away: it is read-only (for 7 s)", "nothing was stored for 70 s"]
    with _client(alerted, troubles=lambda: lines) as client:
        answer = client.get("/readyz")
        assert (answer.status_code, answer.text) == (503, "".join(f"{line}\n" for line in lines))
        lines.clear()
        assert (client.get("/readyz").status_code, client.get("/readyz").text) == (200, "ok\n")


def test_a_stopped_notifier_is_a_warning_and_keeps_nothing_else_from_its_work(alerted: Database) -> None:
    with alerted.write() as connection:
        stops.add(connection, stops.Stop(stops.Lane("desk", "hook"), 7, "https://hook.example answered 403", "a:b"))
    with _client(alerted) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, answer.text) == (
        200, "ok\nwarning: notifier hook of receiver desk is stopped: https://hook.example answered 403\n",
    )  # fmt: skip


def test_a_database_file_that_is_gone_is_away_and_is_not_made_anew(tmp_path: Path) -> None:
    copy_migrated(tmp_path / "a b?.sqlite")
    reader = Database(f"sqlite:///{quote(str(tmp_path / 'a b?.sqlite'))}", reader=True)
    with _client(reader) as client:
        assert client.get("/readyz").status_code == 200
        reader.close()
        for file in tmp_path.iterdir():
            file.unlink()
        assert client.get("/").status_code == 503
        assert client.get("/readyz").status_code == 503
        assert _metrics(client)["database_up", ""] == 0
        assert list(tmp_path.iterdir()) == []
        (tmp_path / "a b?.sqlite").write_bytes(b"not a database" * 1_000)
        assert (client.get("/").status_code, client.get("/readyz").status_code) == (503, 503)
    reader.close()


def test_a_database_of_another_version_is_not_ready(tmp_path: Path) -> None:
    empty = Database(f"sqlite:///{tmp_path / 'a.sqlite'}")
    with _client(empty) as client:
        answer = client.get("/readyz")
    assert (answer.status_code, "schema revision None" in answer.text) == (503, True)
    empty.close()


def test_while_every_page_waits_for_the_database_health_is_answered(
    filled: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    go_on = threading.Event()
    monkeypatch.setattr(filled, "read", lambda: go_on.wait(30))
    server = WebServer("127.0.0.1", 0)
    server.start(site(filled, Metrics(), names={}, now_ms=lambda: NOW_MS), lambda error: None)
    sockets = [socket.create_connection(("127.0.0.1", server.port)) for _ in range(50)]
    try:
        for reader in sockets:
            reader.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        time.sleep(0.5)
        assert httpx.get(f"{server.url}/healthz", timeout=5).text == "ok\n"
    finally:
        go_on.set()
        for reader in sockets:
            reader.close()
        server.stop()


def test_a_page_on_the_internet_cannot_read_this_one_through_its_visitor(alerted: Database) -> None:
    with _client(alerted, allowed_hosts=["localhost", "desk.example"]) as client:
        assert client.get("/").status_code == 200
        assert client.get("/", headers={"Host": "desk.example:8080"}).status_code == 200
        assert client.get("/", headers={"Host": "evil.example"}).status_code == 400
    with _client(alerted, allowed_hosts=["[::1]"]) as client:
        assert client.get("/", headers={"Host": "[::1]:8080"}).status_code == 200
        assert client.get("/", headers={"Host": "localhost"}).status_code == 400


# -- parts ------------------------------------------------------------------------------------------


def test_the_chart_library_comes_from_this_machine_packed_if_wanted(client: TestClient) -> None:
    plain = client.get("/plotly.min.js", headers={"Accept-Encoding": "identity"})
    packed = client.get("/plotly.min.js", headers={"Accept-Encoding": "gzip"})
    assert plain.text == packed.text
    for refused in ("gzip;q=0", "br, gzip; q=0.0", "xgzip", ""):
        assert "content-encoding" not in client.get("/plotly.min.js", headers={"Accept-Encoding": refused}).headers
    for wanted in ("gzip;q=0.5", "br, GZIP"):
        asked = client.get("/plotly.min.js", headers={"Accept-Encoding": wanted})
        assert asked.headers["content-encoding"] == "gzip"
    assert "plotly.js" in plain.text[:200]
    assert "immutable" in packed.headers["cache-control"]
    fresh = client.get("/static/monitor.js")
    again = client.get("/static/monitor.js", headers={"If-None-Match": fresh.headers["etag"]})
    assert (fresh.status_code, again.status_code) == (200, 304)
    assert fresh.headers["cache-control"] == again.headers["cache-control"] == "max-age=3600"


@pytest.mark.parametrize(
    ("url", "kept"),
    [
        ("https://a.example/x?y=1", True), ("http://a.example", True), ("HTTPS://A.EXAMPLE", True), ("", False),
        ("javascript:alert(1)", False), ("data:text/html,x", False), ("//a.example", False), ("a.example", False),
        ("https://", False), ("http://[", False), (" javascript:alert(1)", False),
    ],
)  # fmt: skip
def test_only_web_addresses_become_links(url: str, kept: bool) -> None:
    assert web_link(url) == (url if kept else None)


def test_links_carry_what_is_not_empty() -> None:
    assert href("series", name="source:a&b/c", label="", until=None) == "series?name=source%3Aa%26b%2Fc"
    assert href("./") == "./"


@pytest.mark.parametrize("values", [[], [0], [5], [0, 0], [1, 3, 2]])
def test_a_sparkline_stays_in_its_box(values: list[int]) -> None:
    for point in spark(values).split():
        x, y = map(float, point.split(","))
        assert 0 <= x <= 100
        assert 0 <= y <= 20


def test_every_template_is_used() -> None:
    folder = Path(site.__code__.co_filename).parent
    source = "".join(path.read_text() for path in (*folder.rglob("*.py"), *(folder / "templates").iterdir()))
    assert [path.name for path in (folder / "templates").iterdir() if f'"{path.name}"' not in source] == []
