"""What a call that failed leaves as it was: values of states, and layers that wait for their first input."""

from __future__ import annotations

import weakref
from typing import Any

from .session import Call, Scope, Session

# Of each call in progress the layers that waited for their sizes when it came to them, with their attributes then.
_waiting: weakref.WeakKeyDictionary[Call, list[tuple[Scope, dict[str, Any]]]] = weakref.WeakKeyDictionary()


def remember(session: Session) -> None:
    """What the layer is like that this call came to: it may take its sizes from an input that is then refused."""
    assert session.scope is not None
    entry = session.scope, dict(vars(session.scope.module))
    _waiting.setdefault(_outermost(session), []).append(entry)


def undo(session: Session, since: int = 0, scope: Scope | None = None) -> None:
    """Take back what a call that failed changed: all that the session did, or the updates after the first `since` and
    the layers that got their sizes within a scope."""
    for held, pending, value in reversed(session.updates[since:]):
        held.restore(pending, value)
    del session.updates[since:]
    waiting = _waiting.get(_outermost(session), ())
    while waiting and (scope is None or _is_within(waiting[-1][0], scope)):
        place, attributes = waiting.pop()
        vars(place.module).clear()
        vars(place.module).update(attributes)


def _outermost(session: Session) -> Call:
    while session.outer is not None:
        session = session.outer
    return session.call


def _is_within(place: Scope | None, scope: Scope) -> bool:
    while place is not None and place is not scope:
        place = place.parent
    return place is scope
