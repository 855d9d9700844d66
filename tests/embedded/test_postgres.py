"""PostgreSQL after an end that was not its own: what it left behind does not block the next start."""

import os
from pathlib import Path

import psutil
import pytest

from backend.embedded.home import Home
from backend.embedded.postgres import SOCKET, answers, create_database, postgres
from backend.embedded.supervisor import Supervisor

LONG = "a-folder-whose-socket-would-have-a-path-too-long-for-linux-" * 2


@pytest.mark.parametrize("name", ["short", LONG])
def test_numbers_of_dead_servers_block_nothing(tmp_path: Path, name: str) -> None:
    home = Home(tmp_path / name)
    home.prepare()
    program, url = postgres(home)
    sockets = Path(program.command[program.command.index("-k") + 1])
    assert len(os.fsencode(sockets / SOCKET)) <= 107
    supervisor = Supervisor(home, print)
    try:
        supervisor.start(program)
        create_database(url)
        create_database(url)
        psutil.Process(supervisor.pids()["postgres"]).kill()
        supervisor.stop()
        # the numbers now belong to a process that lives, as they may after a restart of the machine
        for file in (home.root / "postgres" / "postmaster.pid", sockets / f"{SOCKET}.lock"):
            lines = file.read_text().splitlines()
            file.write_text("\n".join([str(os.getppid()), *lines[1:]]) + "\n")
        supervisor.start(program)
        assert answers(url)
    finally:
        supervisor.stop()
    assert not answers(url)
