"""A night whose arm has heads of items: its index is made beside the live one, and goes live as one with the heads."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.audit import compare
from backend.generations.index_content import read_contents
from backend.generations.models import Generation
from backend.generations.repository import live_build, live_generation
from backend.learning.nightly.begin import NightAsked, begin_night
from backend.learning.nightly.work import take_up
from backend.settings import Settings
from backend.vector_index import VectorIndex
from tests.faults.test_switch_faults import PRODUCTS, Place, place  # noqa: F401
from tests.learning.nightly.planted import PASSED, planted
from tests.learning.nightly.planted import Place as NightPlace

pytestmark = [pytest.mark.faults, pytest.mark.slow]


@pytest.fixture
def builder(place: Place) -> Iterator[None]:  # noqa: F811
    """A worker that makes whatever index is asked for."""
    over = threading.Event()

    def advance() -> None:
        while not over.wait(0.2):
            place.builder().advance(over.is_set)

    thread = threading.Thread(target=advance)
    thread.start()
    yield
    over.set()
    thread.join()


@pytest.mark.usefixtures("builder")
def test_heads_of_items_go_live_with_an_index_that_holds_the_catalogue(
    place: Place,  # noqa: F811
    sessions: sessionmaker[Session],
    redis_url: str,
    tmp_path: Path,
) -> None:
    with session_scope(sessions) as session:
        before = live_build(session)
        begin_night(session, Settings(), NightAsked("test", item_heads=True))
    assert before is not None
    night = NightPlace(place.database_url, redis_url, tmp_path / "nights")
    run = take_up(night.works(), planted(PASSED, items=5))
    assert run is not None
    assert (run.state, run.outcome) == ("done", "promoted"), run.error
    with session_scope(sessions) as session:
        live, build = live_generation(session), live_build(session)
        assert live is not None
        assert build is not None
        assert (live.id, build.id != before.id, build.item_heads is not None) == (run.generation_id, True, True)
        assert session.get_one(Generation, run.production_id).state == "retired", "and there is a way back"
        report = compare(session, VectorIndex(place.milvus_uri), build)
        assert report.agrees, report
        assert report.products == PRODUCTS
        moved, raw = (read_contents(session, one, [1])[0].images[0].vector for one in (build, before))
        assert abs(float(moved @ raw)) < 0.99, "its rows went through the new heads"
