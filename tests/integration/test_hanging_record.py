"""A record that hangs the interpreter: the process ends, and from the third start on the record is out of the way."""

from __future__ import annotations

import signal
from pathlib import Path

from integration.harness import START_MS, Message, Results, invent, send, service, until
from sentiment_monitor.app.watchdog import EXIT_CODE
from sentiment_monitor.ingest.embedded import EmbeddedBroker


def test_a_record_that_hangs_ends_two_processes_and_is_put_aside_by_the_third(
    embedded_broker: EmbeddedBroker, tmp_path: Path, name: str
) -> None:
    feed = invent(60, seed=91, broken=0)
    deadly = Message(b"x", b'{"headline": "Norwick names a treasurer", "id": "deadly"}', START_MS)
    send(embedded_broker.address, name, [*feed.messages[:30], deadly, *feed.messages[30:]], partitions=1)
    url = f"sqlite:///{tmp_path / 'monitor.sqlite'}"
    with service(tmp_path, embedded_broker.address, name, name, url, service__stuck_seconds="1") as replicas:
        for _ in range(2):
            hanging = replicas.run(hang_on=b"deadly")
            assert hanging.wait(30) == EXIT_CODE, repr(hanging)
            assert "in decode" in hanging.text()
        with Results(url, name) as results:
            monitor = replicas.run(hang_on=b"deadly")
            until(lambda: results.position() == 61, "the rest to be stored", of=monitor)
            monitor.signal(signal.SIGTERM)
            assert monitor.wait(20) == 0, repr(monitor)
            contents = results.check()
        assert set(contents["stories"]) == feed.stories
        ((letter, *_),) = contents["dead_letters"].values()
        assert (letter["code"], letter["raw_value"]) == ("killed_process", deadly.value)
