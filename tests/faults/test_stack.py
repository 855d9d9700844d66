"""The whole stack, as ``morelike run`` starts it: it serves, it survives kill -9, and it leaves nothing behind."""

import json
import re
import shutil
import signal
import stat
import subprocess
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest
import redis
from sqlalchemy import insert, select

from backend.db import connect, session_factory
from backend.events.models import Event, ServedList
from backend.events.query_ids import new_query_id
from backend.generations.audit import compare
from backend.generations.repository import live_build
from backend.vector_index import VectorIndex
from tests.faults.event_storm import Storm, database, kept, send
from tests.fixtures.stacks import CHILDREN, PATIENCE_S, RunningStack, wait_for

pytestmark = [pytest.mark.faults, pytest.mark.timeout(900)]

PRODUCT = {"id": "p1", "title": "A red teapot", "captions": ["a red teapot with a round body"], "price": 12.5}


def searchable(stack: RunningStack) -> bool:
    status, found = stack.call("/v1/search", {"text": "red teapot", "limit": 3})
    return status == 200 and [hit["product_id"] for hit in found["hits"]] == ["p1"]


def test_a_product_that_is_put_is_found(stack: RunningStack) -> None:
    assert set(stack.pids()) == set(CHILDREN)
    assert stack.is_ready()
    status, answer = stack.call("/v1/products/p1", PRODUCT, "PUT")
    assert status in (200, 201), answer
    wait_for(lambda: searchable(stack), "the product is found")


@pytest.mark.parametrize("child", CHILDREN)
def test_a_killed_child_comes_back_and_nothing_is_lost(stack: RunningStack, child: str) -> None:
    killed: list[int] = []

    def kill() -> bool:
        """False while there is none: the worker ends by itself when its broker does, and is started again."""
        with suppress(KeyError, psutil.NoSuchProcess):
            pid = stack.pids()[child]
            psutil.Process(pid).kill()
            killed.append(pid)
        return bool(killed)

    wait_for(kill, f"{child} runs")
    wait_for(lambda: stack.pids().get(child) not in (*killed, None), f"another {child} is started")
    wait_for(stack.is_ready, "a search would work")
    assert stack.call("/v1/products/p1")[0] == 200
    wait_for(lambda: searchable(stack), "the product is found")
    assert stack.process is not None
    assert stack.process.poll() is None


def test_events_sent_ten_times_are_kept_once_while_api_and_database_are_killed(stack: RunningStack) -> None:
    storm = Storm(stack, "short", batches=10, size=20)
    storm.run(["api", "postgres"])
    with database(stack) as sessions, sessions() as session:
        rows = kept(session, "short")
    assert len(rows) == len(set(rows))
    assert set(rows) == storm.ids


def test_early_events_get_their_list_and_purchases_the_click_before_them(stack: RunningStack) -> None:
    query_id, now = new_query_id(), datetime.now(UTC)
    shopper = {"product_id": "p1", "shopper_id": "anna"}
    bought = {"type": "purchase", "currency": "EUR", "items": [{"product_id": "p1", "quantity": 1, "price": 12.5}]}
    sent = [
        {**shopper, "message_id": "early", "type": "click", "query_id": query_id, "timestamp": now.isoformat()},
        {"message_id": "bought", "shopper_id": "anna", **bought},
    ]
    status, answer = send(stack, sent)
    assert (status, answer["accepted"]) == (202, 2), answer
    with database(stack) as sessions, sessions() as session:

        def found() -> list[tuple[str, str, str | None]]:
            session.rollback()
            rows = select(Event.message_id, Event.attribution, Event.query_id).order_by(Event.message_id)
            return [(*row,) for row in session.execute(rows.where(Event.message_id.in_(["early", "bought"])))]

        assert found() == [("bought", "pending", None), ("early", "pending", query_id)]
        served = {"query_id": query_id, "generation_id": 1, "request": {}, "total": 1, "total_is": "exact"}
        session.execute(insert(ServedList).values(served))
        session.commit()
        joined = [("bought", "joined", query_id), ("early", "given", query_id)]
        wait_for(lambda: found() == joined, "the sweep joins both")


