"""What each fact means for a shop, and what it is told to do next."""

import shlex
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from typer.main import get_command

from backend.admin.checklist import checklist, count_states
from backend.admin.event_schemas import EventsState, ExplorationState
from backend.admin.facts import Facts, Switch, origin_of
from backend.admin.learning_schemas import GateWait, LearningState, NightState
from backend.admin.schemas import (
    CatalogueState,
    Check,
    ImageCounts,
    IndexState,
    KeyState,
    Serving,
    ShopState,
    WebhookState,
)
from backend.catalog.captioning.schemas import CaptionCounts, CaptionerOut
from backend.cli import app
from backend.settings import Settings
from tests.test_docs import commands, variables

ROOT = Path(__file__).resolve().parent.parent.parent
NOW = datetime.now(UTC)

HOOK = WebhookState(
    source="shopify",
    url="https://s.example/v1/webhooks/shopify",
    has_secret=True,
    last_at=NOW - timedelta(hours=2),
    last_day={"applied": 4, "duplicate": 1},
)
SHOP = ShopState(
    url="https://shop.example",
    compared_at="03:30",
    last_at=NOW - timedelta(hours=9),
    last_finished=True,
    last_problem=None,
    last_counts={"created": 2},
)
KEY = KeyState(
    id=1,
    name="my shop",
    scope="storefront",
    begins_with="mk_pub_aB3x",
    origins=["https://shop.example"],
    rate_limit_per_minute=None,
    created_at=NOW,
)
DEMO = Serving(generation="g1", encoder="demo@1f0c9be77a12", drawings_only=True, build=1, live_at=NOW)
REAL = Serving(generation="g2", encoder="ViT-B-32@5e2ad1c0a9f4", drawings_only=False, build=2, live_at=NOW)


CAPTIONER = CaptionerOut(
    id="gpt-4o-mini@1f0a9c3b7d21",
    kind="openai",
    model="gpt-4o-mini",
    prompts={},
    pictures=1,
    current=True,
    paused_until=None,
    reason=None,
    created_at=NOW,
    counts=CaptionCounts(pending=0, ready=7000, parked=0),
)
EVENTS = EventsState(
    last_at=NOW,
    last_day={"accepted": 41_200, "rejected": 12},
    refused={"invalid": 12},
    types={"exposure": 40_000, "click": 1200},
    attributed=0.97,
    pending=0,
    bots=0,
    searches=5200,
    randomised=250,
)
EXPLORATION = ExplorationState(share=0.05, page=24, of_a_list=0.0112, of_all=0.00056)


def settings(**values: object) -> Settings:
    return Settings().model_copy(update=values)


NIGHT = NightState(id="n7", state="done", outcome="promoted", sentence="ips is better.", ended_at=NOW)
LEARNING = LearningState(at="02:00", running=None, last=NIGHT, waits=[])
CLICKS = GateWait(gate="G0", what="satisfied clicks", found=312, needed=2000, per_day=41.5)

READY = Facts(
    settings=settings(public_url="https://s.example", transcriber_url="https://api.openai.com/v1"),
    worker=True,
    serving=REAL,
    switch=None,
    index=IndexState(engine="Milvus", vectors=90_000, serves_well=None),
    catalogue=CatalogueState(products=6500, of_the_demo=0, images=ImageCounts(ready=7000), waiting=0),
    captioner=CAPTIONER,
    webhooks=(HOOK,),
    shop=SHOP,
    keys=(KEY,),
    events=EVENTS,
    exploration=EXPLORATION,
    experiments=(),
    learning=LEARNING,
)
"""A shop that has everything."""

FRESH = Facts(
    settings=settings(demo=True, port=8000),
    worker=True,
    serving=DEMO,
    switch=None,
    index=IndexState(engine="Milvus Lite", vectors=5200, serves_well=20_000),
    catalogue=CatalogueState(products=2400, of_the_demo=2400, images=ImageCounts(ready=2800), waiting=0),
    captioner=None,
    webhooks=(HOOK.model_copy(update={"has_secret": False, "url": None, "last_at": None, "last_day": {}}),),
    shop=None,
    keys=(KEY.model_copy(update={"origins": ["http://127.0.0.1:8000"]}),),
    events=EVENTS.model_copy(update={"last_at": None, "last_day": {}, "types": {}, "attributed": None, "searches": 3}),
    exploration=EXPLORATION,
    experiments=(),
    learning=LEARNING.model_copy(update={"last": None}),
)
"""What `make run` opens."""


def named(facts: Facts) -> dict[str, Check]:
    return {check.id: check for check in checklist(facts)}


def catalogue(**values: object) -> CatalogueState:
    return READY.catalogue.model_copy(update=values)


def hooked(**values: object) -> Facts:
    return replace(READY, webhooks=(HOOK.model_copy(update=values),))


def shopped(**values: object) -> Facts:
    return replace(READY, shop=SHOP.model_copy(update=values))


