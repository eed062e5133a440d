"""The policy: what decides about news and alerts, made of the settings and the files they name, whole or not at all."""

from __future__ import annotations

import os
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass

from sentiment_monitor.app.routing import routes_of
from sentiment_monitor.detect.rules import DEFAULT_RULES, Rule
from sentiment_monitor.dispatch.routes import Routes
from sentiment_monitor.domain.alerts import Telling
from sentiment_monitor.enrich.names import Watchlist
from sentiment_monitor.errors import SettingsError
from sentiment_monitor.ingest.decode import Decoder
from sentiment_monitor.ingest.framing import Schemas
from sentiment_monitor.notify.contract import Notifier, Secret
from sentiment_monitor.notify.log import LogNotifier
from sentiment_monitor.notify.phrasing import Phrasing
from sentiment_monitor.settings import notifiers
from sentiment_monitor.settings.alerting import ReceiverSettings
from sentiment_monitor.settings.feed import NewsSettings
from sentiment_monitor.settings.load import Settings
from sentiment_monitor.settings.secrets import given
from sentiment_monitor.store.database import Database


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules, receivers with their notifiers, watchlist and decoder: frozen, and complete before anybody uses it.

    Making one is where settings can be wrong. No other system is asked.
    """

    rules: tuple[Rule, ...]
    routes: Routes  # who is told of their alerts
    receivers: Mapping[str, Mapping[str, Notifier]]  # by name, and by the notifier's name
    watchlist: Watchlist
    decoder: Decoder

    @classmethod
    def of(cls, settings: Settings) -> Policy:
        """Reads the files, compiles the mappings, makes the notifiers. Raises SettingsError, UsageError."""
        watchlist = Watchlist.load(settings.news.watchlist) if settings.news.watchlist else Watchlist([])
        decoder = decoder_of(settings.news)
        rules, tellings = watched(settings)
        routes = routes_of(settings, rules, tellings, watchlist.groups)
        receivers = _receivers(settings)
        return cls(rules, routes, receivers, watchlist, decoder)

    def close(self) -> None:
        """Gives back what decoder and notifiers hold."""
        self.decoder.close()
        for receiver in self.receivers.values():
            for notifier in receiver.values():
                notifier.close()


def decoder_of(news: NewsSettings) -> Decoder:
    """What reads records by these settings. Raises SettingsError."""
    return Decoder(**news.decoder_options(), schemas=_schemas(news))


def _schemas(news: NewsSettings) -> Schemas | None:
    if news.schema_registry is None:
        return None
    from sentiment_monitor.ingest.registry import SchemaRegistry  # an HTTP client, for those who want it, as below

    password = news.schema_registry_password.get_secret_value() if news.schema_registry_password else ""
    return SchemaRegistry(news.schema_registry, username=news.schema_registry_username or "", password=password)


def watched(settings: Settings) -> tuple[tuple[Rule, ...], dict[str, Telling]]:
    """The rules in force, those of the settings or the built-in ones, and who is told of each.

    A rule of the settings says that itself, a built-in one is told to every receiver; where there is a routing tree,
    that has the rules that name nobody.
    """
    if settings.rules is not None:
        return tuple(entry.rule for entry in settings.rules), {
            entry.name: entry.telling for entry in settings.rules if entry.receivers or settings.route is None
        }
    if settings.route is not None:
        return DEFAULT_RULES, {}
    everybody = Telling(tuple(receiver.name for receiver in settings.receivers))
    return DEFAULT_RULES, dict.fromkeys((rule.name for rule in DEFAULT_RULES), everybody)


def check(settings: Settings) -> None:
    """Raises SettingsError or UsageError for what ``monitor run`` would refuse, as far as no other system is needed."""
    check_files(settings)
    Policy.of(settings).close()
    Database(settings.database.url.get_secret_value()).close()


def check_files(settings: Settings) -> None:
    """Raises SettingsError for a certificate or key of the broker's connection that is not there."""
    for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile"):
        path = getattr(settings.kafka, name)
        if path and not os.access(path, os.R_OK):
            raise SettingsError(f"kafka.{name} {path}: there is no such file, or it cannot be read")


