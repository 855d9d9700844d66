"""What the composition root hands to routes: one object of each type, found again by that type.

Rooms cannot import ``main``, and lower rooms cannot name what higher ones make. So ``main`` calls :func:`provide` with
everything it made, and each room declares beside its class how a route asks for it::

    ServingHolderDep = Annotated[ServingHolder, Depends(provided(ServingHolder))]
"""

from collections.abc import Awaitable, Callable
from typing import TypeVar, cast

from fastapi import FastAPI
from starlette.requests import HTTPConnection

T = TypeVar("T")


def provide(app: FastAPI, *things: object) -> None:
    """Let routes of ``app`` ask for each of ``things`` by its type; a later one replaces an earlier one."""
    app.state.provided = getattr(app.state, "provided", {}) | {type(thing): thing for thing in things}


def provided(kind: type[T]) -> Callable[[HTTPConnection], Awaitable[T]]:
    """Dependency that gives the object of type ``kind``."""

    # async, although nothing is awaited: FastAPI would send a plain function through the thread pool (0.1 ms)
    async def get(connection: HTTPConnection) -> T:
        return lookup(connection.app, kind)

    return get


def lookup(app: FastAPI, kind: type[T]) -> T:
    """The object of type ``kind``; ``LookupError`` where the composition root made none."""
    try:
        return cast(T, app.state.provided[kind])
    except (AttributeError, KeyError):
        raise LookupError(f"{kind.__name__} was not provided by create_app()") from None
