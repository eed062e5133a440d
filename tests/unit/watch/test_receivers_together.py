"""A mail server, a webhook, a chat and a topic that are down for a while: then each decision arrives once."""

from __future__ import annotations

import json
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from kafka import KafkaConsumer

import receiver as receivers
from databases import migrated_sqlite
from mail_server import free_port, mail_server
from sentiment_monitor.ingest.embedded import EmbeddedBroker
from sentiment_monitor.ingest.publish import ensure_topic, patient_producer
from sentiment_monitor.notify.contract import Notifier
from sentiment_monitor.notify.kafka import KafkaNotifier
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.notify.robots import ROBOTS, RobotNotifier
from sentiment_monitor.notify.smtp import MailServer, SmtpNotifier
from sentiment_monitor.notify.webhook import WebhookNotifier
from sentiment_monitor.store.alerts import Change
from sentiment_monitor.watch.deliver import Delivery
from sentiment_monitor.watch.lease import Leadership
from writing import Alerts, alert, event

NOW = 1_678_468_860_000
COUNT = 12
NAMES = ("mail", "hook", "chat", "topic")


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Alerts]:
    database = migrated_sqlite(tmp_path / "a.sqlite")
    yield Alerts(database)
    database.close()


class _Clock:
    now = NOW

    def __call__(self) -> int:
        return self.now


def _decide(store: Alerts, leadership: Leadership) -> set[str]:
    """Decisions of which every notifier is to tell; their keys, without the notifier."""
    lease = leadership.lease()
    assert lease is not None
    for n in range(COUNT):
        told = [replace(receivers.notification(), key=f"{n}-{name}", receiver="desk", notifier=name) for name in NAMES]
        store.apply(lease, 1, [Change(alert(series=f"ticker:{n}"), event(minute=1), told)], NOW)
    return {str(n) for n in range(COUNT)}


def test_receivers_that_are_down_for_a_while_get_each_decision_once_under_its_key(
    store: Alerts, embedded_broker: EmbeddedBroker
) -> None:
    clock = _Clock()
    leadership = Leadership(store.leases, "me", 10**9, clock)
    mail_port, topic_port = free_port(), free_port()
    brokers = [f"127.0.0.1:{topic_port}"]  # nobody is there at first
    ensure_topic({"bootstrap_servers": [embedded_broker.address]}, "alerts-together", 1)
    with ExitStack() as undo:
        hook = undo.enter_context(receivers.receiver(receivers.Answer(503)))
        chat = undo.enter_context(receivers.receiver(receivers.Answer(500)))
        notifiers: dict[str, Notifier] = {
            "mail": SmtpNotifier(
                MailServer("127.0.0.1", mail_port, "none"),
                sender="monitor@bank.example",
                to=["desk@bank.example"],
                phrasing=Phrasing(),
            ),
            "hook": WebhookNotifier(f"{hook.url}/hook", secret="s3cret"),
            "chat": RobotNotifier(ROBOTS["wecom"], f"{chat.url}/send", phrasing=Phrasing("zh")),
            "topic": KafkaNotifier(
                lambda seconds: patient_producer({"bootstrap_servers": brokers}, seconds),
                "alerts-together",
                access=str,
                timeout_s=2.0,
            ),
        }
        for notifier in notifiers.values():
            undo.callback(notifier.close)
        keys = _decide(store, leadership)
        delivery = Delivery(store.outbox, {"desk": notifiers}, leadership, now_ms=clock, give_up_ms=24 * 3_600_000)
        for _ in range(3):
            delivery.drain(60)
            clock.now += 60_000
        assert store.outbox.queued() == COUNT * len(NAMES)
        # Some come back before others, and each in the midst of its backlog.
        hook.answers[:] = [receivers.Answer(), receivers.Answer(503), receivers.Answer()]
        chat.answers[:] = [receivers.Answer(body=b'{"errcode":45009}'), receivers.Answer(body=b'{"errcode":0}')]
        brokers[0] = embedded_broker.address
        box = undo.enter_context(mail_server(port=mail_port))
        box.data_answers = ["250 OK", "451 busy", "421 closing"]
        refusals = len(hook.seen), len(chat.seen)
        for _ in range(12):
            delivery.drain(60)
            clock.now += 20 * 60_000
        assert store.outbox.queued() == 0
        assert {record.state for record in store.outbox.log(1_000)} == {"sent"}
        mails = Counter(message["Message-ID"] for message in box.taken)
        hooks = Counter(seen.headers["Idempotency-Key"] for seen in hook.seen[refusals[0] :])
        topic = _keys(embedded_broker.address)
    assert mails == Counter(f"<{key}-mail@bank.example>" for key in keys)
    assert set(hooks) == {f"{key}-hook" for key in keys}
    assert sum(hooks.values()) == COUNT + 1  # one was refused in between
    assert topic == Counter(f"{key}-topic" for key in keys)
    cards = chat.seen[refusals[1] :]
    assert len(cards) == COUNT + 1
    assert all(json.loads(seen.body)["msgtype"] == "markdown" for seen in cards)
    assert not [thread.name for thread in threading.enumerate() if thread.name.startswith("deliver ")]


def _keys(address: str) -> Counter[str]:
    consumer = KafkaConsumer(
        "alerts-together", bootstrap_servers=[address], auto_offset_reset="earliest", group_id=None
    )
    try:
        keys: Counter[str] = Counter()
        for _ in range(6):
            for batch in consumer.poll(timeout_ms=500).values():
                keys.update(dict(record.headers)["idempotency-key"].decode() for record in batch)
        return keys
    finally:
        consumer.close()
