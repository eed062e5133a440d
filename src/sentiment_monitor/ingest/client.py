"""kafka-python tamed: refusals, handshakes, joins and outages that its own client would wait for, or keep to itself.

What reaches behind its public names is here and in batches.py; pyproject.toml bounds its version for that.
"""

from __future__ import annotations

import importlib.util
import random
import socket
import ssl
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, TopicPartition
from kafka import errors as kafka_errors
from kafka.net.compat import KafkaNetClient
from kafka.net.inet import KafkaNetSocket
from kafka.net.manager import KafkaConnectionManager
from kafka.net.selector import NetworkSelector
from kafka.net.transport import KafkaSSLTransport, KafkaTCPTransport
from kafka.protocol.metadata import MetadataRequest

from sentiment_monitor.errors import BrokerAway, BrokerRefused, MonitorError, SettingsError
from sentiment_monitor.ingest.batches import Batches
from sentiment_monitor.ingest.logins import Tokens, tokens
from sentiment_monitor.ingest.reach import Reach

UNAUTHENTICATED = (kafka_errors.SaslAuthenticationFailedError, kafka_errors.UnsupportedSaslMechanismError)
REFUSED = (kafka_errors.AuthorizationError, *UNAUTHENTICATED)
_PASSWORDS = ("sasl_plain_password", "ssl_password")
_JOIN_MS = 1_000
_METADATA_RETRY_MS = 500  # the client's own tenth of a second, for a topic that does not exist, is without end


class UntrustedBroker(kafka_errors.KafkaConnectionError):  # type: ignore[misc]  # the client publishes no types
    """The broker's certificate does not verify."""


def client_arguments(client_options: Mapping[str, Any], reach: Reach | None = None) -> dict[str, Any]:
    """What kafka-python's clients are given of the settings' options. Raises SettingsError.

    Our own options beside its: ``token_login`` (a TokenLogin), and as a password a function, which is asked at each
    connection.
    """
    arguments = dict(client_options)
    _check(arguments)
    login = arguments.pop("token_login", None)
    if login is not None:
        arguments["sasl_oauth_token_provider"] = tokens(login)
    arguments["kafka_client"] = partial(_strict_client, reach or Reach(hint(client_options)))
    return arguments


def _check(arguments: Mapping[str, Any]) -> None:
    """Raises SettingsError for what would fail at each connection, and look like a broker that is away."""
    if arguments.get("sasl_mechanism") == "GSSAPI" and importlib.util.find_spec("gssapi") is None:
        raise SettingsError("kafka.sasl_mechanism GSSAPI: the package gssapi is not installed")
    if "SSL" not in arguments.get("security_protocol", ""):
        return
    options = {**KafkaSSLTransport.DEFAULT_CONFIG, **arguments}
    if callable(options["ssl_password"]):
        options["ssl_password"] = options["ssl_password"]()
    try:
        KafkaSSLTransport._build_ssl_context(options)
    except (OSError, ValueError) as error:
        files = [options[name] for name in ("ssl_cafile", "ssl_certfile", "ssl_keyfile") if options[name]]
        raise SettingsError(f"kafka: TLS cannot be set up with {', '.join(files)}: {error}") from None


def connection_error(error: Exception, client_options: Mapping[str, Any]) -> MonitorError:
    """What to raise when a client cannot be made: BrokerAway only when trying again can help."""
    if isinstance(error, (*REFUSED, UntrustedBroker)):
        return refusal(error)
    if isinstance(error, kafka_errors.KafkaConfigurationError):
        return SettingsError(f"kafka: the client refuses these settings: {error}")
    servers = ", ".join(client_options.get("bootstrap_servers", []))
    return BrokerAway(f"no Kafka broker answers at {servers}: {error}{hint(client_options)}")


def hint(client_options: Mapping[str, Any]) -> str:
    """What to add where a broker does not answer: what looks the same."""
    if client_options.get("security_protocol", "PLAINTEXT") == "PLAINTEXT":
        return ""
    return " (a port without TLS looks the same)"


