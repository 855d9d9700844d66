"""Shopify's Admin API: GraphQL, with a token that the app's client credentials buy for a day."""

from collections.abc import Mapping, Sequence
from typing import Any

from backend.catalog.shops.client import NotAllowed, ShopClient, ShopRefused, ShopSilent
from backend.catalog.shops.listing import within
from backend.catalog.shops.reading import line, objects

VERSION = "2026-07"
"""Of the Admin API. Shopify answers in the oldest version it still has when this one is gone."""


class TooCostly(ShopRefused):
    """The query asks for more than one query may cost."""


class AdminApi:
    """The Admin API's GraphQL.

    Args:
        client: of ``https://NAME.myshopify.com``.
        client_id: of the app; none where ``secret`` is itself a token (``shpat_…``).
        secret: of the app.
        patience_s: seconds one query may wait for its points.
    """

    def __init__(self, client: ShopClient, client_id: str | None, secret: str, patience_s: float) -> None:
        self._client = client
        self._id = client_id
        self._secret = secret
        self._patience_s = patience_s

    def ask(self, query: str, **variables: Any) -> Any:
        """``data`` of the answer; waits where the shop throttles, and buys a new token where the old one has expired.

        Raises:
            TooCostly: the query asks for too much at once.
            ShopRefused: the shop does not accept it.
            ShopSilent: the shop throttled it for as long as patience lasts.
        """
        waited = 0.0
        while True:
            answer = self._sent({"query": query, "variables": variables})
            errors = objects(answer.get("errors"))
            codes = {_code(error) for error in errors}
            if not errors:
                self._spare(answer)
                return within(answer, "data")
            if "MAX_COST_EXCEEDED" in codes:
                raise TooCostly("The query costs more points than one query may.", found=_said(errors))
            if not codes & {"THROTTLED", "INTERNAL_SERVER_ERROR"}:
                raise ShopRefused("The shop does not accept the query.", found=_said(errors), expected="read_products")
            pause = max(1.0, _missing_s(answer))
            if waited + pause > self._patience_s:
                raise ShopSilent("The shop throttles us without end.", found=_said(errors), expected="an answer")
            self._client.wait(pause)
            waited += pause

    def _spare(self, answer: Mapping[str, Any]) -> None:
        """Wait until the next query like this one has its points: being refused costs a request more."""
        if (pause := _missing_s(answer)) > 0:
            self._client.wait(pause)

    def _sent(self, body: Mapping[str, Any]) -> dict[str, Any]:
        for last in (False, True):
            if "X-Shopify-Access-Token" not in self._client.headers:
                self._client.headers["X-Shopify-Access-Token"] = self._token()
            try:
                found = self._client.post(f"/admin/api/{VERSION}/graphql.json", json=body).data
                return found if isinstance(found, dict) else within(found, "data")
            except NotAllowed:
                del self._client.headers["X-Shopify-Access-Token"]
                if last or not self._id:
                    raise
        raise AssertionError("unreachable")

    def _token(self) -> str:
        if not self._id:
            return self._secret
        form = {"grant_type": "client_credentials", "client_id": self._id, "client_secret": self._secret}
        answer = self._client.post("/admin/oauth/access_token", form=form).data
        scopes = line(within(answer, "scope"), 10_000).split(",")
        if not {"read_products", "write_products"} & set(scopes):
            raise ShopRefused(
                "The app may not read products. Give it the scope read_products and release a version.",
                found=",".join(scopes) or "no scopes",
                expected="read_products",
            )
        return line(within(answer, "access_token"), 1000)


def _missing_s(answer: Mapping[str, Any]) -> float:
    """Seconds until the bucket holds what the query asked for."""
    extensions = answer.get("extensions")
    cost = extensions.get("cost") if isinstance(extensions, dict) else None
    try:
        status = cost["throttleStatus"]  # type: ignore[index]
        lacking = float(cost["requestedQueryCost"]) - float(status["currentlyAvailable"])  # type: ignore[index]
        return min(60.0, max(0.0, lacking / float(status["restoreRate"])))
    except (TypeError, KeyError, ValueError, ArithmeticError):
        return 0.0


def _code(error: Mapping[str, Any]) -> str:
    extensions = error.get("extensions")
    return line(extensions.get("code"), 100) if isinstance(extensions, dict) else ""


def _said(errors: Sequence[Mapping[str, Any]]) -> str:
    return "; ".join(line(error.get("message"), 300) for error in errors[:3])
