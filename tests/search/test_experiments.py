"""Experiments as shoppers meet them: through the API, in several processes, over a flip, to their end."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis
from sqlalchemy import select
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.events.models import ServedList
from backend.experiments.bucketing import arm_of, bucket
from backend.generations.models import Generation
from backend.main import create_app
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.fixtures.heads import query_heads
from tests.fixtures.stacks import wait_for
from tests.search.conftest import Search, Shop, ids

SHOPPERS = [f"shopper-{number:03d}" for number in range(24)]
COUNT = 30


@pytest.fixture(scope="module")
def shop_settings(shop_settings: Settings) -> Settings:
    return shop_settings.model_copy(update={"rate_limit_per_minute": 0})


@pytest.fixture(scope="module")
def generations(shop: Shop) -> tuple[str, str]:
    """What is live, and the same with a head for words."""
    shop.add(*({"id": f"m{n:02}", "title": f"Mug {n}", "captions": [f"mug number {n}"]} for n in range(COUNT)))
    with session_scope(shop.sessions) as session:
        live = session.scalars(select(Generation).filter_by(state="live")).one()
        other = Generation(
            index_build_id=live.index_build_id,
            calibration=live.calibration,
            code_version="test",
            state="ready",
            query_heads=query_heads(shop.encoder.id, shop.encoder.dim, 7),
        )
        session.add(other)
        session.flush()
        return f"g{live.id}", f"g{other.id}"


@pytest.fixture
def running(client: TestClient, shop_keys: Keys, generations: tuple[str, str]) -> Iterator[dict[str, Any]]:
    """An experiment between both that runs in the process of ``client``."""
    arms = [{"name": "control", "generation": generations[0]}]
    arms.append({"name": "heads", "generation": generations[1], "refine_policy": "grf"})
    made = client.post(
        "/v1/experiments", headers=shop_keys.admin, json={"name": f"heads {id(arms)}", "arms": arms, "traffic": 0.9}
    )
    assert made.status_code == 201, made.text
    assert made.json()["estimate"] | {"reason": None} == {
        "searches": None, "days": None, "baseline": None, "detects": 0.05, "reason": None,
    }  # fmt: skip
    name = made.json()["id"]
    begun = client.post(f"/v1/experiments/{name}/start", headers=shop_keys.admin)
    assert begun.status_code == 200, begun.text
    wait_for(lambda: any(name in arm_in(client, shopper) for shopper in SHOPPERS), "the process follows")
    yield begun.json()
    client.post(f"/v1/experiments/{name}/stop", headers=shop_keys.admin)


def answered(client: TestClient, **request: Any) -> dict[str, Any]:
    found = client.post("/v1/search", json={"text": "mug number 5", "limit": 10} | request)
    assert found.status_code == 200, found.text
    body: dict[str, Any] = found.json()
    return body


def arm_in(client: TestClient, shopper: str) -> dict[str, str]:
    """Their arms; browsing asks no index."""
    found: dict[str, str] = answered(client, text=None, shopper_id=shopper, limit=1)["experiments"]
    return found


def arms_in(client: TestClient) -> dict[str, dict[str, str]]:
    return {shopper: arm_in(client, shopper) for shopper in SHOPPERS}


def test_each_shopper_is_answered_by_their_arm_and_the_list_says_so(
    client: TestClient, running: dict[str, Any], shop: Shop, shop_keys: Keys, generations: tuple[str, str]
) -> None:
    layers = {one["name"]: one for one in client.get("/v1/layers", headers=shop_keys.admin).json()["layers"]}
    lists = {}
    for shopper in SHOPPERS:
        found = answered(client, shopper_id=shopper)
        inside = bucket(layers["ranker"]["salt"], shopper) < 9000
        arm = ("control", "heads")[arm_of(bucket(running["arm_salt"], shopper), (1, 1))] if inside else None
        assert found["experiments"] == ({running["id"]: arm} if arm else {})
        assert found["generation"] == generations[arm == "heads"]
        lists.setdefault(arm, []).append(ids(found))
    assert {tuple(order) for order in lists["heads"]} != {tuple(order) for order in lists["control"]}
    assert len({tuple(order) for arm in lists.values() for order in arm}) == 2  # one order for each generation
    with session_scope(shop.sessions) as session:
        kept = session.scalars(select(ServedList).where(ServedList.experiments == {running["id"]: "heads"})).first()
    assert kept is not None
    assert kept.assignment["layers"]["ranker"].items() >= {"arm": "heads", "how": "bucket"}.items()
    assert f"g{kept.generation_id}" == generations[1]


def test_what_shoppers_do_in_each_arm_is_in_the_results(
    client: TestClient, running: dict[str, Any], shop_keys: Keys
) -> None:
    arms = []
    for shopper in SHOPPERS:
        found = answered(client, shopper_id=shopper)
        arms.append(found["experiments"].get(running["id"]))
        if arms[-1] == "heads":
            satisfy(client, found["query_id"], ids(found)[0], shopper)
    read = client.get(f"/v1/experiments/{running['id']}/results", headers=shop_keys.admin).json()
    assert [arm["queries"] for arm in read["arms"]] == [arms.count("control"), arms.count("heads")]
    assert read["sample_ratio"]["found"] == [arms.count("control"), arms.count("heads")]
    assert [arm["value"] for arm in read["metrics"][0]["arms"]] == [0, 1]
    assert all(arm["value"] > 0 for arm in read["metrics"][-1]["arms"])  # milliseconds
    draft = {"name": "never begun", "layer": "ui", "arms": [{"name": "a"}, {"name": "b"}]}
    made = client.post("/v1/experiments", headers=shop_keys.admin, json=draft).json()
    refused = client.get(f"/v1/experiments/{made['id']}/results", headers=shop_keys.admin)
    assert (refused.status_code, refused.json()["type"]) == (409, "urn:morelike:problem:never-ran")
    assert client.get(f"/v1/experiments/{made['id']}/results", headers=shop_keys.server).status_code == 403


def test_what_shoppers_take_from_interleaved_lists_is_in_the_results(
    client: TestClient, shop: Shop, shop_keys: Keys, generations: tuple[str, str]
) -> None:
    arms = [{"name": "now", "generation": generations[0]}, {"name": "heads", "generation": generations[1]}]
    asked = {"name": "drafts", "method": "interleave", "arms": arms}
    made = client.post("/v1/experiments", headers=shop_keys.admin, json=asked).json()["id"]
    client.post(f"/v1/experiments/{made}/start", headers=shop_keys.admin)
    wait_for(lambda: made in arm_in(client, SHOPPERS[0]), "the process follows")
    for shopper in SHOPPERS:
        found = answered(client, shopper_id=shopper)
        with session_scope(shop.sessions) as session:
            (coins,) = session.scalars(select(ServedList.coins).where(ServedList.query_id == found["query_id"])).all()
        assert coins is not None
        satisfy(client, found["query_id"], ids(found)[coins["teams"].index("B")], shopper)
    read = client.get(f"/v1/experiments/{made}/results", headers=shop_keys.admin).json()["interleaving"]
    client.post(f"/v1/experiments/{made}/stop", headers=shop_keys.admin)
    assert (read["lists"], read["wins_a"], read["wins_b"], read["ties"]) == (len(SHOPPERS), 0, len(SHOPPERS), 0)
    assert (read["value"], read["decided"]) == (0.5, len(SHOPPERS))


def satisfy(client: TestClient, query_id: str, product: str, shopper: str) -> None:
    """A click, and a minute on the product's page."""
    did = {"query_id": query_id, "product_id": product, "shopper_id": shopper}
    events = [{"type": "click"} | did, {"type": "dwell", "dwell_ms": 60_000} | did]
    named = [{"message_id": f"{query_id} {one['type']}"} | one for one in events]
    sent = client.post("/v1/events", json=named, headers={"User-Agent": "Firefox"})
    assert sent.json()["accepted"] == 2, sent.text


