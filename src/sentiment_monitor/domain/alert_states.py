"""The states of an alert, what changes them, and why."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """Of an alert. The list of states stands here and nowhere else."""

    PENDING = "pending"  # beyond, but not yet for ``for_minutes``
    FIRING = "firing"
    RESOLVED = "resolved"  # fired once, and over
    DROPPED = "dropped"  # pending came to nothing


class Listed(StrEnum):
    """What alerts may be listed by: their states, and what people are shown of some that fire."""

    PENDING = "pending"
    FIRING = "firing"  # those that recover among them: they fire still
    RECOVERING = "recovering"  # firing, but nothing holds it any more
    RESOLVED = "resolved"
    DROPPED = "dropped"


OPEN_STATES = (State.PENDING, State.FIRING)


class Kind(StrEnum):
    """Of a transition."""

    PENDING = "pending"
    DROPPED = "dropped"
    FIRED = "fired"
    REPEATED = "repeated"  # still firing, told again
    ESCALATED = "escalated"  # still firing, and graver, or not acknowledged: told at once, or to the next receiver
    RESOLVED = "resolved"
    REOPENED = "reopened"  # fires again, so soon that it is the same alert


class Why(StrEnum):
    """The reason of one decision on a state."""

    QUIET = "quiet"
    STALE = "stale"  # a spike of old news: it fires, and nobody is told
    WAITING = "waiting"  # pending, ``for`` is not over
    BEYOND = "beyond"
    ALREADY_FIRING = "already_firing"
    REPEAT_DUE = "repeat_due"
    HOLDING = "holding"  # under the bar to fire, over the bar to resolve
    KEEPING = "keeping"  # quiet, ``keep_firing`` is not over
    RECOVERED = "recovered"
    NO_DATA = "no_data"  # nothing can be said: the state stays as it is
    ALREADY_DECIDED = "already_decided"  # this minute, or a later one, has been decided before
    RULE_GONE = "rule_gone"  # no rule of that name watches the series any more
    RECEIVER_JOINED = "receiver_joined"  # it fires already, and a receiver has not heard of it
    HELD_UNTIL_NOW = "held_until_now"  # it fires already, and was held back from a receiver
    WORSENED = "worsened"  # graver than what a receiver has heard
    UNACKNOWLEDGED = "unacknowledged"  # nobody has taken it on in time
    CLOSED = "closed"  # somebody said that it is over
    DISMISSED = "dismissed"  # somebody said that it was false