def _receivers(settings: Settings) -> dict[str, dict[str, Notifier]]:
    """The notifiers of every receiver by name, or none: those that are made before one cannot be are closed."""
    with ExitStack() as unused:
        receivers: dict[str, dict[str, Notifier]] = {}
        for receiver in settings.receivers:
            of_receiver = receivers.setdefault(receiver.name, {})
            for configured in receiver.notifiers:
                notifier = of_receiver[configured.name] = notifier_of(settings, receiver, configured)
                unused.callback(notifier.close)
        unused.pop_all()
    return receivers


def notifier_of(settings: Settings, receiver: ReceiverSettings, configured: notifiers.NotifierSettings) -> Notifier:
    """Makes one notifier. Raises SettingsError, which names the receiver."""
    try:
        return _made_of(settings, receiver, configured)
    except SettingsError as error:
        raise SettingsError(f"receiver {receiver.name}, notifier {configured.name}: {error}") from None


# Clients are imported where somebody wants one: commands that only look at settings should be quick.
def _made_of(settings: Settings, receiver: ReceiverSettings, configured: notifiers.NotifierSettings) -> Notifier:
    match configured:
        case notifiers.WebhookNotifierSettings():
            from sentiment_monitor.notify.webhook import WebhookNotifier

            return WebhookNotifier(
                str(configured.url),
                secret=given(configured.secret, configured.secret_file),
                token=given(configured.token, configured.token_file),
                timeout_s=configured.timeout_seconds,
            )
        case notifiers.SmtpNotifierSettings():
            from sentiment_monitor.notify.smtp import MailServer, SmtpNotifier

            return SmtpNotifier(
                MailServer(
                    configured.host,
                    configured.whole_port,
                    configured.security,
                    configured.username,
                    given(configured.password, configured.password_file),
                    configured.cafile,
                ),
                sender=configured.sender,
                to=configured.to,
                phrasing=_phrasing(receiver, configured),
                timeout_s=configured.timeout_seconds,
            )
        case notifiers.KafkaNotifierSettings():
            return _to_kafka(settings, configured)
        case notifiers.AppriseNotifierSettings():
            from sentiment_monitor.notify.apprise import AppriseNotifier

            phrasing = _phrasing(receiver, configured)
            return AppriseNotifier(given(configured.url, configured.url_file), phrasing=phrasing)
        case notifiers.LogNotifierSettings():
            return LogNotifier()
        case _:
            return _to_chat(receiver, configured)


def _phrasing(receiver: ReceiverSettings, configured: notifiers.WordedNotifierSettings) -> Phrasing:
    """In the notifier's own language, or its receiver's."""
    return Phrasing(configured.language or receiver.language, configured.template)


def _to_chat(
    receiver: ReceiverSettings,
    configured: notifiers.SlackNotifierSettings
    | notifiers.WecomNotifierSettings
    | notifiers.DingtalkNotifierSettings
    | notifiers.FeishuNotifierSettings,
) -> Notifier:
    from sentiment_monitor.notify.robots import ROBOTS, RobotNotifier

    secret: Secret = ""
    if isinstance(configured, notifiers.DingtalkNotifierSettings | notifiers.FeishuNotifierSettings):
        secret = given(configured.secret, configured.secret_file)
    return RobotNotifier(
        ROBOTS[configured.type],
        given(configured.url, configured.url_file),
        secret=secret,
        phrasing=_phrasing(receiver, configured),
        timeout_s=configured.timeout_seconds,
    )


def _to_kafka(settings: Settings, configured: notifiers.KafkaNotifierSettings) -> Notifier:
    from sentiment_monitor.ingest.publish import patient_producer
    from sentiment_monitor.notify.kafka import KafkaNotifier

    options = settings.kafka.client_options()

    def access() -> str:
        values = {name: value() if callable(value) else value for name, value in options.items()}
        return "\n".join(f"{name} {values[name]}" for name in sorted(values))

    return KafkaNotifier(
        lambda seconds: patient_producer(options, seconds),
        configured.topic,
        access=access,
        timeout_s=configured.timeout_seconds,
    )