def test_every_process_and_one_started_anew_assign_alike(
    client: TestClient, running: dict[str, Any], shop_settings: Settings, shop_keys: Keys
) -> None:
    expected = arms_in(client)
    assert {arm for arms in expected.values() for arm in arms.values()} == {"control", "heads"}
    assert {name for arms in expected.values() for name in arms} == {running["id"]}
    with TestClient(create_app(shop_settings), client=("203.0.113.9", 50000), headers=shop_keys.storefront) as other:
        assert arms_in(other) == expected


def test_ramping_reaches_processes_and_moves_nobody(
    client: TestClient, running: dict[str, Any], shop_keys: Keys
) -> None:
    before = arms_in(client)
    ramped = client.post(f"/v1/experiments/{running['id']}/ramp", headers=shop_keys.admin, json={"traffic": 1})
    assert ramped.json()["slices"] == [[0, 9000], [9000, 10_000]]
    wait_for(lambda: all(arms_in(client).values()), "everybody is in")
    after = arms_in(client)
    assert all(arms == after[shopper] for shopper, arms in before.items() if arms)


def test_pages_and_refinements_stay_with_their_arm_when_another_generation_goes_live(
    client: TestClient, running: dict[str, Any], search: Search, shop_keys: Keys, generations: tuple[str, str],
    redis_server: str,
) -> None:  # fmt: skip
    """Also when the order was lost, when the experiment has ended, and without anybody naming a policy."""
    shopper = next(one for one, arms in arms_in(client).items() if arms == {running["id"]: "heads"})
    whole = answered(client, shopper_id=shopper, limit=COUNT)
    first = answered(client, shopper_id=shopper)
    redis.Redis.from_url(redis_server).flushall()
    second = search(cursor=first["cursor"], limit=COUNT)
    assert ids(first) + ids(second) == ids(whole)
    promoted = client.post(f"/v1/generations/{generations[1]}/promote", headers=shop_keys.admin)
    assert promoted.status_code == 200
    refined = client.post(f"/v1/search/{first['query_id']}/refine", json={"shopper_id": shopper}).json()
    assert (refined["generation"], refined["experiments"]) == (generations[1], {running["id"]: "heads"})
    assert (refined["turn"], refined["refine"]["policy"]) == (2, "grf")
    client.post(f"/v1/generations/{generations[0]}/promote", headers=shop_keys.admin)
    client.post(f"/v1/experiments/{running['id']}/stop", headers=shop_keys.admin)
    wait_for(lambda: not any(arms_in(client).values()), "the experiment has ended here")
    assert answered(client, shopper_id=shopper)["generation"] == generations[0]
    again = client.post(f"/v1/search/{refined['query_id']}/refine", json={"shopper_id": shopper}).json()
    assert (again["turn"], again["generation"]) == (3, generations[1])


