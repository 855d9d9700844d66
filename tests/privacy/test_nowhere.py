"""A whole visit through the real API, and where it is to be found before and after its erasure."""

from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient

from backend.db import Base, session_scope
from backend.events.units import load_unit_hasher
from tests.fixtures.api import Keys

ANN = {"user_id": "ann-account-7f3a", "shopper_id": "ann-browser-91cc", "session_id": "ann-session-20de"}


def visit(api: TestClient, keys: Keys, ids: dict[str, str]) -> None:
    """Searches, refines, clicks, and sends something that is refused."""
    units = {name: ids[name] for name in ("shopper_id", "session_id")}
    asked = {"text": "orange plush", **ids}
    found = api.post("/v1/search", json=asked, headers=keys.storefront).json()
    first = found["hits"][0]["product_id"]
    told = {"feedback": [{"product_id": first, "value": 1}], **units}
    refined = api.post(f"/v1/search/{found['query_id']}/refine", json=told, headers=keys.storefront).json()
    events = [
        {"message_id": f"{ids['session_id'][:3]}-{n}", "query_id": refined["query_id"], **one, **ids}
        for n, one in enumerate(({"type": "click", "product_id": first}, {"type": "klick", "product_id": first}))
    ]
    answer = api.post("/v1/events", json=events, headers=keys.storefront).json()
    assert [one["status"] for one in answer["results"]] == ["accepted", "rejected"]


def holding(session: Session, needles: list[str]) -> set[str]:
    """Tables of which some row, written as text, holds one of ``needles``."""
    found = set()
    for name in Base.metadata.tables:
        looked = text(
            f"SELECT 1 FROM {name} t WHERE EXISTS (SELECT FROM unnest(CAST(:needles AS text[])) AS needle"
            " WHERE position(needle IN CAST(to_jsonb(t) AS text)) > 0) LIMIT 1"
        )
        if session.execute(looked, {"needles": needles}).first():
            found.add(name)
    return found


def test_who_was_erased_is_in_no_row_of_any_table_and_another_is_in_theirs(
    stocked: list[str], api: TestClient, keys: Keys, sessions: sessionmaker[Session]
) -> None:
    assert stocked  # before the API starts, which serves it from the first search on then
    bob = {name: value.replace("ann", "bob") for name, value in ANN.items()}
    for ids in (ANN, bob):
        visit(api, keys, ids)
    with session_scope(sessions) as session:
        hasher = load_unit_hasher(session)
        hashes = {
            who: [hasher.hashed(kind.removesuffix("_id"), given) or "" for kind, given in ids.items()]
            for who, ids in (("ann", ANN), ("bob", bob))
        }
        assert holding(session, hashes["ann"]) == {"served_lists", "events"}
        assert holding(session, [*ANN.values(), *bob.values()]) == set()  # as given they are nowhere at all
    named = {"user_id": ANN["user_id"]}
    done = api.post("/v1/shoppers/erase", json=named, headers=keys.admin).json()
    assert (done["counts"]["lists"], done["counts"]["events"]) == (2, 2)  # the click, and what the refinement was told
    with session_scope(sessions) as session:
        assert holding(session, hashes["ann"]) == {"erasures"}
        assert holding(session, list(ANN.values())) == set()
        assert holding(session, hashes["bob"]) == {"served_lists", "events"}
