"""The process in which a user's template runs: python -m sentiment_monitor.notify.texts_child, one message each.

It takes a line of JSON and answers with one. Its memory and its time on the processor are bounded by the system; who
asks bounds the time on the clock.
"""

from __future__ import annotations

import resource
import sys

import msgspec

from sentiment_monitor.notify.channels import CHANNELS
from sentiment_monitor.notify.texts import Language, Rendered, render

MOST_MEMORY_BYTES = 512 * 1024 * 1024
MOST_CPU_SECONDS = 5


class Question(msgspec.Struct, frozen=True):
    """A message to be worded."""

    source: str
    channel: str
    language: Language
    message: dict[str, object]


class Reply(msgspec.Struct, frozen=True):
    """The message, or why there is none."""

    rendered: Rendered | None = None
    failed: str = ""


def main() -> None:
    """Answers one question."""
    resource.setrlimit(resource.RLIMIT_AS, (MOST_MEMORY_BYTES, MOST_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (MOST_CPU_SECONDS, MOST_CPU_SECONDS))
    question = msgspec.json.decode(sys.stdin.buffer.readline(), type=Question)
    sys.stdout.buffer.write(msgspec.json.encode(_answer(question)) + b"\n")


def _answer(question: Question) -> Reply:
    try:
        rendered = render(question.source, question.message, CHANNELS[question.channel], question.language)
    except Exception as error:  # noqa: BLE001 (an expression may raise anything)
        return Reply(failed=f"{type(error).__name__}: {error}"[:300])
    return Reply(rendered)


if __name__ == "__main__":
    main()
