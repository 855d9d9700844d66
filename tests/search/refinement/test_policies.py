"""Refine policies: named, never changed, followed by refinements; and clicks that count where the policy says so."""

import json
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker
from starlette.testclient import TestClient
from typer.testing import CliRunner

from backend.access.models import AuditEntry
from backend.cli import app as command
from backend.db import session_scope
from backend.main import create_app
from backend.ml.feedback.policy import BUILT_IN, Likes, Mix, Policy
from backend.search.refinement.models import RefinePolicyRecord
from backend.search.refinement.policies import (
    POLICY,
    Policies,
    PolicyTaken,
    PolicyUnknown,
    PolicyWrong,
    add_policy,
    find_policy,
    list_policies,
    policy_with,
)
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.search.conftest import COLOURS, Search, Shop, png


def test_changes_reach_into_parts_and_leave_the_rest_as_it_is() -> None:
    base = Policy(drift_budget=0.5, likes=Likes(a=2.0, b=1.0))
    changed = policy_with(base, {"k": 3, "likes": {"c": 0.2}, "prf": {"gamma": 0}})
    assert changed == Policy(drift_budget=0.5, k=3, likes=Likes(a=2.0, b=1.0, c=0.2), prf=Mix(gamma=0.0))
    assert base.likes == Likes(a=2.0, b=1.0)
    assert policy_with(Policy(), {"likes": {"c": 0.2}}).likes == Likes(c=0.2)
    assert policy_with(base, {"likes": None}).likes is None


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"alpha": 0.8}, "alpha"),
        ({"strategy": "best"}, "strategy"),
        ({"likes": {"d": 1}}, "likes.d"),
        ({"k": 0}, "k 0"),
        ({"prf": {"alpha": float("inf")}}, "prf.alpha"),
        ({"tau": float("nan")}, "tau"),
        ({"session_signals": {"clicks": 1}}, "session_signals.clicks"),
        ({"session_signals": {"click": 0.9}}, "click"),
    ],
)
def test_parameters_that_do_not_fit_are_named(wrong: dict[str, Any], named: str) -> None:
    with pytest.raises(PolicyWrong, match=named):
        policy_with(Policy(), wrong)


@settings(max_examples=30, deadline=None)
@given(st.sampled_from(sorted(BUILT_IN)), st.floats(-1, 0.99), st.integers(1, 100))
def test_whatever_is_kept_is_read_back_the_same(base: str, budget: float, k: int) -> None:
    policy = policy_with(BUILT_IN[base], {"drift_budget": budget, "k": k})
    assert POLICY.validate_python(json.loads(POLICY.dump_json(policy))) == policy


def test_a_policy_keeps_its_name_and_all_of_its_parameters(session: Session) -> None:
    added = add_policy(session, "gentle", {"drift_budget": 0.8}, base="auto", actor="a person")
    assert added.policy == policy_with(BUILT_IN["auto"], {"drift_budget": 0.8})
    kept = session.get_one(RefinePolicyRecord, "gentle")
    assert kept.config == POLICY.dump_python(added.policy, mode="json")
    assert (find_policy(session, "gentle").policy, added.actor) == (added.policy, "a person")
    assert add_policy(session, "gentle", {"drift_budget": 0.8}, base="auto", actor="another") == added
    for name in ("gentle", "auto"):
        with pytest.raises(PolicyTaken):
            add_policy(session, name, {"drift_budget": 0.7}, actor="a person")
    with pytest.raises(PolicyUnknown):
        add_policy(session, "harsh", {}, base="gone", actor="a person")
    with pytest.raises(PolicyWrong, match="name"):
        add_policy(session, "Not a name", {}, actor="a person")
    assert [one.name for one in list_policies(session)] == [*BUILT_IN, "gentle"]
    entries = session.scalars(select(AuditEntry).filter_by(action="policy_added")).all()
    assert [entry.subject for entry in entries] == ["refine policy gentle"]