def test_who_signs_in_keeps_their_arm_and_a_tester_goes_where_they_are_put(
    client: TestClient, running: dict[str, Any], shop_keys: Keys
) -> None:
    arms = arms_in(client)
    phone, laptop = (next(one for one in SHOPPERS if running["id"] in arms[one] and arms[one][running["id"]] == arm)
                     for arm in ("control", "heads"))  # fmt: skip
    assert answered(client, shopper_id=phone, user_id="jo")["experiments"] == arms[phone]
    assert answered(client, shopper_id=laptop, user_id="jo")["experiments"] == arms[phone]
    assert answered(client, shopper_id=laptop)["experiments"] == arms[laptop]
    overrides = f"/v1/experiments/{running['id']}/overrides"
    put = client.put(overrides, headers=shop_keys.admin, json={"shopper_id": phone, "arm": "heads"})
    assert put.status_code == 200, put.text
    wait_for(lambda: arm_in(client, phone) == arms[laptop], "the tester is in the other arm")
    client.delete(overrides, headers=shop_keys.admin, params={"shopper_id": phone})
    wait_for(lambda: arm_in(client, phone) == arms[phone], "the tester is back")


def test_only_administrators_see_or_change_experiments(client: TestClient, shop_keys: Keys) -> None:
    for method, path in (("get", "experiments"), ("get", "exploration"), ("get", "layers"), ("get", "experiments/e1")):
        assert client.request(method, f"/v1/{path}", headers=shop_keys.server).status_code == 403
    assert client.post("/v1/experiments", headers=shop_keys.server, json={}).status_code == 403
    wrong = {"name": "x", "method": "interleave", "arms": [{"name": "a"}, {"name": "b"}]}
    refused = client.post("/v1/experiments", headers=shop_keys.admin, json=wrong)
    assert refused.status_code == 422
    assert "two arms of equal weight" in refused.text
    assert client.get("/v1/experiments/e99", headers=shop_keys.admin).status_code == 404


def test_the_share_that_explores_is_changed_while_it_runs(client: TestClient, shop_keys: Keys, shop: Shop) -> None:
    changed = client.put("/v1/exploration", headers=shop_keys.admin, json={"share": 1, "policy": {"pair_share": 1}})
    assert changed.json()["cost"]["of_all"] == changed.json()["cost"]["of_a_list"] > 0

    def coins() -> str | None:
        found = answered(client, session_id="s1")["query_id"]
        with session_scope(shop.sessions) as session:
            kept = session.scalars(select(ServedList).where(ServedList.query_id == found)).one()
        return kept.coins and kept.coins["kind"]

    wait_for(lambda: coins() == "pair", "the session explores")
    client.put("/v1/exploration", headers=shop_keys.admin, json={"share": 0})
    wait_for(lambda: coins() is None, "nobody explores")
