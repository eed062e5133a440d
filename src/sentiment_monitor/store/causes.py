"""What an error of a driver is about: the row, an outage, a refusal that a person must mend, or a damaged file.

Only what is about the row may cost a record. Whatever is not known to be about it is an outage: to wait loses nothing.
"""

from __future__ import annotations

import re
import sqlite3
from enum import Enum


class Fault(Enum):
    """What to do about an error."""

    ROW = "the values are refused, now and ever"
    RACE = "another transaction was quicker; the same call may succeed at once"
    LOCKED = "somebody holds a lock for longer than we wait"
    AWAY = "the database is gone, full, sick or read-only; connections may lead to the wrong server"
    REFUSED = "it answers and does not let us in: a person must act"
    DAMAGED = "the file is no database any more"


# Classes of SQLSTATE, or whole codes. What stands here is about what was to be written.
_ROW_STATES = (
    "21",  # cardinality: two rows of one statement for one row
    "22",  # data exception
    "23",  # integrity constraint
    "44",  # a view's check option
    "54",  # program limit: an index entry that is too long, a statement that is too complex
    "P0",  # raised by a trigger that somebody has put there: it speaks of the row
)
_RACE_STATES = ("40",)
_LOCKED_STATES = ("55P03",)
_REFUSED_STATES = (
    "0L",  # invalid grantor
    "0P",  # invalid role
    "28",  # who we are, or our password
    "3D",  # no such database
    "3F",  # no such schema
    "42",  # a table, a column or a right that is missing
)

_ROW_CODES = {sqlite3.SQLITE_TOOBIG, sqlite3.SQLITE_CONSTRAINT, sqlite3.SQLITE_MISMATCH}
_LOCKED_CODES = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_REFUSED_CODES = {
    sqlite3.SQLITE_ERROR,  # mostly a table or column that is missing
    sqlite3.SQLITE_PERM,
    sqlite3.SQLITE_AUTH,
    sqlite3.SQLITE_MISUSE,
    sqlite3.SQLITE_RANGE,
}
_DAMAGED_CODES = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}

# libpq keeps to itself the SQLSTATE with which a server turns a connection down. A server that speaks another
# language is waited for instead, and quoted.
_TURNED_DOWN = re.compile(
    r"authentication failed|no password supplied|no pg_hba\.conf entry|pg_hba\.conf rejects"
    r"|(?:role|database) \"[^\"]*\" does not exist|permission denied for database|is not permitted to log in"
    r"|not currently accepting connections to database"
)


def cause_of(error: BaseException, *, disconnected: bool = False) -> Fault:
    """What an error of sqlite3 or psycopg is about; ``disconnected``: the connection broke with it."""
    if isinstance(error, sqlite3.Error):
        return _sqlite(error)
    state = getattr(error, "sqlstate", None)
    if state is not None:
        return _postgresql(str(state))
    if disconnected:
        return Fault.AWAY
    # Without a state it comes from the driver: a value that it cannot send, or a connection that it cannot make.
    if type(error).__name__ in {"DataError", "ProgrammingError"}:
        return Fault.ROW
    return Fault.REFUSED if _TURNED_DOWN.search(str(error)) else Fault.AWAY


def _postgresql(state: str) -> Fault:
    for states, cause in (
        (_ROW_STATES, Fault.ROW),
        (_RACE_STATES, Fault.RACE),
        (_LOCKED_STATES, Fault.LOCKED),
        (_REFUSED_STATES, Fault.REFUSED),
    ):
        if state.startswith(states):
            return cause
    return Fault.AWAY


def _sqlite(error: sqlite3.Error) -> Fault:
    code = getattr(error, "sqlite_errorcode", None)
    if code is None:  # from Python's module, which has looked at the value
        return Fault.AWAY if "closed" in str(error) else Fault.ROW
    for codes, cause in (
        (_ROW_CODES, Fault.ROW),
        (_LOCKED_CODES, Fault.LOCKED),
        (_REFUSED_CODES, Fault.REFUSED),
        (_DAMAGED_CODES, Fault.DAMAGED),
    ):
        if code & 0xFF in codes:
            return cause
    return Fault.AWAY
