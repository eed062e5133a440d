"""The setting that is meant by a name that none has."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import fields, is_dataclass
from typing import Any, get_args

from pydantic import BaseModel

from sentiment_monitor.errors import meant


def meant_at(root: type[BaseModel], place: Sequence[str | int]) -> str:
    """What is :func:`meant` by the last part of a place in the tree of settings, among the names known there."""
    *above, name = place
    tables: list[type] = [root]
    for part in above:
        inner = [table for outer in tables for table in _tables(_fields(outer).get(str(part)))]
        tables = inner or tables  # neither the number in a list nor the kind of a notifier is a field
    return meant(str(name), sorted({field for table in tables for field in _fields(table)}))


def _fields(table: type) -> dict[str, Any]:
    if issubclass(table, BaseModel):
        return {name: field.annotation for name, field in table.model_fields.items()}
    return {field.name: field.type for field in fields(table)} if is_dataclass(table) else {}


def _tables(annotation: Any) -> Iterator[type]:
    """The tables that a field may hold: itself, in a list, or as one of several kinds."""
    if isinstance(annotation, type) and (issubclass(annotation, BaseModel) or is_dataclass(annotation)):
        yield annotation
    for part in get_args(annotation):
        yield from _tables(part)
