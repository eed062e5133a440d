"""A schema registry with Confluent's interface: schemas by the id that a value names, fetched once."""

from __future__ import annotations

import io
import json
import time
from collections.abc import Callable, Mapping
from datetime import date, datetime
from datetime import time as time_of_day
from decimal import Decimal
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import httpx

from sentiment_monitor.domain.waits import waiting
from sentiment_monitor.errors import RecordError, RegistryAway, RegistryRefused, SettingsError

_TIMEOUT_S = 10.0
_MAX_SCHEMAS = 10_000  # kept; a topic has a handful
_MAX_REFERENCES = 100  # of one schema, those of its references included
_AWAY = {408, 425, 429}
_UNREADABLE_SECONDS = 5.0  # until a schema that could not be had is asked for again
_KINDS = "/schemas/types"  # a path of every registry, that names no schema

Reader = Callable[[bytes], Any]
"""From a payload to what it says."""


class SchemaRegistry:
    """Reads payloads in JSON and Avro by schemas that it keeps; Avro needs the extra ``avro``.

    Raises SettingsError when that is not installed.
    """

    def __init__(self, url: str, *, username: str = "", password: str = "") -> None:
        try:
            from fastavro import parse_schema, schemaless_reader
        except ImportError:
            raise SettingsError(
                "news.schema_registry needs the extra avro: pip install 'sentiment-monitor[avro]'"
            ) from None
        self._parse, self._read_avro = parse_schema, schemaless_reader
        self._url, self._host = url.rstrip("/"), urlsplit(url).netloc.rpartition("@")[2]
        self._client = httpx.Client(auth=(username, password) if username else None, timeout=_TIMEOUT_S)
        self._readers: dict[int, Reader] = {}
        self._unreadable: dict[int, tuple[float, RecordError]] = {}  # monotonic seconds until when, and why

    def close(self) -> None:
        """Closes its connections."""
        self._client.close()

    def read(self, schema: int, payload: bytes) -> Any:
        """What an Avro payload says, as JSON could say it; the bytes of a JSON one.

        Raises RecordError ``unknown_schema`` or ``bad_frame``, RegistryAway, RegistryRefused.
        """
        reader = self._readers.get(schema)
        if reader is None:
            reader = self._fetched(schema)
            if len(self._readers) >= _MAX_SCHEMAS:
                self._readers.clear()
            self._readers[schema] = reader
        return reader(payload)

    def _fetched(self, schema: int) -> Reader:
        until, known = self._unreadable.get(schema, (0.0, None))
        if known is not None and time.monotonic() < until:
            raise RecordError(known.code, known.detail)
        try:
            return self._reader(schema)
        except RecordError as error:
            if len(self._unreadable) >= _MAX_SCHEMAS:
                self._unreadable.clear()
            self._unreadable[schema] = (time.monotonic() + _UNREADABLE_SECONDS, error)
            raise

    def _reader(self, schema: int) -> Reader:
        answer = self._ask(f"/schemas/ids/{schema}", schema)
        kind = answer.get("schemaType", "AVRO")
        if kind == "JSON":
            return lambda payload: payload
        if kind != "AVRO":
            raise RecordError("bad_frame", f"schema {schema} is one of {kind}; JSON and Avro are read")
        parsed = self._parsed(answer, schema)

        def read(payload: bytes) -> Any:
            rest = io.BytesIO(payload)
            try:
                value = _plain(self._read_avro(rest, parsed, None))
            except Exception as error:  # noqa: BLE001  # whatever the library raises about bytes of another schema
                raise RecordError(
                    "bad_frame", f"not Avro of schema {schema}: {type(error).__name__}: {error}"
                ) from None
            if rest.read(1):
                raise RecordError("bad_frame", f"Avro of schema {schema} and more bytes behind it")
            return value

        return read

    def _parsed(self, answer: Mapping[str, Any], schema: int) -> Any:
        """The schema of an answer, with those that it refers to."""
        known: dict[str, Any] = {}
        left = _MAX_REFERENCES

        def learn(described: Mapping[str, Any]) -> Any:
            nonlocal left
            for reference in described.get("references") or ():
                left -= 1
                if left < 0:
                    raise RecordError("bad_frame", f"schema {schema} refers to more than {_MAX_REFERENCES} others")
                if reference["name"] not in known:
                    subject = quote(str(reference["subject"]), safe="")
                    learn(self._ask(f"/subjects/{subject}/versions/{reference['version']}", schema))
            return self._parse(json.loads(described["schema"]), named_schemas=known)

        try:
            return learn(answer)
        except (RecordError, RegistryAway, RegistryRefused):
            raise
        except Exception as error:  # noqa: BLE001  # whatever the library raises about what anybody may have registered
            raise RecordError("bad_frame", f"schema {schema} cannot be used: {type(error).__name__}: {error}") from None

    def _ask(self, path: str, schema: int) -> Mapping[str, Any]:
        response = self._answer(path)
        status = response.status_code
        if status == 404:
            raise RecordError("unknown_schema", f"the schema registry knows no schema {schema}")
        if status in (401, 407) or 200 != status < 400 or (status == 403 and self._refuses_us()):
            raise RegistryRefused(
                f"schema registry {self._host}: status {status}; are news.schema_registry, "
                "news.schema_registry_username and the password right?"
            )
        if status != 200:  # it does not like what this record asks for: no reason to read no other
            raise RecordError("unknown_schema", f"the schema registry gives no schema {schema}: status {status}")
        try:
            answer = response.json()
        except ValueError:
            answer = None
        if not isinstance(answer, dict) or "schema" not in answer:
            raise RegistryRefused(
                f"{self._host} does not answer like a schema registry; is news.schema_registry right?"
            )
        return answer

    def _refuses_us(self) -> bool:
        """Whether it is not only one schema that is kept from us."""
        return self._answer(_KINDS).status_code in (401, 403, 407)

    def _answer(self, path: str) -> httpx.Response:
        """What it answers. Raises RegistryAway when it does not, or asks us to come again."""
        try:
            with waiting():
                response = self._client.get(
                    self._url + path, headers={"Accept": "application/vnd.schemaregistry.v1+json"}
                )
        except httpx.TransportError as error:
            raise RegistryAway(f"schema registry {self._host}: {str(error) or type(error).__name__}") from error
        if response.status_code >= 500 or response.status_code in _AWAY:
            raise RegistryAway(f"schema registry {self._host}: status {response.status_code}")
        return response


def _plain(value: Any) -> Any:
    """What Avro says, in what JSON could say: times in ISO 8601, decimals and identifiers as text, bytes as digits."""
    if isinstance(value, dict):
        return {str(name): _plain(member) for name, member in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(member) for member in value]
    if isinstance(value, datetime | date | time_of_day):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes):
        return value.hex()
    return value
