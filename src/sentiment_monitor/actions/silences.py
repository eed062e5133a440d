"""Silences: what is not to be told for a while, and when that ends early."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sentiment_monitor.actions import wording
from sentiment_monitor.actions.outcomes import Acted, ActionOutcome
from sentiment_monitor.domain.matchers import Matcher
from sentiment_monitor.domain.payload import LABELS
from sentiment_monitor.domain.people import Silence
from sentiment_monitor.errors import UsageError
from sentiment_monitor.store import audit, people
from sentiment_monitor.store.database import Database
from sentiment_monitor.times import MINUTE_MS, clock

MOST_MATCHERS = 20
LONGEST_MINUTES = 366 * 24 * 60


def matchers_of(written: Sequence[str]) -> tuple[Matcher, ...]:
    """Reads the matchers of a silence. Raises UsageError for any that cannot be meant.

    A label that no alert has would mute nothing, or everything, without a word. Matchers that fit an alert without
    labels would mute all there is; whoever wants that says so: ``alertname=~".+"``.
    """
    if not written:
        raise UsageError('a silence needs at least one matcher, such as series="ticker:KSTR"')
    if len(written) > MOST_MATCHERS:
        raise UsageError(f"a silence of more than {MOST_MATCHERS} matchers")
    matchers = []
    for text in written:
        try:
            matchers.append(Matcher.of(wording.text("matcher", text)))
        except ValueError as error:
            raise UsageError(str(error)) from None
        if matchers[-1].label not in LABELS:
            raise UsageError(f"{text}: alerts have no label {matchers[-1].label}; they have {', '.join(LABELS)}")
    if all(matcher.fits({}) for matcher in matchers):
        raise UsageError('that would mute every alert: name what to mute, or say alertname=~".+" if you mean all')
    return tuple(matchers)


def add_silence(
    database: Database,
    actor: str,
    *,
    matchers: Sequence[Matcher],
    author: str,
    comment: str,
    starts_minute: int | None,
    ends_minute: int,
    now_ms: int,
) -> Silence:
    """Mutes alerts with these labels until ``ends_minute``, from ``starts_minute`` on (None: from the next tick on).

    The same silence a second time is the first one. Raises UsageError for a span that is over, empty or longer than a
    year, and for words that cannot be kept; DatabaseAway.
    """
    author, comment = wording.name("author", author), wording.text("comment", comment, required=True)
    with database.write() as connection:
        present = now_ms // MINUTE_MS
        # Minutes that are decided cannot be muted any more.
        begins = max(present if starts_minute is None else starts_minute, people.undecided_minute(connection, now_ms))
        if ends_minute - present > LONGEST_MINUTES:  # maybe so far ahead that no calendar names it
            raise UsageError("a silence ends a year ahead at most")
        if ends_minute <= begins:
            raise UsageError(f"a silence until {clock(ends_minute)} UTC would be over before it begins")
        draft = Silence(0, tuple(matchers), begins, ends_minute, author, comment)
        for standing in people.listed(connection, present):
            if _same(standing, draft):
                return standing
        silence = replace(draft, id=people.add_silence(connection, draft, now_ms))
        detail = {
            "matchers": [str(matcher) for matcher in matchers],
            "from": clock(begins),
            "until": clock(ends_minute),
            "author": author,
            "comment": comment,
        }
        audit.note(connection, [audit.Entry(now_ms, actor, "silence.add", f"silence:{silence.id}", detail)])
    return silence


def _same(standing: Silence, draft: Silence) -> bool:
    """Whether the one has nothing to add to the other: a second one that begins at once begins a little later."""
    begins = draft.starts_minute
    return standing.starts_minute <= begins and replace(standing, id=draft.id, starts_minute=begins) == draft


def expire(database: Database, actor: str, ids: Sequence[int], now_ms: int) -> list[Acted]:
    """Ends silences now: what still fires is told with the next tick. Raises DatabaseAway."""
    expiries = []
    present = now_ms // MINUTE_MS
    with database.write() as connection:
        undecided = people.undecided_minute(connection, now_ms)
        for number in dict.fromkeys(ids):
            silence = people.numbered(connection, number)
            if silence is None:
                expiries.append(Acted(number, ActionOutcome.UNKNOWN, "there is no such silence"))
                continue
            # Where nothing has been decided for long it does not end before it began.
            ends = max(undecided, min(silence.starts_minute, present))
            if silence.ends_minute <= ends:
                over = f"it was over {clock(silence.ends_minute)} UTC"
                expiries.append(Acted(number, ActionOutcome.ALREADY, over))
                continue
            people.end_silence(connection, number, ends)
            detail = {"would_have_ended": clock(silence.ends_minute)}
            audit.note(connection, [audit.Entry(now_ms, actor, "silence.expire", f"silence:{number}", detail)])
            expired = "expired: what still fires is told with the next tick"
            expiries.append(Acted(number, ActionOutcome.DONE, expired))
    return expiries