def refusal(error: Exception) -> BrokerRefused:
    """What to raise for one of :data:`REFUSED`, or an UntrustedBroker."""
    if isinstance(error, UntrustedBroker):
        return BrokerRefused(
            f"the Kafka broker is not who it should be: {error}. Check kafka.ssl_cafile, and that its certificate "
            "names the host in kafka.bootstrap_servers."
        )
    if not isinstance(error, UNAUTHENTICATED):
        return BrokerRefused(f"Kafka refused us: {error}")
    return BrokerRefused(
        f"Kafka refused us: authentication failed ({error}). Check kafka.sasl_mechanism, kafka.sasl_username and the "
        "password (MONITOR_KAFKA__SASL_PASSWORD or its secret file), for a token the kafka.oauth_ settings, and that "
        "the broker knows this user."
    )


class Consumer(KafkaConsumer):  # type: ignore[misc]  # the client publishes no types
    """kafka-python's consumer, which reads past broken batches and knows up to where records may be read."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._fetcher = Batches(self._client, self._subscription, **self.config)

    def stable_end(self, partition: TopicPartition) -> int | None:
        """See :meth:`Batches.stable_end`. Raises KeyError for a partition that is not ours."""
        end: int | None = self._fetcher.stable_end(partition)
        return end


class _Connections(KafkaConnectionManager):  # type: ignore[misc]  # the client publishes no types
    """Ends the first search for a broker as soon as one refuses us, and a TLS handshake that nobody answers.

    The client's own search takes a refusal for a broker that is away and tries again until its time is over. Once
    connected, brokers that come and go are the client's matter again. For a handshake, as with a port that speaks no
    TLS, kafka-python 3.0.12 waits for ever, and it leaves the socket open of each connection that fails. It also asks
    the brokers that it knows and no others: when all of them are gone from their addresses, the configured ones are
    asked again. A password is read anew for each connection.
    """

    def __init__(self, reach: Reach, net: Any, **options: Any) -> None:
        self._reach = reach
        self._connected = False
        self._refused: Exception | None = None
        super().__init__(net, **options)
        self._renewed = {name: self.config[name] for name in _PASSWORDS if callable(self.config[name])}
        # kafka-python 3.0.12 does not hand these on.
        self.cluster.config["allow_auto_create_topics"] = options.get("allow_auto_create_topics", True)
        self.cluster.config["retry_backoff_ms"] = _METADATA_RETRY_MS

    def get_connection(self, node_id: Any, *arguments: Any, **options: Any) -> Any:
        if self._refused is not None and not self._connected:
            raise self._refused
        new = node_id not in self._conns
        if new:
            self.config.update({name: read() for name, read in self._renewed.items()})
        connection = super().get_connection(node_id, *arguments, **options)
        if new:
            broker = self.cluster.broker_metadata(node_id)
            address = f"{broker.host}:{broker.port}"
            connection.init_future.add_callback(partial(self._welcome, address))
            connection.init_future.add_errback(partial(self._note, node_id, address))
        return connection

    def least_loaded_node(self) -> Any:
        node = super().least_loaded_node()
        if node is not None and node not in self._backoff:
            return node  # the last attempt, if there was one, succeeded
        configured = [broker.node_id for broker in self.cluster.bootstrap_brokers()]
        candidates = [name for name in configured if not self.connection_delay(name)]
        return random.choice([*candidates, *([] if node is None else [node])] or [None])  # noqa: S311

    def bootstrap(self, *arguments: Any, **options: Any) -> Any:
        try:
            return super().bootstrap(*arguments, **options)
        except BaseException:
            if not self._connected:
                self._net.close()  # the client that was not made cannot be closed
            raise

    async def _build_transport(self, node: Any, timeout_at: float | None = None) -> Any:
        sock = await _connected(self._net, node, self.config, timeout_at)
        try:
            transport = self._wrapped(sock, node.host)
        except BaseException:
            sock.close()
            raise
        try:
            await _handshake(transport, timeout_at)
        except BaseException as error:  # also where the attempt is given up while it waits
            transport.close()
            if isinstance(error, ssl.SSLCertVerificationError):
                raise UntrustedBroker(f"{node.host}:{node.port}: {error.verify_message}") from error
            if isinstance(error, kafka_errors.KafkaTimeoutError):
                raise kafka_errors.KafkaConnectionError("Handshake timed out") from None
            if isinstance(error, Exception):
                raise kafka_errors.KafkaConnectionError(f"Handshake failed: {error}") from error
            raise
        return _last_words(transport)

    def _wrapped(self, sock: socket.socket, host: str) -> Any:
        if not self.ssl_enabled:
            return KafkaTCPTransport(self._net, sock, host=host)
        options = {name: value for name, value in self.config.items() if name.startswith("ssl_")}
        return KafkaSSLTransport(self._net, sock, host=host, **options)

    def _welcome(self, address: str, _: object) -> None:
        self._connected = True
        self._reach.answered(address)

    def _note(self, node_id: Any, address: str, error: Exception) -> None:
        # Where the connection was made and only the login failed, the client would try again at once, without end.
        self._net.call_later(0, lambda: self.update_backoff(node_id))
        if isinstance(error, (*REFUSED, UntrustedBroker)):
            self._refused = error
            self._reach.refused(address, error)
            if isinstance(provider := self.config["sasl_oauth_token_provider"], Tokens):
                provider.forget()
        elif not self.closed:
            self._reach.failed(address, str(error) or type(error).__name__)


async def _connected(
    net: NetworkSelector, node: Any, options: Mapping[str, Any], timeout_at: float | None
) -> socket.socket:
    """A socket that is connected to the node, at the first of its addresses that lets us; the others are closed."""
    opener = KafkaNetSocket(options["proxy_url"])
    opens = opener.socket
    opened: list[socket.socket] = []

    def opens_noted(*kind: int) -> socket.socket:
        opened.append(opens(*kind))
        return opened[-1]

    opener.socket = opens_noted
    failure: Exception = kafka_errors.KafkaConnectionError(f"DNS does not know {node.host}")
    for address in opener.dns_lookup(node.host, node.port):
        try:
            await opener.connect(net, address, options["socket_options"], timeout_at=timeout_at)
            return opened[-1]
        except BaseException as error:
            for sock in opened:
                sock.close()
            if isinstance(error, kafka_errors.KafkaTimeoutError):
                raise kafka_errors.KafkaConnectionError("Connection timed out") from None
            if not isinstance(error, (OSError, kafka_errors.KafkaConnectionError)):
                raise
            failure = error
    raise failure if isinstance(failure, kafka_errors.KafkaError) else kafka_errors.KafkaConnectionError(str(failure))


async def _handshake(transport: Any, timeout_at: float | None) -> None:
    while isinstance(transport, KafkaSSLTransport):
        try:
            transport._sock.do_handshake()
            break
        except ssl.SSLWantReadError:
            await transport._net.wait_read(transport._sock, timeout_at=timeout_at)
        except ssl.SSLWantWriteError:
            await transport._net.wait_write(transport._sock, timeout_at=timeout_at)


def _last_words(transport: Any) -> Any:
    """A transport that hands on what came together with the end of the connection, such as why we are refused.

    kafka-python 3.0.12 throws it away, and a refusal then looks like a broker that hung up.
    """
    receive = transport._sock_recv

    def receive_all() -> tuple[bytes, Exception | None]:
        data, error = receive()
        return (data, None) if data else (data, error)  # the end is met again at the next reading

    transport._sock_recv = receive_all
    return transport


def _strict_client(reach: Reach, **options: Any) -> KafkaNetClient:
    """For a client's option ``kafka_client``: at its start a refusal is an error at once, not a broker that is away."""
    net = NetworkSelector(**options)
    return KafkaNetClient(net, _Connections(reach, net, **options), **options)


class _Fitting:
    """Stands for a compiled expression where the client asks one."""

    def __init__(self, fits: Callable[[str], bool]) -> None:
        self.match = fits


def subscribe_to_fitting(
    consumer: KafkaConsumer, fits: Callable[[str], bool], listener: ConsumerRebalanceListener
) -> None:
    """Subscribes to every topic, now or later, whose name fits. The client's own expressions have no bound in time."""
    consumer.subscribe(pattern="(?!)", listener=listener)  # fits nothing
    consumer._subscription.subscribed_pattern = _Fitting(fits)
    consumer._cluster.request_update()


def existing_topics(consumer: KafkaConsumer, timeout_ms: int) -> set[str]:
    """Every topic that we may see, without the client's own view of them changing. Raises the client's errors."""
    manager = consumer._manager

    async def ask() -> Any:
        request = MetadataRequest(
            topics=MetadataRequest.ALL_TOPICS,
            allow_auto_topic_creation=False,
            include_cluster_authorized_operations=False,
            include_topic_authorized_operations=False,
        )
        return await manager.wait_for(manager.send(request), timeout_ms)

    answer = manager.run(ask)
    return {topic.name for topic in answer.topics if not topic.error_code and not topic.is_internal}


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
