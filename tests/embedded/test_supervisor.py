"""The supervisor over small programs: what dies comes back, what is stopped is gone."""

import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psutil
import pytest

from backend.embedded.home import Home, StackError
from backend.embedded.supervisor import Program, Supervisor
from tests.fixtures.stacks import wait_for


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


@pytest.fixture
def said() -> list[str]:
    return []


@pytest.fixture
def supervisor(home: Home, said: list[str]) -> Iterator[Supervisor]:
    supervisor = Supervisor(home, said.append)
    yield supervisor
    supervisor.stop()


def shell(name: str, script: str, **options: object) -> Program:
    return Program(name, ("sh", "-c", script), **{"is_ready": lambda: True, **options})  # type: ignore[arg-type]


def test_a_child_that_is_killed_is_started_again(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("sleeper", "exec sleep 60"))
    first = supervisor.pids()["sleeper"]
    psutil.Process(first).kill()

    def again() -> bool:
        supervisor.tend()
        return supervisor.pids()["sleeper"] != first

    wait_for(again, "a new process")
    assert said == ["sleeper ended with signal SIGKILL; it is started again in 0.5 s"]


def test_the_pause_doubles_with_each_death(supervisor: Supervisor, said: list[str]) -> None:
    supervisor.start(shell("mayfly", "sleep 0.05; exit 3"))

    def died_thrice() -> bool:
        supervisor.tend()
        return len(said) == 3

    wait_for(died_thrice, "three deaths")
    assert [line.rsplit("again in ", 1)[1] for line in said] == ["0.5 s", "1.0 s", "2.0 s"]
    assert all("exit code 3" in line for line in said)


def test_stores_stop_after_those_that_use_them(supervisor: Supervisor, tmp_path: Path) -> None:
    order = tmp_path / "order"
    for name in ("store", "user"):
        note = f"trap 'echo {name} >> {order}; exit 0' TERM; touch {tmp_path}/{name}; while :; do sleep 0.05; done"
        ready = (tmp_path / name).exists
        supervisor.start(shell(name, note, is_store=name == "store", is_ready=ready))
    supervisor.stop()
    assert order.read_text().split() == ["user", "store"]


def test_a_child_that_will_not_stop_is_killed_with_its_children(
    supervisor: Supervisor, home: Home, said: list[str]
) -> None:
    ready = home.root / "ready"
    supervisor.start(
        shell(
            "stubborn",
            f"trap '' TERM INT; sleep 61 & touch {ready}; while :; do sleep 1; done",
            stop_s=0.3,
            is_ready=ready.exists,
        )
    )
    processes = [psutil.Process(supervisor.pids()["stubborn"])]
    processes += processes[0].children(recursive=True)
    assert len(processes) >= 2
    supervisor.stop()
    _, alive = psutil.wait_procs(processes, timeout=3)
    assert alive == []
    assert said == ["stubborn does not stop; it is killed"]
    assert not (home.run / "stubborn.pid").exists()


def test_a_start_that_fails_says_why_and_what_to_do(supervisor: Supervisor) -> None:
    broken = shell("broken", "echo the disk is upside down; exit 7", is_ready=lambda: False, advice="Turn it round.")
    with pytest.raises(StackError, match=r"(?s)broken ended with exit code 7. Turn it round.*upside down"):
        supervisor.start(broken)


def test_a_start_that_hangs_is_given_up(supervisor: Supervisor) -> None:
    with pytest.raises(StackError, match="not ready after 0 s"):
        supervisor.start(shell("slow", "exec sleep 60", is_ready=lambda: False, ready_s=0.3))


def test_a_start_ends_when_another_child_keeps_dying(supervisor: Supervisor) -> None:
    supervisor.start(shell("worker", "echo no encoder; exit 1"))
    with pytest.raises(StackError, match=r"(?s)worker ended 3 times.*no encoder"):
        supervisor.start(shell("api", "exec sleep 60", is_ready=lambda: False, ready_s=30))


@pytest.mark.parametrize("begun_s_ago", [0.0, 100.0])
def test_only_a_process_that_began_when_noted_counts_as_left_over(home: Home, begun_s_ago: float) -> None:
    bystander = psutil.Popen(["sleep", "60"])
    try:
        home.remember("old", bystander.pid)
        if begun_s_ago:  # another process has that number now
            noted = f'{{"pid": {bystander.pid}, "began": {bystander.create_time() - begun_s_ago}}}'
            (home.run / "old.pid").write_text(noted)
        assert home.stop_leftovers() == ([] if begun_s_ago else ["old"])
        time.sleep(0.05)
        assert (bystander.poll() is None) == bool(begun_s_ago)
        assert not list(home.run.glob("*.pid"))
    finally:
        with suppress(psutil.NoSuchProcess):
            bystander.kill()
            bystander.wait()


def test_a_pid_file_cut_short_is_no_obstacle(home: Home) -> None:
    for text in ("", "{", "[]", '{"pid": "x", "began": null}', '{"pid": 99999999, "began": 1}'):
        (home.run / "old.pid").write_text(text)
        assert home.stop_leftovers() == []
        assert not (home.run / "old.pid").exists()


def test_the_child_of_a_killed_supervisor_dies_with_it(tmp_path: Path) -> None:
    script = f"""
import os, time
from pathlib import Path
from backend.embedded.home import Home
from backend.embedded.supervisor import Program, Supervisor
home = Home(Path({str(tmp_path / "home")!r})); home.prepare()
supervisor = Supervisor(home, print)
supervisor.start(Program("sleeper", ("sleep", "60"), lambda: True))
print(supervisor.pids()["sleeper"], flush=True)
time.sleep(60)
"""
    process = subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    child = psutil.Process(int(process.stdout.readline()))
    wait_for(lambda: child.cmdline()[0] == "sleep", "the leash is off")
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    _, alive = psutil.wait_procs([child], timeout=60)
    assert alive == []
