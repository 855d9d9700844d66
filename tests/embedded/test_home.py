"""What is wrong with a home or a port is said before anything is started, with what to do."""

import json
import os
import socket
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backend.embedded import StackNotRunning, settings_of_running
from backend.embedded.demo_gates import with_lighter_gates
from backend.embedded.home import LOG_BYTES, Home, StackError
from backend.embedded.ports import free_port, listeners, require_free
from backend.embedded.postgres import postgres
from backend.embedded.processes import environment, url_of
from backend.settings import Settings


@pytest.fixture
def home(tmp_path: Path) -> Home:
    home = Home(tmp_path / "home")
    home.prepare()
    return home


def test_a_file_in_the_way_of_the_data_directory_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("")
    with pytest.raises(StackError, match=r"cannot be written.*MORELIKE_HOME"):
        Home(tmp_path / "home").prepare()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(disk)]
    mounted = subprocess.run(mount, capture_output=True, check=False)
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_disk_that_is_nearly_full_is_named_with_what_is_needed(small_disk: Path) -> None:
    with pytest.raises(StackError, match=r"nearly full.*MORELIKE_HOME") as raised:
        Home(small_disk / "home").prepare()
    assert raised.value.found == "8 MiB free"
    assert raised.value.expected == "1024 MiB"


def test_a_disk_that_is_full_is_named(small_disk: Path) -> None:
    subprocess.run(["dd", "if=/dev/zero", f"of={small_disk}/rest"], capture_output=True, check=False)
    with pytest.raises(StackError, match=r"No space left|nearly full"):
        Home(small_disk / "home").prepare()


def test_a_home_is_held_by_one_stack(home: Home) -> None:
    home.tell({"pid": 4711, "url": "http://127.0.0.1:8000"})
    assert not home.is_running()
    with home.locked():
        assert home.is_running()
        with pytest.raises(StackError, match=r"already as process 4711, at http://127.0.0.1:8000.*MORELIKE_HOME"):
            home.locked().__enter__()
    assert not home.is_running()


def test_a_port_in_use_is_named_with_another_to_take() -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        with pytest.raises(StackError, match=rf"127.0.0.1:{port}.*MORELIKE_PORT={port + 1}"):
            require_free("127.0.0.1", port)
        assert listeners(port) == 1
    require_free("127.0.0.1", free_port())
    with pytest.raises(StackError, match=r"203\.0\.113\.7"):
        require_free("203.0.113.7", free_port())


def test_two_that_share_a_port_are_counted() -> None:
    with socket.socket() as one, socket.socket() as two:
        for each in (one, two):
            each.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        one.bind(("127.0.0.1", 0))
        two.bind(one.getsockname())
        one.listen()
        two.listen()
        assert listeners(one.getsockname()[1]) == 2


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "not a PostgreSQL data directory.*Restore"),
        ({"PG_VERSION": "16\n"}, "another version of PostgreSQL.*MORELIKE_HOME"),
        ({"PG_VERSION": "18\n"}, "damaged.*pg_control.*Restore"),
    ],
)
def test_data_that_postgresql_cannot_use_is_named(home: Home, files: dict[str, str], said: str) -> None:
    data = home.root / "postgres"
    data.mkdir()
    for name, text in files.items():
        (data / name).write_text(text)
    with pytest.raises(StackError, match=said):
        postgres(home)
    assert {path.name for path in data.iterdir()} == set(files), "nothing is touched"


def test_secrets_are_for_this_user_only(home: Home) -> None:
    home.tell({"redis_url": "redis://:secret@127.0.0.1:1/0"})
    assert stat.S_IMODE(home.stack_file.stat().st_mode) == 0o600
    assert stat.S_IMODE(home.run.stat().st_mode) == 0o700


def test_long_logs_are_put_aside_when_their_program_starts(home: Home) -> None:
    for text in ("first", "second"):
        (home.logs / "api.log").write_text(text + "x" * LOG_BYTES)
        assert home.log_of("api") == home.logs / "api.log"
    assert not (home.logs / "api.log").exists()
    assert (home.logs / "api.log.1").read_text().startswith("second")
    assert (home.logs / "api.log.2").read_text().startswith("first")


def test_commands_find_the_stack_that_runs(home: Home) -> None:
    asked = Settings(home=home.root, milvus_uri="http://milvus.example:19530")
    known = {"database_url": "postgresql:///a", "redis_url": "redis://b", "milvus_uri": "http://c"}
    known["url"] = "http://127.0.0.1:8123"
    home.tell(known | {"demo": True})
    with pytest.raises(StackNotRunning, match=r"morelike run.*DATABASE_URL, REDIS_URL"):
        settings_of_running(asked)
    with home.locked():
        found = settings_of_running(asked)
    assert (found.database_url, found.redis_url) == ("postgresql:///a", "redis://b")
    assert found.milvus_uri == "http://milvus.example:19530", "what is named is taken"
    assert (found.host, found.port) == ("127.0.0.1", 8123)
    assert found == with_lighter_gates(found), "a night is asked for what one of the stack's worker is"
    assert found.gate_satisfied < asked.gate_satisfied


def test_a_child_reads_the_settings_it_was_given(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("MORELIKE_PORT", "1")
    given = Settings.model_validate(
        {
            "home": tmp_path,
            "port": 8123,
            "demo": True,
            "database_url": "postgresql://u@/d?host=%2Fa",
            "milvus_token": "root:Milvus",
            "image_allowed_hosts": ["b:80", "a"],
            "image_timeout_s": 2.5,
            "log_json": True,
        }
    )
    for name, value in environment(given).items():
        monkeypatch.setenv(name, value)
    assert Settings() == given
    assert json.loads(os.environ["MORELIKE_IMAGE_ALLOWED_HOSTS"]) == ["a", "b:80"]


def test_the_address_shown_is_one_that_this_machine_can_open() -> None:
    shown = {host: url_of(Settings(host=host, port=80)) for host in ("127.0.0.1", "0.0.0.0", "::", "shop.example")}
    assert shown == {
        "127.0.0.1": "http://127.0.0.1:80",
        "0.0.0.0": "http://127.0.0.1:80",
        "::": "http://[::1]:80",
        "shop.example": "http://shop.example:80",
    }