def collected(**values: object) -> Facts:
    return replace(READY, events=EVENTS.model_copy(update=values))


def captioned(**values: object) -> Facts:
    return replace(READY, captioner=CAPTIONER.model_copy(update=values))


def test_a_shop_that_has_everything_has_nothing_to_do() -> None:
    assert {check.id: check.state for check in checklist(READY) if check.state not in ("done", "optional")} == {}
    assert [check.id for check in checklist(READY) if check.state == "done" and check.steps] == []


def test_the_demo_is_told_what_a_shop_of_ones_own_needs() -> None:
    states = {name: check.state for name, check in named(FRESH).items()}
    assert {name for name, state in states.items() if state == "todo"} == {
        "encoder",
        "catalogue",
        "public_url",
        "webhook_secret",
        "page_key",
        "events",
    }
    assert "problem" not in states.values()
    counts = count_states(checklist(FRESH))
    assert (counts["todo"], sum(counts.values())) == (6, len(states))


@pytest.mark.parametrize(
    ("facts", "check", "state", "said"),
    [
        (collected(last_at=None), "events", "todo", "Nothing that shoppers do"),
        (collected(last_day={"accepted": 3, "rejected": 40}), "events", "problem", "40 events"),
        (collected(last_day={"accepted": 3, "rejected": 4}), "events", "done", "3 events in the last day, 4 refused"),
        (collected(last_day={}), "events", "problem", "5,200 searches in the last day, and nothing"),
        (collected(last_day={}, searches=3), "events", "done", "0 events"),
        (collected(attributed=0.8), "attributed", "done", "80%"),
        (collected(attributed=0.79), "attributed", "todo", "79%"),
        (collected(attributed=0.49), "attributed", "problem", "49%"),
        (READY, "exploration", "done", "5.0% of sessions explore, which costs at most 0.06%"),
        (replace(READY, exploration=EXPLORATION.model_copy(update={"share": 0.0})), "exploration", "optional", "No"),
        (replace(READY, worker=False), "worker", "problem", "nothing is downloaded"),
        (replace(READY, worker=None), "worker", "problem", "Redis"),
        (replace(READY, serving=None), "encoder", "problem", "No generation"),
        (replace(READY, serving=DEMO), "encoder", "problem", "photographs would not be found"),
        (replace(READY, switch=Switch(3, "hf-hub:a/b", 1200, 6500, None)), "encoder", "done", "1,200 of 6,500"),
        (replace(READY, switch=Switch(3, "x", 0, 9, "no such file")), "encoder", "problem", "no such file"),
        (replace(READY, catalogue=catalogue(products=0)), "catalogue", "todo", "empty"),
        (replace(READY, catalogue=catalogue(of_the_demo=2400)), "catalogue", "todo", "4,100 products of yours"),
        (replace(READY, catalogue=catalogue(waiting=12)), "catalogue", "done", "12 wait"),
        (replace(READY, catalogue=catalogue(images=ImageCounts(parked=3))), "pictures", "todo", "3 were given up on"),
        (replace(READY, settings=settings(public_url="http://s.example")), "public_url", "todo", "not https"),
        (replace(READY, settings=settings(public_url="https://localhost")), "public_url", "todo", "no shop can reach"),
        (hooked(last_at=None, last_day={}), "deliveries", "todo", "Nothing has arrived yet"),
        (hooked(last_at=NOW - timedelta(days=9)), "deliveries", "problem", "for 9 days"),
        (hooked(last_day={"applied": 4, "rejected": 12}), "verdicts", "problem", "12 with a wrong signature"),
        (hooked(last_day={"applied": 400, "rejected": 3}), "verdicts", "done", "3 with a wrong signature"),
        (hooked(last_day={"applied": 4, "parked": 2}), "verdicts", "problem", "2 that were given up on"),
        (hooked(last_day={"applied": 4, "failed": 2}), "verdicts", "done", "will be tried again"),
        (captioned(counts=CaptionCounts(pending=10, ready=5, parked=0)), "captions", "done", "5 of 15"),
        (captioned(counts=CaptionCounts(pending=0, ready=5, parked=2)), "captions", "todo", "2 were given up on"),
        (captioned(reason="no credit is left"), "captions", "problem", "no credit is left"),
        (replace(READY, captioner=None), "captions", "optional", "No model"),
        (READY, "compared", "done", "2 created"),
        (shopped(last_counts={}), "compared", "done", "nothing to repair"),
        (shopped(last_finished=False), "compared", "done", "under way"),
        (shopped(last_at=NOW - timedelta(days=3)), "compared", "problem", "is the beat running"),
        (shopped(last_problem="it does not accept the credentials"), "compared", "problem", "credentials"),
        (shopped(last_at=None), "compared", "todo", "03:30 UTC"),
        (shopped(compared_at="off"), "compared", "todo", "MORELIKE_RECONCILE_AT"),
        (replace(READY, shop=None), "compared", "todo", "No shop is named"),
        (replace(READY, keys=()), "page_key", "todo", "No storefront key"),
        (replace(READY, settings=settings(public_url="https://s.example")), "voice", "optional", "speech input"),
        (replace(READY, settings=settings(public_url="https://s.example", demo=True)), "demo", "problem", "no key"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_each_fact_has_its_consequence(facts: Facts, check: str, state: str, said: str) -> None:
    found = named(facts)[check]
    assert (found.state, said in found.fact) == (state, True), found


@pytest.mark.parametrize(("vectors", "state"), [(13_999, "done"), (14_001, "todo"), (20_001, "problem")])
def test_milvus_lite_is_outgrown_in_time(vectors: int, state: str) -> None:
    index = IndexState(engine="Milvus Lite", vectors=vectors, serves_well=20_000)
    found = named(replace(READY, index=index))["index"]
    assert found.state == state
    assert bool(found.steps) is (state != "done")


def test_nothing_is_said_of_deliveries_that_nobody_could_send() -> None:
    assert not {"deliveries", "verdicts"} & named(FRESH).keys()


def test_a_wrong_signature_names_the_setting_that_holds_the_secret() -> None:
    steps = named(hooked(last_day={"rejected": 1}))["verdicts"].steps
    assert "MORELIKE_SHOPIFY_SECRET" in steps[0].say


def test_the_address_to_register_is_told() -> None:
    assert named(hooked(last_at=None))["deliveries"].steps[1].command == HOOK.url


@pytest.mark.parametrize(
    ("values", "origin"),
    [
        ({"public_url": "https://S.example/path"}, "https://s.example"),
        ({"host": "0.0.0.0", "port": 8000}, "http://127.0.0.1:8000"),
        ({"host": "::1", "port": 80}, "http://[::1]"),
    ],
)
def test_the_servers_own_pages_are_not_the_shops(values: dict[str, object], origin: str) -> None:
    assert origin_of(settings(**values)) == origin


def every_check() -> list[Check]:
    broken = replace(
        READY,
        settings=settings(demo=True, public_url="http://s.example"),
        worker=False,
        serving=DEMO,
        catalogue=catalogue(products=0, images=ImageCounts(parked=1)),
        index=IndexState(engine="Milvus Lite", vectors=30_000, serves_well=20_000),
        captioner=CAPTIONER.model_copy(update={"counts": CaptionCounts(pending=0, ready=0, parked=1)}),
        webhooks=(HOOK.model_copy(update={"last_day": {"rejected": 2, "parked": 1}}),),
        shop=None,
        keys=(),
    )
    mixed = replace(broken, catalogue=catalogue(of_the_demo=10), switch=Switch(1, "x", 0, 1, None))
    return [check for facts in (FRESH, broken, mixed, READY) for check in checklist(facts)]


def test_every_command_that_is_told_exists_with_its_options() -> None:
    known = dict(commands(get_command(app)))
    told = {
        step.command for check in every_check() for step in check.steps if step.command and "morelike" in step.command
    }
    assert len(told) >= 8
    for command in told:
        words = shlex.split(command[command.index("morelike") :])
        path = next(" ".join(words[:n]) for n in (3, 2) if " ".join(words[:n]) in known)
        assert {word for word in words if word.startswith("--")} <= set(known[path]), command


def test_every_variable_that_is_told_is_a_setting() -> None:
    known = set(variables())
    for check in every_check():
        for step in check.steps:
            for word in f"{step.say} {step.command or ''}".replace("=", " ").split():
                if word.startswith(("MORELIKE_", "MILVUS_", "DATABASE_", "REDIS_")):
                    assert word in known, step


def test_every_page_that_is_named_is_there() -> None:
    assert [check.docs for check in every_check() if not (ROOT / check.docs).exists()] == []


def learned(**values: object) -> Check:
    return named(replace(READY, learning=LEARNING.model_copy(update=values)))["learning"]


def test_what_the_gates_wait_for_is_told_with_how_long_that_takes() -> None:
    """(2000 - 312) / 41.5 is 40.7 days."""
    none_come = GateWait(gate="G1", what="golden captions", found=20, needed=50, per_day=None)
    waiting = learned(waits=[CLICKS, none_come])
    assert waiting.state == "todo"
    assert waiting.fact.endswith(
        "The gates wait for 312 of 2,000 satisfied clicks, about 41 days at this rate; 20 of 50 golden captions."
    )
    assert learned().state == "done"
    assert learned(last=None).fact == "There was no night yet; the first begins at 02:00 UTC."
    assert learned(at="off").state == "optional"


def test_a_night_that_failed_is_a_problem_with_the_command_that_says_where() -> None:
    failed = learned(last=NIGHT.model_copy(update={"state": "failed", "sentence": "The worker was killed."}))
    assert failed.state == "problem"
    assert failed.steps[0].command == "morelike nightly report n7"
