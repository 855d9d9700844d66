"""What routes declare: a session that commits before the response, a caller of the scope needed, the low components."""

from collections.abc import Awaitable, Callable, Iterator
from typing import Annotated

from fastapi import Depends, Request, Security
from fastapi.security import HTTPAuthorizationCredentials, HTTPBearer
from sqlalchemy.orm import Session, sessionmaker

from backend.access.callers import Caller, Scope
from backend.access.identify import CALLER, KEY_SHOWN
from backend.access.provided import provided
from backend.blobs import BlobStore
from backend.db import session_scope
from backend.errors import Forbidden, Unauthorized
from backend.queue import Queue
from backend.settings import Settings
from backend.vector_index import VectorIndex

SettingsDep = Annotated[Settings, Depends(provided(Settings))]
QueueDep = Annotated[Queue, Depends(provided(Queue))]
IndexDep = Annotated[VectorIndex, Depends(provided(VectorIndex))]
BlobsDep = Annotated[BlobStore, Depends(provided(BlobStore))]
SessionsDep = Annotated[sessionmaker[Session], Depends(provided(sessionmaker))]
"""For routes that must not hold a connection while they wait for something else, and for background work."""


def get_session(sessions: SessionsDep) -> Iterator[Session]:
    """One transaction for the request: an error rolls it back."""
    with session_scope(sessions) as session:
        yield session


SessionDep = Annotated[Session, Depends(get_session, scope="function")]
"""Commits before the response goes out (``scope="function"``), so that a failing commit is a 500 and not a 200."""


def _at_least(needed: Scope) -> Callable[[Request, HTTPAuthorizationCredentials | None], Awaitable[Caller]]:
    """Dependency that gives the caller, or refuses one whose scope does not cover ``needed``."""
    bearer = HTTPBearer(
        scheme_name=f"{needed}_key",
        bearerFormat=f"mk_{needed.prefix}_…",
        description=f"A key of scope {needed} or above, made by `morelike key create`.",
        auto_error=False,
    )

    async def caller(
        request: Request,
        _shown: Annotated[HTTPAuthorizationCredentials | None, Security(bearer)],
    ) -> Caller:
        found: Caller | None = request.scope["state"][CALLER]
        if found is None:
            said = (
                "this key is unknown or revoked" if request.scope["state"][KEY_SHOWN] else "this operation needs a key"
            )
            raise Unauthorized(said, expected=f"`Authorization: Bearer mk_…` with a key of scope {needed} or above")
        if not found.may(needed, request.method):
            raise Forbidden(
                f"the key {found.name!r} may not do this", found=found.scope, expected=f"scope {needed} or above"
            )
        return found

    return caller


StorefrontCaller = Annotated[Caller, Depends(_at_least(Scope.STOREFRONT))]
ServerCaller = Annotated[Caller, Depends(_at_least(Scope.SERVER))]
AdminCaller = Annotated[Caller, Depends(_at_least(Scope.ADMIN))]
