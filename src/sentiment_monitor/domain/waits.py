"""Waits for other systems in the midst of a piece of work: who does the work may put it down meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from contextvars import ContextVar

_putting_down: ContextVar[Callable[[], AbstractContextManager[None]]] = ContextVar("putting_down", default=nullcontext)


@contextmanager
def put_down_by(putting_down: Callable[[], AbstractContextManager[None]]) -> Iterator[None]:
    """Within, on this thread, each :func:`waiting` is wrapped in what ``putting_down`` gives."""
    token = _putting_down.set(putting_down)
    try:
        yield
    finally:
        _putting_down.reset(token)


def waiting() -> AbstractContextManager[None]:
    """To be entered while another system is asked: what happens then is not the fault of what is worked on."""
    return _putting_down.get()()
