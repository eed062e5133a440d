"""kafka-python tamed: refusals, handshakes and joins that its own client would wait for.

Everything that reaches behind its public names is here; pyproject.toml bounds its version for that.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kafka import KafkaConsumer
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector

from sentiment_monitor.errors import BrokerAway, BrokerRefused, MonitorError, SettingsError

_UNAUTHENTICATED = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)
REFUSED = (kafka_errors.AuthorizationError, *_UNAUTHENTICATED)
_JOIN_MS = 1_000


def connection_error(error: Exception, client_options: Mapping[str, Any]) -> MonitorError:
    """What to raise when a client cannot be made: BrokerAway only when trying again can help."""
    if isinstance(error, REFUSED):
        return refusal(error)
    if isinstance(error, kafka_errors.KafkaConfigurationError):
        return SettingsError(f"kafka: the client refuses these settings: {error}")
    servers = ", ".join(client_options.get("bootstrap_servers", []))
    hint = ""
    if client_options.get("security_protocol", "PLAINTEXT") != "PLAINTEXT":
        # Where a broker hangs up right after its refusal, the client may see only that it hung up.
        hint = (
            " (a wrong user, password or certificate authority, or a port without TLS, looks the same: the log says "
            "what the broker did)"
        )
    return BrokerAway(f"no Kafka broker answers at {servers}: {error}{hint}")


def refusal(error: Exception) -> BrokerRefused:
    """What to raise for one of :data:`REFUSED`."""
    if not isinstance(error, _UNAUTHENTICATED):
        return BrokerRefused(f"Kafka refused us: {error}")
    return BrokerRefused(
        f"Kafka refused us: authentication failed ({error}). Check kafka.sasl_mechanism, kafka.sasl_username and the "
        "password (MONITOR_KAFKA__SASL_PASSWORD or its secret file), and that the broker knows this user."
    )


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # the client publishes no types
    """Ends the first search for a broker as soon as one refuses us, and a TLS handshake that nobody answers.

    The client's own search takes a refusal for a broker that is away and tries again until its time is over. Once
    connected, brokers that come and go are the client's matter again. For a handshake, as with a port that speaks no
    TLS, kafka-python 3.0.12 waits for ever.
    """

    _connected = False
    _refused: Exception | None = None

    def get_connection(self, node_id: Any, *arguments: Any, **options: Any) -> Any:
        if self._refused is not None and not self._connected:
            raise self._refused
        connection = super().get_connection(node_id, *arguments, **options)
        connection.init_future.add_callback(self._welcome).add_errback(self._note)
        return connection

    def bootstrap(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().bootstrap(*arguments, **options)
        except BaseException:
            if not self._connected:
                self._net.close()  # the client that was not made cannot be closed
            raise

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        building = self._net.call_soon_with_future(super()._build_transport, node, timeout_at)
        try:
            left = None if timeout_at is None else max(0.0, timeout_at - time.monotonic()) * 1000
            return await self.wait_for(building, left)
        except kafka_errors.KafkaTimeoutError:
            building.add_callback(lambda transport: transport.close())  # it may still come
            raise

    def _welcome(self, _: object) -> None:
        self._connected = True

    def _note(self, error: Exception) -> None:
        if isinstance(error, REFUSED):
            self._refused = error


def strict_client(**options: Any) -> KafkaNetClient:
    """For a client's option ``kafka_client``: at its start a refusal is an error at once, not a broker that is away."""
    net = NetworkSelector(**options)
    return KafkaNetClient(net, _Connections(net, **options), **options)


def finish_joining(consumer: KafkaConsumer) -> None:
    """Have the client finish a join that an earlier poll began.

    kafka-python 3.0.12 joins again when a topic's partitions change, without noting that it must. If the poll ends
    first and this member is the group's leader, handing out partitions takes the reason away, and the answer is
    never read: a member without partitions or heartbeats that goes on polling, for ever. And an answer that comes
    between two polls starts the join anew, hence the wait: there is nothing to fetch meanwhile.
    """
    coordinator = consumer._coordinator
    if coordinator.rejoining:
        coordinator.request_rejoin()
        coordinator.ensure_active_group(timeout_ms=_JOIN_MS)


def forget_first_join(consumer: KafkaConsumer) -> None:
    """Before the consumer is closed: leaves without a word a group whose first join is pending.

    The embedded broker never again completes a group that a member has left in that state: the next start would read
    nothing, for ever. It forgets the silent member in time.
    """
    coordinator = consumer._coordinator
    if coordinator.rejoining and coordinator._generation.generation_id < 0:
        coordinator.reset_generation()
