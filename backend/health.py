"""Whether this process is up, whether a search would work, and what it has counted."""

from collections.abc import Callable, Mapping
from typing import Literal

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, Gauge, generate_latest
from pydantic import BaseModel, ConfigDict

from backend.access.callers import Scope
from backend.access.dependencies import SessionDep
from backend.access.identify import CALLER
from backend.access.provided import lookup
from backend.access.visitors import is_visitor
from backend.errors import AppError, Forbidden, Unavailable
from backend.generations.backlog import count_due
from backend.learning.nightly.gauges import observe_nights
from backend.logs import get_logger

log = get_logger(__name__)
router = APIRouter(tags=["health"])

DUE = Gauge("morelike_due", "Rows that wait for the workers, when the metrics were read.", ["what"])


class NotReady(Unavailable):
    """A search would not work now."""

    title = "Not ready"


class Health(BaseModel):
    """The process answers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"status": "up"}]})

    status: Literal["up"] = "up"


class Ready(BaseModel):
    """A search would work: each component it needs."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"status": "ready", "components": {"database": "ok", "index": "ok"}}]}
    )

    status: Literal["ready"] = "ready"
    components: dict[str, str]


class Readiness:
    """What a search needs, each with a check that raises while it is not there.

    Redis is no part of it: without Redis searches are answered, only unlimited and without cached query vectors.
    """

    def __init__(self, checks: Mapping[str, Callable[[], object]]) -> None:
        self._checks = checks

    def verify(self) -> list[str]:
        """Names of the components, all of which work.

        Raises:
            NotReady: names the first component that does not, and what all of them said.
        """
        said = {name: self._said(name, check) for name, check in self._checks.items()}
        failed = [name for name, answer in said.items() if answer != "ok"]
        if failed:
            raise NotReady(
                f"a search would not work: {failed[0]}: {said[failed[0]]}", component=failed[0], components=said
            )
        return list(said)

    def _said(self, name: str, check: Callable[[], object]) -> str:
        try:
            check()
        except AppError as error:
            return error.detail
        except Exception as error:  # noqa: BLE001  whatever failed, the component is not ready
            log.warning("component_not_ready", component=name, error=str(error))
            return "does not answer"
        return "ok"


@router.get("/healthz", operation_id="get_health")
async def get_health() -> Health:
    """Answers while the process is up."""
    return Health()


@router.get("/readyz", operation_id="get_readiness")
def get_readiness(request: Request) -> Ready:
    """Answers 200 exactly when a search would work."""
    components = lookup(request.app, Readiness).verify()
    return Ready(components=dict.fromkeys(components, "ok"))


@router.get(
    "/metrics",
    operation_id="get_metrics",
    response_class=Response,
    responses={
        200: {
            "description": "Prometheus text format.",
            "content": {"text/plain": {"schema": {"type": "string"}, "example": 'morelike_due{what="products"} 0.0\n'}},
        }
    },
)
def get_metrics(request: Request, session: SessionDep) -> Response:
    """Counts and timings of this process, for Prometheus: from this machine, or with an admin key."""
    caller = request.scope["state"][CALLER]
    is_admin = caller is not None and caller.scope.covers(Scope.ADMIN)
    if not is_admin and not is_visitor(request.scope, request.headers):
        raise Forbidden("metrics are for this machine and for admin keys", expected="an admin key")
    for what, count in count_due(session).items():
        DUE.labels(what).set(count)
    observe_nights(session)
    return Response(generate_latest(), media_type=CONTENT_TYPE_LATEST)
