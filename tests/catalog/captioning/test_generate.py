"""Captions from picture to product: each picture asked about once, and kept up with what the shop changes."""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from backend.catalog.captioning.alignment import align_all
from backend.catalog.captioning.captioners import FIRST_PROMPTS, SECOND_PROMPT, CaptionerSpec, spec_of
from backend.catalog.captioning.generate import CaptionReport
from backend.catalog.captioning.repository import anything_to_caption, current_plan, make_current, remove_captioner
from backend.catalog.repository import delete_product
from backend.db import session_scope
from tests.catalog.captioning.conftest import SPEC, Desk, coloured
from tests.fixtures.openai_server import VISION_MODEL

Other = Callable[[str], CaptionerSpec]


def words(red: int, turn: int = 2) -> str:
    return f"a #{red * 8:02x}5028 thing, turn {turn}"


def test_each_picture_is_a_conversation_of_two_turns_whose_last_answer_is_the_caption(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(25),))
    report = desk.run()
    assert report == CaptionReport(aligned=1, captioned=1)
    assert SPEC is not None
    assert desk.captions("p1") == [(SPEC.id, words(25))]
    first, second = (asked.body for asked in desk.server.asked)
    assert first["messages"][0]["content"][0]["text"] in FIRST_PROMPTS
    assert [m["role"] for m in second["messages"]] == ["user", "assistant", "user"]
    assert second["messages"][1]["content"] == words(25, turn=1)
    assert second["messages"][2]["content"] == SECOND_PROMPT
    ((state, turns, attempts),) = desk.rows("state, turns, attempts")
    assert (state, attempts) == ("ready", 1)
    assert turns == [
        {"prompt": first["messages"][0]["content"][0]["text"], "answer": words(25, turn=1)},
        {"prompt": SECOND_PROMPT, "answer": words(25)},
    ]


def test_the_same_picture_is_asked_about_once_however_many_products_show_it(desk: Desk) -> None:
    for number in range(3):
        desk.shop.put(f"p{number}", pictures=(coloured(25),))
    desk.run()
    assert desk.asked() == 2
    desk.shop.put("late", pictures=(coloured(25),))
    desk.run()
    assert desk.asked() == 2
    assert [desk.texts(one) for one in ("p0", "p1", "p2", "late")] == [[words(25)]] * 4


def test_a_second_run_and_a_change_of_price_ask_nothing_and_change_nothing(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(25),), price=1)
    desk.run()
    revision = desk.revision("p1")
    assert not desk.run().progressed
    assert desk.revision("p1") == revision
    desk.shop.put("p1", pictures=(coloured(25),), price=2)
    revision = desk.revision("p1")
    assert desk.run() == CaptionReport(aligned=1)
    assert (desk.asked(), desk.revision("p1")) == (2, revision)


def test_only_the_first_pictures_of_a_product_are_captioned(desk: Desk) -> None:
    pictures = tuple(coloured(red) for red in (1, 2, 3))
    desk.shop.put("p1", pictures=pictures)
    desk.run()
    assert desk.texts("p1") == [words(1)]
    desk.run(pictures=2)
    assert desk.texts("p1") == [words(1), words(2)]
    desk.run(pictures=0)
    assert desk.texts("p1") == [words(1), words(2), words(3)]
    assert desk.asked() == 6


def test_captions_follow_the_pictures_of_their_product(desk: Desk) -> None:
    """A picture that goes takes its caption with it, one that moves to the front is asked about; the revision tells."""
    desk.shop.put("p1", pictures=(coloured(1), coloured(2)))
    desk.run()
    before = desk.revision("p1")
    desk.shop.put("p1", pictures=(coloured(2), coloured(1)))
    desk.run()
    assert desk.texts("p1") == [words(2)]
    assert desk.revision("p1") > before
    desk.shop.put("p1", pictures=())
    desk.run()
    assert desk.texts("p1") == []
    assert desk.asked() == 4


def test_the_merchants_write_leaves_generated_captions_alone(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),), captions=["a given one"])
    desk.run()
    desk.shop.put("p1", pictures=(coloured(1),), captions=["another"], title="new")
    assert desk.texts("p1") == [words(1)]


def test_old_captions_stay_until_the_new_captioner_has_spoken(desk: Desk, other_spec: Other) -> None:
    for red in (1, 2):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    desk.run()
    new = other_spec("And now?")
    captioning = desk.captioning(new)
    assert align_all(desk.sessions, captioning.plan, lambda: False) == 2
    assert SPEC is not None
    assert desk.captions("p1") == [(SPEC.id, words(1))]
    captioning.run_due()
    assert desk.captions("p1") == [(new.id, words(1))]
    asked = desk.asked()
    desk.run()  # going back costs nothing
    assert (desk.captions("p2"), desk.asked()) == ([(SPEC.id, words(2))], asked)