def test_commands_add_show_and_list(database_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    for name, value in (("DATABASE_URL", database_url), ("REDIS_URL", "redis://x"), ("MILVUS_URI", "http://x:1")):
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("COLUMNS", "200")
    file = tmp_path / "policy.json"
    file.write_text('{"likes": {"a": 3}}')

    def run(*arguments: str) -> str:
        done = CliRunner().invoke(command, ["policy", *arguments], catch_exceptions=True)
        return done.output + str(done.exception or "")

    said = run(
        "add",
        "ours",
        "--based-on",
        "prf",
        "--file",
        str(file),
        "--set",
        "likes.c=0.2",
        "--set",
        "explicit_mode=rocchio",
    )
    assert "MORELIKE_REFINE_POLICY=ours" in said
    shown = json.loads(run("show", "ours"))
    assert POLICY.validate_python(shown) == Policy(strategy="prf", likes=Likes(a=3.0, c=0.2), explicit_mode="rocchio")
    listed = run("list")
    assert "ours" in listed
    assert "built in" in listed
    for wrong in ("k", "=1", "a..b=1", "likes.=1"):
        run("add", "other", "--set", wrong)
    run("add", "other", "--set", "k=1", "--set", "k.a=2")
    assert "other" not in run("list")


@pytest.fixture(scope="module")
def toys(shop: Shop) -> Shop:
    """Five pictures of each of four colours."""
    names = {f"{colour}{n}": png(value, mark=n) for colour, value in COLOURS.items() for n in range(5)}
    sent = [{"id": name, "title": "Toy", "captions": [f"a {name[:-1]} toy"]} for name in names]
    shop.add(*sent, pictures={name: [picture] for name, picture in names.items()})
    return shop


def refined(client: TestClient, query_id: str, headers: dict[str, str] | None = None, **request: Any) -> dict[str, Any]:
    answer = client.post(f"/v1/search/{query_id}/refine", json=request, headers=headers)
    assert answer.status_code == 200, answer.text
    body: dict[str, Any] = answer.json()
    return body


@pytest.mark.usefixtures("toys")
def test_refinements_follow_the_policy_that_is_named(client: TestClient, search: Search, shop_keys: Keys) -> None:
    body = {"name": "by-list", "based_on": "prf", "config": {"k": 3}}
    for _ in range(2):
        added = client.post("/v1/refine-policies", json=body, headers=shop_keys.admin)
        assert (added.status_code, added.json()["config"]["k"]) == (201, 3)
    assert client.get("/v1/refine-policies/by-list", headers=shop_keys.admin).json() == added.json()
    assert client.post("/v1/refine-policies", json=body | {"config": {}}, headers=shop_keys.admin).status_code == 409
    assert (
        client.post("/v1/refine-policies", json=body | {"config": {"l": 1}}, headers=shop_keys.admin).status_code == 422
    )
    assert client.post("/v1/refine-policies", json=body).status_code == 403
    listed = client.get("/v1/refine-policies", headers=shop_keys.admin).json()
    assert listed["in_use"] == "auto"
    assert [one["name"] for one in listed["policies"]] == [*BUILT_IN, "by-list"]
    first = search(text="a red toy")
    answer = refined(client, first["query_id"], shop_keys.server, policy="by-list")
    assert (answer["refine"]["policy"], answer["refine"]["strategy"]) == ("by-list", "prf")
    assert refined(client, first["query_id"], shop_keys.server, policy="none")["refine"]["strategy"] == "none"
    unknown = client.post(f"/v1/search/{first['query_id']}/refine", json={"policy": "gone"}, headers=shop_keys.server)
    assert unknown.status_code == 404


@pytest.mark.usefixtures("toys")
def test_what_was_clicked_and_looked_at_counts_where_the_policy_says_so(
    client: TestClient, search: Search, shop_keys: Keys
) -> None:
    first = search(text="a toy")
    query_id, opened = first["query_id"], "blue0"
    assert opened in [hit["product_id"] for hit in first["hits"]]
    events = [
        {"type": "click", "product_id": opened},
        {"type": "dwell", "product_id": opened, "dwell_ms": 60_000},
        {"type": "click", "product_id": "not-of-this-list"},
    ]
    sent = [{"message_id": uuid4().hex, "query_id": query_id} | event for event in events]
    assert client.post("/v1/events", json=sent).json()["accepted"] == 3
    counted = refined(client, query_id)
    assert counted["refine"]["strategy"] == "likes"
    assert counted["refine"]["decision"] == "moved"
    without = refined(client, query_id, shop_keys.server, weights={"session_signals": None})
    assert without["refine"]["strategy"] != "likes"
    outweighed = refined(client, query_id, feedback=[{"product_id": opened, "value": -1}])
    assert opened not in [hit["product_id"] for hit in outweighed["hits"]]


def test_policies_are_found_once_and_a_wrong_name_stops_the_start(
    shop_settings: Settings, shop: Shop, sessions: sessionmaker[Session]
) -> None:
    assert shop
    with session_scope(sessions) as session:
        add_policy(session, "kept", {"k": 2}, actor="a person")
    policies = Policies(sessions)
    assert policies.named("kept") is policies.named("kept")
    assert policies.named("auto") is BUILT_IN["auto"]
    wrong = create_app(shop_settings.model_copy(update={"refine_policy": "gone"}))
    with pytest.raises(PolicyUnknown, match="no refine policy"), TestClient(wrong):
        pass
