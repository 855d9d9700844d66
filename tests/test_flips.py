"""A flip of what is live is atomic to readers in other processes: by the generation they follow, and by an alias."""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Event

import pytest
from sqlalchemy.orm import Session, sessionmaker

from backend.db import connect, session_factory, session_scope
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.generations.promote import go_live
from backend.generations.serving import ServingHolder
from backend.ml.scoring import Calibration
from backend.vector_index import VectorIndex, VectorRow
from tests.fixtures.stacks import PATIENCE_S
from tests.test_vector_index import unit_rows

DIM, ROWS, READERS, FLIPS = 16, 200, 3, 5
POLL_S = 0.2
PAUSE_S = 0.01
"""Between two requests of a reader: whoever flips needs a core as well."""
ALIAS = "flips_live"
SLACK_S = 1.0
"""A request that began before the flip, and a busy machine."""


@dataclass(frozen=True)
class Seen:
    """One answer: when its request began and ended, and which builds its hits came from."""

    began: float
    ended: float
    followed: frozenset[int]
    aliased: frozenset[int]


def read(database_url: str, uri: str, stop: Event, ready: Event, out: "Queue[list[Seen] | str]") -> None:
    """A reader as an API process is one: it takes what serves once a request and searches both its collections."""
    index, seen = VectorIndex(uri), []
    holder = ServingHolder(session_factory(connect(database_url)), poll_s=POLL_S)
    holder.start()
    query = unit_rows(1, DIM, seed=7)
    try:
        while not stop.wait(PAUSE_S):
            began = time.monotonic()
            serving = holder.current
            hits = [
                hit
                for collection in (serving.image_collection, serving.caption_collection)
                for hit in index.search(collection, query, 24)[0]
            ]
            [aliased] = index.search(ALIAS, query, 24)
            assert (len(hits), len(aliased)) == (48, 24)
            builds = frozenset(hit.product // 10**6 for hit in hits), frozenset(h.product // 10**6 for h in aliased)
            seen.append(Seen(began, time.monotonic(), *builds))
            ready.set()
        out.put(seen)
    except BaseException as error:  # noqa: BLE001  whatever it was is what the test must say
        ready.set()
        out.put(repr(error))


@pytest.fixture
def builds(sessions: sessionmaker[Session], index: VectorIndex) -> Iterator[dict[int, tuple[int, str]]]:
    """Two ready builds of one catalogue, the products of each numbered for it: generation and image collection."""
    made, collections = {}, []
    with session_scope(sessions) as session:
        session.add(EncoderRecord(id="flips", name="flips", weights_hash="0" * 64, dim=DIM))
        session.flush()
        for number in (1, 2):
            names = [f"flips_{kind}_{number}" for kind in ("images", "captions")]
            build = IndexBuild(
                encoder_id="flips", image_collection=names[0], caption_collection=names[1], state="ready"
            )
            session.add(build)
            session.flush()
            generation = Generation(
                index_build_id=build.id, calibration=Calibration.identity().to_json(), code_version="t", state="ready"
            )
            session.add(generation)
            session.flush()
            made[number] = (generation.id, names[0])
            for name in names:
                index.create_collection(name, DIM)
                index.upsert(name, rows_of(number))
                index.search(name, unit_rows(1, DIM), 1, fresh=True)
            collections += names
    yield made
    index.drop_alias(ALIAS)
    for name in collections:
        index.drop_collection(name)


@pytest.fixture
def index(milvus_uri: str) -> VectorIndex:
    return VectorIndex(milvus_uri)


def rows_of(build: int) -> list[VectorRow]:
    return [
        VectorRow(key=place, product=build * 10**6 + place, vector=vector, in_stock=True, price=None, tags=())
        for place, vector in enumerate(unit_rows(ROWS, DIM, seed=build))
    ]


def test_readers_in_other_processes_see_each_flip_whole(
    sessions: sessionmaker[Session],
    index: VectorIndex,
    builds: dict[int, tuple[int, str]],
    database_url: str,
    milvus_uri: str,
) -> None:
    flips: list[tuple[float, float, int]] = []  # began, done, the build that is live from then on

    def flip(build: int) -> None:
        generation, collection = builds[build]
        began = time.monotonic()
        with session_scope(sessions) as session:
            go_live(session, generation, actor="test")
        index.point_alias(ALIAS, collection)
        flips.append((began, time.monotonic(), build))

    flip(1)
    spawn = multiprocessing.get_context("spawn")
    stop, out = spawn.Event(), spawn.Queue()
    started = [spawn.Event() for _ in range(READERS)]
    readers = [
        spawn.Process(target=read, args=(database_url, milvus_uri, stop, ready, out), daemon=True) for ready in started
    ]
    for reader in readers:
        reader.start()
    assert all(ready.wait(PATIENCE_S) for ready in started)
    for turn in range(FLIPS):
        time.sleep(POLL_S + SLACK_S + 0.1)
        flip(2 - turn % 2)
    time.sleep(POLL_S + SLACK_S + 0.1)
    stop.set()
    answers = [out.get(timeout=PATIENCE_S) for _ in readers]
    for reader in readers:
        reader.join(PATIENCE_S)
    for seen in answers:
        assert isinstance(seen, list), seen
        for kind in ("followed", "aliased"):
            check(kind, seen, flips)
        assert len({one.followed for one in seen}) == len({one.aliased for one in seen}) == 2, "it saw both builds"


def check(kind: str, seen: list[Seen], flips: list[tuple[float, float, int]]) -> None:
    """Each answer is of one build: of one that went live while it was made, or of the last one known before."""
    late = SLACK_S + (POLL_S if kind == "followed" else 0)
    for one in seen:
        [build] = getattr(one, kind)
        before = [live for _, done, live in flips if done + late < one.began]
        meanwhile = [live for began, done, live in flips if began <= one.ended and done + late >= one.began]
        assert build in {*before[-1:], *meanwhile}, (kind, one, flips)