def test_a_picture_that_the_new_captioner_gives_up_on_keeps_its_old_caption(desk: Desk, other_spec: Other) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.run()
    desk.server.say = lambda _picture, _turn: "I'm sorry, I can't help with that."
    report = desk.run(other_spec("And now?"))
    assert report.parked == 1
    assert desk.texts("p1") == [words(1)]


def test_with_captioning_off_what_was_said_goes_with_its_picture(desk: Desk) -> None:
    with session_scope(desk.sessions) as session:
        assert make_current(session, None, 1) is None
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.shop.put("p2", pictures=(coloured(2),))
    desk.run()
    desk.shop.put("p1", pictures=(coloured(3),))
    desk.shop.put("p3", pictures=(coloured(2),))
    desk.run(None)
    assert [desk.texts(one) for one in ("p1", "p2", "p3")] == [[], [words(2)], [words(2)]]
    assert desk.asked() == 4
    with session_scope(desk.sessions) as session:
        assert current_plan(session) is None


def test_a_captioner_that_is_removed_leaves_nothing_behind(desk: Desk, other_spec: Other) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    desk.run()
    new = other_spec("And now?")
    desk.run(new)
    before = desk.revision("p1")
    with session_scope(desk.sessions) as session:
        make_current(session, SPEC, 1)
        assert remove_captioner(session, new.id) == 1
    assert desk.revision("p1") == before + 1
    assert desk.texts("p1") == []
    desk.run()
    assert desk.texts("p1") == [words(1)]


def test_pictures_nobody_sells_any_more_are_not_paid_for(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    captioning = desk.captioning()
    align_all(desk.sessions, captioning.plan, lambda: False)
    with session_scope(desk.sessions) as session:
        assert anything_to_caption(session, captioning.plan)
        delete_product(session, "p1")
    with session_scope(desk.sessions) as session:
        assert not anything_to_caption(session, captioning.plan)
    captioning.run_due()
    assert desk.asked() == 0


def test_workers_share_the_work_and_ask_about_nothing_twice(desk: Desk) -> None:
    for red in range(30):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    desk.server.delay_s = 0.05
    workers = [desk.captioning(threads=4) for _ in range(3)]
    align_all(desk.sessions, workers[0].plan, lambda: False)
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda one: one.run_due(), workers))
    assert sum(report.captioned for report in reports) == 30
    assert desk.asked() == 60
    assert desk.server.most_at_once > 4
    assert all(desk.texts(f"p{red}") == [words(red)] for red in range(30))


def test_a_worker_with_other_settings_leaves_captions_alone(desk: Desk, other_spec: Other) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    old = desk.captioning()
    new = desk.captioning(other_spec("And now?"))
    old.run_due()
    assert desk.asked() == 0
    new.run_due()
    assert (desk.asked(), len(desk.texts("p1"))) == (2, 1)


def test_what_a_worker_that_died_had_claimed_is_due_when_its_lease_ends(desk: Desk) -> None:
    desk.shop.put("p1", pictures=(coloured(1),))
    captioning = desk.captioning()
    align_all(desk.sessions, captioning.plan, lambda: False)
    desk.execute("UPDATE generated_captions SET due_at = now() + interval '40 s'")  # claimed, and never heard of again
    assert captioning.run_due().captioned == 0
    desk.execute("UPDATE generated_captions SET due_at = now()")
    assert captioning.run_due().captioned == 1


def test_stopping_leaves_the_rest_due(desk: Desk) -> None:
    for red in range(5):
        desk.shop.put(f"p{red}", pictures=(coloured(red),))
    captioning = desk.captioning()
    report = captioning.run_due(stop=lambda: desk.asked() >= 4)
    assert report.captioned == 2
    with session_scope(desk.sessions) as session:
        due = session.execute(
            text("SELECT count(*) FROM generated_captions WHERE state = 'pending' AND due_at <= now()")
        )
        assert due.scalar_one() == 3
    assert captioning.run_due().captioned == 3


def test_a_captioners_name_is_that_of_its_model_and_tells_prompts_apart(other_spec: Other) -> None:
    assert SPEC is not None
    assert SPEC.id.startswith(f"{VISION_MODEL}@")
    assert len({SPEC.id, other_spec("a").id, other_spec("b").id}) == 3
    names = [
        "openai:org/a-model-with-a-very-long-name:7b-instruct-q4",
        "coca:local-dir:/models/my coca/",
        "coca:hf-hub:a/b",
    ]
    ids = [spec.id for name in names if (spec := spec_of(name)) is not None]
    assert all(len(one) <= 32 and "@" in one for one in ids)
    assert ids[1].startswith("my-coca@")
    assert spec_of("off") is None
