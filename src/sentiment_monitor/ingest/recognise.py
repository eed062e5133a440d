"""What a message that cannot be read looks like, in words that say what to set or to ask of the feed."""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping
from typing import Any

_CONVERT = "have the feed send JSON"
_MAGIC = (
    (
        b"\x28\xb5\x2f\xfd",
        "a zstd frame within the value: have the producer compress batches (compression.type) instead",
    ),
    (
        b"\x04\x22\x4d\x18",
        "an lz4 frame within the value: have the producer compress batches (compression.type) instead",
    ),
    (
        b"\xff\x06\x00\x00sNaPpY",
        "snappy within the value: have the producer compress batches (compression.type) instead",
    ),
    (b"\x82SNAPPY\x00", "snappy within the value: have the producer compress batches (compression.type) instead"),
    (b"BZh", f"bzip2: {_CONVERT}"),
    (b"\xfd7zXZ\x00", f"xz: {_CONVERT}"),
    (b"\x1f\x8b", "gzip that is cut off or damaged"),
    (b"PK\x03\x04", f"a zip archive: {_CONVERT}"),
    (b"PAR1", f"a Parquet file: {_CONVERT}"),
    (b"Obj\x01", f"an Avro file: send single values through a schema registry (news.schema_registry), or {_CONVERT}"),
    (b"ORC", f"an ORC file: {_CONVERT}"),
    (b"%PDF", f"a PDF: {_CONVERT}"),
    (b"\xac\xed\x00\x05", f"a serialised Java object: {_CONVERT}"),
    (b"\xff\xfe\x00\x00", "UTF-32: have the feed send UTF-8"),
    (b"\x00\x00\xfe\xff", "UTF-32: have the feed send UTF-8"),
    (b"\xff\xfe", "UTF-16: have the feed send UTF-8"),
    (b"\xfe\xff", "UTF-16: have the feed send UTF-8"),
)
_FORM = re.compile(rb"\w{1,40}=")
_BASE64 = re.compile(rb"[A-Za-z0-9+/=\s_-]{16,}")
_PYTHON = re.compile(rb"\s*[{\[]\s*(?:\{\s*)?u?'")
_TITLES = {"title", "headline", "head", "subject", "newstitle", "headlinetext"}
_LEVELS = 3  # below the message at which a list is looked for
_WIDEST = 50  # fields of an object that are looked at


def bytes_look_like(value: bytes) -> str | None:
    """What bytes that are no JSON seem to be; None when nothing comes to mind."""
    for magic, meaning in _MAGIC:
        if value.startswith(magic):
            return meaning
    even, odd = value[:4:2], value[1:4:2]  # JSON begins with two characters of ASCII, whatever follows
    if len(odd) == 2 and ((not any(odd) and all(even)) or (not any(even) and all(odd))):
        return "UTF-16: have the feed send UTF-8"
    if value[:1] == b"\x00" and len(value) >= 5:
        return confluent(int.from_bytes(value[1:5], "big"))
    text = value.lstrip()
    if text.startswith(b"<"):
        return f"XML or HTML: {_CONVERT}"
    if _PYTHON.match(value):
        return "a Python dict as Python prints it: have the feed use json.dumps"
    if text[:1] == b"{" and b"}\n{" in value.replace(b"\r", b""):
        return "several JSON objects, one a line: have the feed send each in a record, or all in one list"
    if _is_text_map(value):
        return f"MessagePack or CBOR: {_CONVERT}"
    if _BASE64.fullmatch(value[:4_000]) and _is_base64_of_json(text):
        return "JSON in base64: have the feed send it as it is"
    if _FORM.match(value) and b"%7B" in value.upper():
        return f"an HTML form: {_CONVERT}"
    try:
        value.decode("utf-8")
    except UnicodeDecodeError:
        if text[:1] in (b"{", b"["):
            return "JSON in another encoding (Latin-1, GB 18030?): have the feed send UTF-8"
        return f"binary data (Protobuf, Avro without framing?): {_CONVERT}"
    return None


def confluent(schema: int) -> str:
    """The words for Confluent's wire format with a payload that is no JSON."""
    return f"Confluent framing with schema {schema}: set news.schema_registry, then Avro is read (Protobuf is not)"


def object_looks_like(message: Mapping[str, Any]) -> str | None:
    """What a message without a headline seems to be, with the setting that would read it; None when nothing helps."""
    if isinstance(payload := message.get("payload"), dict) and "schema" in message:
        inner = _debezium("payload.", payload)
        return inner or 'a Kafka Connect envelope: set news.stories = "payload", or schemas.enable=false there'
    if inner := _debezium("", message):
        return inner
    if "specversion" in message and "type" in message:
        return 'a CloudEvent: set news.stories = "data"'
    if path := _path_to_stories(message, _LEVELS):
        return f"a list of stories under {path}: set news.stories = {_in_toml(f'{path}[]')}"
    names = [name for name in message if isinstance(name, str) and name != "headline"][:_WIDEST]
    for name in names:
        if name.lower() in _TITLES:
            return f"its fields are {_listed(names)}: set headline = {_in_toml(_quoted(name))} in [news.mapping]"
    for name in names:
        if _has_title(message[name]):
            return f"the story lies under {name[:40]}: set news.stories = {_in_toml(_quoted(name))}"
    return f"its fields are {_listed(names)}" if names else None


def _debezium(prefix: str, message: Mapping[str, Any]) -> str | None:
    if "op" in message and ("after" in message or "before" in message):
        path = f"{prefix}after || {prefix}before"
        return f'a Debezium envelope: set news.stories = "{path}" and action = "_envelope.{prefix}op" in [news.mapping]'
    return None


def _path_to_stories(message: Mapping[str, Any], levels: int) -> str | None:
    """Where the nearest list of what seem to be stories lies, as JMESPath."""
    members = [(name, value) for name, value in message.items() if isinstance(name, str)][:_WIDEST]
    for name, value in members:
        if isinstance(value, list) and value and _has_title(value[0]):
            return _quoted(name)
    for name, value in members if levels > 1 else ():
        if isinstance(value, dict) and (inner := _path_to_stories(value, levels - 1)):
            return f"{_quoted(name)}.{inner}"
    return None


def _has_title(value: object) -> bool:
    return isinstance(value, dict) and any(str(name).lower() in _TITLES for name in list(value)[:_WIDEST])


def _quoted(name: str) -> str:
    """A field's name as JMESPath writes it."""
    return name if re.fullmatch(r"[A-Za-z_]\w*", name, re.ASCII) else json.dumps(name[:40])


def _in_toml(path: str) -> str:
    return f"'{path}'" if '"' in path else f'"{path}"'


def _listed(names: list[str]) -> str:
    return ", ".join(name[:40] for name in names[:8]) + (", …" if len(names) > 8 else "")


def _is_text_map(value: bytes) -> bool:
    """A map whose first key is a short text, in MessagePack or CBOR."""
    if len(value) < 4:
        return False
    first, second = value[0], value[1]
    if 0x81 <= first <= 0x8F and 0xA1 <= second <= 0xBF:
        return True
    if first == 0xDE and 0xA1 <= value[3] <= 0xBF:
        return True
    return (0xA1 <= first <= 0xB7 or first == 0xBF) and 0x61 <= second <= 0x77 and value[2:3].isalpha()


def _is_base64_of_json(text: bytes) -> bool:
    try:
        return base64.b64decode(text[:400][: len(text[:400]) // 4 * 4]).lstrip()[:1] in (b"{", b"[")
    except binascii.Error:
        return False
