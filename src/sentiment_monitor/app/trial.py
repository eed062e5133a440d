"""A test of a receiver: a marked alert through its real notifiers, and what each of them says."""

from __future__ import annotations

import time
from contextlib import ExitStack
from dataclasses import dataclass
from enum import StrEnum

from sentiment_monitor.app.policy import notifier_of
from sentiment_monitor.dispatch.trial import trial
from sentiment_monitor.errors import RecordError, RetryLater, UsageError, meant
from sentiment_monitor.notify.contract import Notifier, NotifierRefused
from sentiment_monitor.settings.alerting import ReceiverSettings
from sentiment_monitor.settings.load import Settings


class TrialOutcome(StrEnum):
    """What became of a test."""

    TAKEN = "taken"
    LATER = "later"  # it is away, or asks us to wait
    REJECTED = "rejected"  # it does not take this message
    REFUSED = "refused"  # it does not let us in


@dataclass(frozen=True, slots=True)
class NotifierTrial:
    """What one notifier made of the test."""

    notifier: str
    type: str
    outcome: TrialOutcome
    seconds: float
    detail: str = ""  # for people


def receiver_of(settings: Settings, name: str) -> ReceiverSettings:
    """The receiver of that name. Raises UsageError, with the nearest that there is."""
    names = [receiver.name for receiver in settings.receivers]
    if name not in names:
        raise UsageError(f"there is no receiver {name}; {meant(name, names) or 'there are: ' + ', '.join(names)}")
    return settings.receivers[names.index(name)]


def try_receiver(settings: Settings, name: str, notifier: str | None, now_ms: int) -> list[NotifierTrial]:
    """Sends a marked test alert by each notifier of a receiver, or by one, whether it is stopped or not.

    Nothing is stored. Raises UsageError for a receiver or notifier that the settings do not have, SettingsError for one
    that cannot be made.
    """
    receiver = receiver_of(settings, name)
    chosen = [configured for configured in receiver.notifiers if notifier in (None, configured.name)]
    if not chosen:
        names = [configured.name for configured in receiver.notifiers]
        raise UsageError(f"receiver {name} has no notifier {notifier}; it has: {', '.join(names)}")
    with ExitStack() as closing:
        notifiers = []
        for configured in chosen:
            notifiers.append(notifier_of(settings, receiver, configured))
            closing.callback(notifiers[-1].close)
        return [
            _try(sender, name, configured.name, configured.type, settings.external_url, now_ms)
            for sender, configured in zip(notifiers, chosen, strict=True)
        ]


def _try(sender: Notifier, receiver: str, notifier: str, kind: str, external_url: str, now_ms: int) -> NotifierTrial:
    outcome, detail = TrialOutcome.TAKEN, ""
    began = time.monotonic()
    try:
        sender.send(trial(receiver, notifier, now_ms, external_url), now_ms)
    except RetryLater as error:
        outcome, detail = TrialOutcome.LATER, str(error)
    except RecordError as error:
        outcome, detail = TrialOutcome.REJECTED, str(error)
    except NotifierRefused as error:
        outcome, detail = TrialOutcome.REFUSED, str(error)
    return NotifierTrial(notifier, kind, outcome, time.monotonic() - began, detail)