@pytest.mark.skipif(shutil.which("curl") is None, reason="no curl on this machine")
def test_the_curl_it_shows_can_be_pasted(stack: RunningStack) -> None:
    command = stack.said().split("curl", 1)[1].split("Ctrl-C")[0]
    done = subprocess.run(["bash", "-c", f"curl -f {command}"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["query_id"].startswith("q_")


def test_its_stores_are_closed_to_others(stack: RunningStack) -> None:
    for name in ("redis", "milvus"):
        connections = psutil.Process(stack.pids()[name]).net_connections("tcp")
        listening = {one.laddr.ip.removeprefix("::ffff:") for one in connections if one.status == psutil.CONN_LISTEN}
        assert listening == {"127.0.0.1"}
    assert psutil.Process(stack.pids()["postgres"]).net_connections("tcp") == [], "a socket only"
    assert stat.S_IMODE((stack.home / "postgres").stat().st_mode) == 0o700
    port = psutil.Process(stack.pids()["redis"]).net_connections("tcp")[0].laddr.port
    with redis.Redis(port=port) as stranger, pytest.raises(redis.AuthenticationError):
        stranger.ping()


def test_a_second_start_on_the_same_home_says_who_holds_it(stack: RunningStack, tiny_encoder_dir: Path) -> None:
    second = RunningStack(stack.home, tiny_encoder_dir)
    second.output = stack.output.with_name("second.out")
    second.spawn()
    assert second.process is not None
    assert second.process.wait(PATIENCE_S) == 1
    assert stack.process is not None
    assert f"already as process {stack.process.pid}" in second.said()
    assert "Traceback" not in second.said()
    assert stack.is_ready()


def test_a_port_in_use_is_said_without_a_traceback(stack: RunningStack, tmp_path: Path, tiny_encoder_dir: Path) -> None:
    second = RunningStack(tmp_path / "home", tiny_encoder_dir, MORELIKE_PORT=str(stack.port))
    second.spawn()
    assert second.process is not None
    assert second.process.wait(PATIENCE_S) == 1
    assert f"MORELIKE_PORT={stack.port + 1}" in second.said()
    assert "Traceback" not in second.said()
    assert not (tmp_path / "home" / "postgres").exists(), "nothing was begun"


def test_the_doctor_finds_it_well(stack: RunningStack) -> None:
    command = [str(Path(sys.executable).parent / "morelike"), "doctor", "--rows"]
    done = subprocess.run(command, env=stack.environment, capture_output=True, text=True, check=False)
    said = done.stdout
    for part in ("Disk", "Database", "Redis", "Worker", "Index", "Catalogue", "Encoder", "API", "Rows"):
        assert re.search(rf"^ok +{part}\b", said, re.MULTILINE), said
    assert done.returncode == 0, said + done.stderr


def test_another_stack_runs_beside_it_survives_kill_of_everything_and_stops_clean(
    stack: RunningStack, tmp_path: Path, tiny_encoder_dir: Path
) -> None:
    long_name = "a-data-directory-whose-socket-would-have-a-path-too-long-for-linux-" * 2
    other = RunningStack(tmp_path / long_name, tiny_encoder_dir)
    try:
        other.start()
        assert stack.is_ready()
        assert other.call("/v1/products/p1")[0] == 404, "what is in one is not in the other"
        many = [PRODUCT | {"id": f"p{number}", "captions": [f"thing {number}"]} for number in range(2, 202)]
        assert other.call("/v1/products:batch", [PRODUCT, *many], "POST")[0] == 200
        keys = (other.home / "keys.json").read_text()
        other.kill_all()  # the worker has begun to embed what was acknowledged
        other.start()
        assert other.call("/v1/products/p201")[0] == 200
        assert (other.home / "keys.json").read_text() == keys
        # a row for each title and each caption
        wait_for(lambda: _audited(other) == (201, 402, True), "catalogue and index agree")
        _stops_clean(other, signal.SIGINT)
    finally:
        other.finish()
    assert stack.is_ready()


def test_a_killed_supervisor_takes_its_children_along(
    stack: RunningStack,
) -> None:
    processes = stack.tree()
    assert stack.process is not None
    stack.process.kill()
    stack.process.wait()
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == []
    stack.start()
    assert stack.call("/v1/products/p1")[0] == 200
    _stops_clean(stack, signal.SIGTERM)


def _audited(stack: RunningStack) -> tuple[int, int, bool]:
    """Products, rows, and whether they agree."""
    known = json.loads((stack.home / "run" / "stack.json").read_text())
    engine = connect(known["database_url"])
    try:
        with session_factory(engine)() as session:
            build = live_build(session)
            assert build is not None
            report = compare(session, VectorIndex(known["milvus_uri"]), build)
    finally:
        engine.dispose()
    return report.products, report.rows, report.agrees


def _stops_clean(stack: RunningStack, sent: signal.Signals) -> None:
    processes = stack.tree()
    assert len(processes) > len(CHILDREN)
    assert stack.stop(sent) == 0
    _, alive = psutil.wait_procs(processes, timeout=PATIENCE_S)
    assert alive == [], [process.cmdline() for process in alive]
    assert not list((stack.home / "run").glob("*.pid"))
    assert not (stack.home / "run" / "stack.json").exists()
