"""The JMESPath of a feed's mapping, compiled at the start and applied to messages in a bounded number of steps."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import jmespath
from jmespath.functions import Functions
from jmespath.visitor import Options, TreeInterpreter

from sentiment_monitor.errors import SettingsError
from sentiment_monitor.ingest.fields import shown

MOST_STEPS = 10_000
"""Of one field of one story, a step being a part of the expression applied to a value: some microsecond."""
RECORD_STEPS = 150_000
"""Of all fields of all stories of a record together, without those that are free."""
FREE_STEPS = 30
"""Of one field of one story: what another field has used up never costs a headline."""
_CHARACTERS_A_STEP = 200  # of a text that a function gives

# What an expression may raise of a message besides JMESPath's own errors (a number that is infinite, say).
_ERRORS = (jmespath.exceptions.JMESPathError, ArithmeticError, LookupError, RecursionError, TypeError, ValueError)
_TOO_MANY = "it has too many items to look at"
_OPTIONS = Options(custom_functions=Functions())  # what the library has; to make them anew costs as much as a field


class ExpressionError(Exception):
    """An expression cannot be applied to a message; says why at a bounded length."""


class Expression(NamedTuple):
    """One JMESPath expression. Made by :meth:`of`."""

    root: Any  # JMESPath's own tree

    @classmethod
    def of(cls, setting: str, field: str, text: str) -> Expression:
        """Compiles ``text``. Raises SettingsError naming setting and field."""
        try:
            root = jmespath.compile(text).parsed
        except jmespath.exceptions.JMESPathError as error:
            raise SettingsError(f"{setting}: {field} = {text!r} is not JMESPath: {error}") from None
        for name in _functions(root):  # the library itself would say so for each message
            if name not in Functions.FUNCTION_TABLE:
                raise SettingsError(f"{setting}: {field} = {text!r}: JMESPath has no function {name}")
        return cls(root)


class Search(TreeInterpreter):  # type: ignore[misc]  # jmespath has no annotations
    """Applies expressions to the messages of one record, and counts the steps.

    A list of half a million numbers costs a second of each expression that looks at its items. Ordinary stories take
    some tens of steps.
    """

    def __init__(self) -> None:
        super().__init__(_OPTIONS)
        self._of_record = RECORD_STEPS
        self._left = 0

    def find(self, expression: Expression, message: Any, most: int = MOST_STEPS) -> Any:
        """What an expression finds, in ``most`` steps at most and what the record has left. Raises ExpressionError."""
        self._left = allowed = FREE_STEPS + min(most - FREE_STEPS, self._of_record)
        try:
            return self.visit(expression.root, message)
        except jmespath.exceptions.JMESPathTypeError as error:
            # The library's own words hold the whole value.
            value, expected = shown(error.current_value), " or ".join(error.expected_types)
            raise ExpressionError(
                f"{error.function_name}() takes {expected}, not {error.actual_type} as {value} is"
            ) from None
        except _ERRORS as error:
            raise ExpressionError(str(error)) from None
        finally:
            self._of_record -= max(0, allowed - max(self._left, 0) - FREE_STEPS)

    def visit(self, node: Any, *args: Any) -> Any:
        """Takes a step."""
        self._left -= 1
        if self._left < 0:
            raise ExpressionError(_TOO_MANY)
        return _VISITS[node["type"]](self, node, *args)

    def visit_field(self, node: Any, value: Any) -> Any:
        """As the library does, which asks everything for a field and waits for the error."""
        return value.get(node["value"]) if isinstance(value, dict) else None

    def visit_flatten(self, node: Any, value: Any) -> Any:
        """Takes a step for each item."""
        return self._counted(super().visit_flatten(node, value))

    def visit_slice(self, node: Any, value: Any) -> Any:
        """Takes a step for each item."""
        return self._counted(super().visit_slice(node, value))

    def visit_function_expression(self, node: Any, value: Any) -> Any:
        """Takes a step for each item of a list or object that is given, and for the length of a text that comes out."""
        arguments = [self._counted(self.visit(child, value)) for child in node["children"]]
        answer = self._functions.call_function(node["value"], arguments)
        if isinstance(answer, str):
            self._take(len(answer) // _CHARACTERS_A_STEP)
        return answer

    def _counted(self, value: Any) -> Any:
        if isinstance(value, list | dict):
            self._take(len(value))
        return value

    def _take(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise ExpressionError(_TOO_MANY)


# The library looks its methods up by name, anew in each interpreter.
_VISITS = {name.removeprefix("visit_"): getattr(Search, name) for name in dir(Search) if name.startswith("visit_")}


def _functions(node: Any) -> Iterator[str]:
    """The functions that a parsed expression calls."""
    if node["type"] == "function_expression":
        yield node["value"]
    for child in node["children"]:
        if isinstance(child, dict):
            yield from _functions(child)
