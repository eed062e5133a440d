"""Opens a record's value: compression, framing and JSON, each bounded, down to what JSON can say."""

from __future__ import annotations

import json
import math
import re
import zlib
from typing import Any, Protocol

import msgspec

from sentiment_monitor.errors import RecordError
from sentiment_monitor.ingest.recognise import bytes_look_like, confluent

_GZIP = b"\x1f\x8b"
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_CONFLUENT_HEADER = 5  # a zero byte, then the schema's id in four
_LONGEST_NUMBER = 40  # digits; a longer one is kept as text
_FIRST_OF_TEXT = 0x20
_GZIP_WINDOW = 16 + zlib.MAX_WBITS
_MOST_MEMBERS = 1_000  # of gzip in one value
_PIECE = 16_384  # bytes given to the library at once
_ZEROS = re.compile(rb"\x00*")


class Schemas(Protocol):
    """Reads payloads by the schema that a registry holds under an id."""

    def read(self, schema: int, payload: bytes) -> Any:
        """What the payload says, as JSON could say it; bytes where the schema is one of JSON.

        Raises RecordError, RegistryAway, RegistryRefused.
        """
        ...

    def close(self) -> None:
        """Closes what it holds open."""
        ...


class Framing:
    """Opens values: gzip, Confluent's wire format, JSON, and JSON within a JSON string. At most ``max_bytes`` each."""

    def __init__(self, max_bytes: int, schemas: Schemas | None = None) -> None:
        self._max_bytes = max_bytes
        self._schemas = schemas
        self._json = msgspec.json.Decoder()

    def open(self, value: bytes) -> Any:
        """What a value says.

        Raises RecordError ``empty``, ``too_large``, ``bad_frame``, ``unknown_schema``, ``not_utf8`` or ``not_json``,
        and what the registry raises.
        """
        if not value:
            raise RecordError("empty", "the record's value has no bytes")
        if len(value) > self._max_bytes:
            raise RecordError("too_large", f"{len(value)} bytes, at most {self._max_bytes} are read")
        if value[0] < _FIRST_OF_TEXT:
            if value.startswith(_GZIP):
                value = self._inflated(value)
            if value.startswith(b"\x00") and len(value) >= _CONFLUENT_HEADER:
                opened = self._unframed(value)
                if not isinstance(opened, bytes):
                    return opened
                value = opened
        return self.within(self.parse(value))

    def within(self, message: Any) -> Any:
        """What a text says that is itself JSON; anything else as it is. Raises as :meth:`parse` does."""
        if isinstance(message, str) and message.lstrip()[:1] in ("{", "["):
            return self.parse(message.encode("utf-8", "replace"))
        return message

    def close(self) -> None:
        """Closes the connections to the registry, if there is one."""
        if self._schemas is not None:
            self._schemas.close()

    def parse(self, value: bytes) -> Any:
        """JSON, and what is sent for it. Raises RecordError ``not_utf8`` or ``not_json``."""
        try:
            # A byte-order mark is legal UTF-8 that JSON parsers refuse; some feeds send one.
            return self._json.decode(value.removeprefix(_BYTE_ORDER_MARK))
        except msgspec.DecodeError as error:
            return _lenient(value, error)
        except RecursionError:
            raise RecordError("not_json", "nested too deeply") from None
        except UnicodeDecodeError as error:
            raise RecordError("not_utf8", _with_looks(str(error), value)) from None

    def _inflated(self, value: bytes) -> bytes:
        """What gzip has compressed, in a thousand members at most."""
        parts, room, place, view = [], self._max_bytes, 0, memoryview(value)
        try:
            for _ in range(_MOST_MEMBERS):
                member = zlib.decompressobj(_GZIP_WINDOW)
                while not member.eof:
                    # The library copies what lies behind a member: of a piece, not of everything for each.
                    piece = view[place : place + _PIECE]
                    if not piece:
                        raise RecordError("bad_frame", "gzip that is cut off")
                    parts.append(member.decompress(piece, room + 1))
                    room -= len(parts[-1])
                    if room < 0:
                        raise RecordError(
                            "too_large", f"gzip of more than {self._max_bytes} bytes, which are read at most"
                        )
                    place += len(piece) - len(member.unused_data)
                place = _ZEROS.match(value, place).end()  # type: ignore[union-attr]  # fits always, also nothing: some fill up
                if place == len(value):
                    return b"".join(parts)
        except zlib.error as error:
            raise RecordError("bad_frame", f"gzip that is damaged: {error}") from None
        raise RecordError("bad_frame", f"gzip of more than {_MOST_MEMBERS} members")

    def _unframed(self, value: bytes) -> Any:
        """The JSON bytes, or already what an Avro value says, of Confluent's wire format."""
        schema, payload = int.from_bytes(value[1:_CONFLUENT_HEADER], "big"), value[_CONFLUENT_HEADER:]
        if self._schemas is not None:
            return self._schemas.read(schema, payload)
        if payload.lstrip()[:1] in (b"{", b"["):
            return payload
        raise RecordError("bad_frame", bytes_look_like(value) or confluent(schema))


def _lenient(value: bytes, refusal: msgspec.DecodeError) -> Any:
    """What is not quite JSON and sent all the same: half an emoji, NaN and infinities for nothing, endless digits."""
    try:
        return json.loads(
            value.decode("utf-8-sig"), parse_constant=lambda _: None, parse_float=_finite, parse_int=_whole
        )
    except UnicodeDecodeError as error:
        raise RecordError("not_utf8", _with_looks(str(error), value)) from None
    except (ValueError, RecursionError):
        raise RecordError("not_json", _with_looks(str(refusal), value)) from None


def _with_looks(reason: str, value: bytes) -> str:
    looks = bytes_look_like(value)
    return f"{reason}. It looks like {looks}" if looks else reason


def _finite(digits: str) -> float | None:
    number = float(digits)
    return number if math.isfinite(number) else None


def _whole(digits: str) -> int | str:
    return int(digits) if len(digits) <= _LONGEST_NUMBER else digits
