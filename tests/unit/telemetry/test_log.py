"""Log lines: JSON for machines, words on a terminal."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from sentiment_monitor.telemetry import log


@pytest.fixture(autouse=True)
def _as_before() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_events_are_one_json_object_a_line_with_their_fields() -> None:
    out = io.StringIO()
    log.configure("info", "auto", out)
    structlog.get_logger().info("batch.stored", records=3, headline="银行 \ud83d")
    structlog.get_logger().debug("unheard")
    (line,) = out.getvalue().splitlines()
    found = json.loads(line)
    assert (found["event"], found["records"], found["level"]) == ("batch.stored", 3, "info")
    assert found["timestamp"].endswith("Z")
    assert "银行" in line


def test_an_exception_is_a_field_and_not_more_lines() -> None:
    out = io.StringIO()
    log.configure("info", "json", out)
    try:
        raise ValueError("broken")
    except ValueError:
        structlog.get_logger().exception("record.prepare_failed")
    (line,) = out.getvalue().splitlines()
    assert "ValueError: broken" in json.loads(line)["exception"]


def test_on_a_terminal_and_on_request_people_read_words() -> None:
    for form, out in (("auto", _Terminal()), ("console", io.StringIO())):
        log.configure("info", form, out)
        structlog.get_logger().info("batch.stored", records=3)
        assert "batch.stored" in out.getvalue()
        with pytest.raises(ValueError):
            json.loads(out.getvalue())


def test_libraries_speak_json_too_and_only_from_warning_up() -> None:
    out = io.StringIO()
    log.configure("debug", "json", out)
    logging.getLogger("kafka").info("chatter")
    logging.getLogger("kafka").warning("group %s lost", "g")
    (line,) = out.getvalue().splitlines()
    assert json.loads(line)["event"] == "group g lost"


def test_configuring_twice_writes_each_line_once() -> None:
    log.configure("info", "json", io.StringIO())
    out = io.StringIO()
    log.configure("info", "json", out)
    logging.getLogger("x").error("once")
    assert len(out.getvalue().splitlines()) == 1


@pytest.mark.parametrize("form", ["console", "json"])
def test_an_exception_does_not_show_what_the_variables_held(form: str) -> None:
    out = _Terminal()
    log.configure("info", form, out)
    secret = "-".join(("hunter", "2"))
    try:
        int(secret[:0])
    except ValueError:
        structlog.get_logger().exception("record.prepare_failed")
    assert "ValueError" in out.getvalue()
    assert secret not in out.getvalue()
