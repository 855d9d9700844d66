"""Every command, variable, port, image stage, queue, module, secret and file that the deployment names exists."""

import fnmatch
import json
import re
import shlex
import stat
import subprocess
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import celery.bin.beat
import celery.bin.worker
import click
import pytest
import typer.main
import uvicorn
import yaml
from pydantic import AliasChoices, SecretStr, TypeAdapter

from backend import queue
from backend.cli import app as cli
from backend.embedded.processes import WORKER_THREADS
from backend.settings import Settings
from tests.fixtures.compose import (
    ENV_EXAMPLE,
    OURS,
    ROOT,
    command_of,
    compose,
    env_example,
    environment_of,
    lineage,
    stages,
)

SERVICES = compose()["services"]
TARGETS = ("api", "worker", "worker-gpu")
IMAGES = {  # what other people's images listen on and are told, as their documentation has it
    "postgres": ({5432}, {"POSTGRES_USER", "POSTGRES_DB", "POSTGRES_PASSWORD_FILE", "POSTGRES_INITDB_ARGS"}),
    "redis": ({6379}, set()),
    "etcd": ({2379}, set()),
    "minio": ({9000}, {"MINIO_ROOT_USER_FILE", "MINIO_ROOT_PASSWORD_FILE"}),
    "milvus": ({19530, 9091}, {"ETCD_ENDPOINTS", "MINIO_ADDRESS"}),
}
OTHERS_READ = {"FORWARDED_ALLOW_IPS"}  # by uvicorn
COMPOSE_READS = {"COMPOSE_PROFILES"}


def fields_by_variable() -> dict[str, str]:
    found = {}
    for name, field in Settings.model_fields.items():
        alias = field.validation_alias
        found[str(alias.choices[0]) if isinstance(alias, AliasChoices) else f"MORELIKE_{name.upper()}"] = name
    return found


def check_command(command: list[str]) -> None:
    """Fails unless each program, option, application and queue of ``command`` exists."""
    program, *arguments = command
    if program == "morelike":
        check_click(typer.main.get_command(cli), arguments)
    elif program == "uvicorn":
        options, _, _ = check_click(uvicorn.main, arguments)
        module, _, factory = options["app"].partition(":")
        assert callable(getattr(import_module(module), factory))
    else:
        assert program == "celery"
        assert arguments[0] == "-A"
        import_module(arguments[1])
        known: dict[str, click.Command] = {"worker": celery.bin.worker.worker, "beat": celery.bin.beat.beat}
        options, left, _ = check_click(known[arguments[2]], arguments[3:])
        assert left == []
        for name in filter(None, str(options.get("queues") or "").split(",")):
            assert name in {queue.EMBED_QUEUE, queue.TRAIN_QUEUE}


def check_click(command: Any, arguments: list[str]) -> Any:
    """Options, what is left, and the order; ``command`` is of click or of Typer, which has its own copy of click."""
    below = getattr(command, "commands", None)
    if below is not None:
        assert arguments[0] in below
        return check_click(below[arguments[0]], arguments[1:])
    return command.make_parser(command.context_class(command)).parse_args(list(arguments))


@pytest.mark.parametrize("service", OURS)
def test_the_command_of_each_service_exists(service: str) -> None:
    check_command(SERVICES[service]["command"])


@pytest.mark.parametrize("target", TARGETS)
def test_the_command_of_each_image_exists(target: str) -> None:
    check_command(command_of(target))


def test_workers_of_what_shoppers_wait_for_have_as_many_threads_as_those_of_one_machine() -> None:
    for command in (SERVICES["worker-cpu"]["command"], SERVICES["worker-gpu"]["command"], command_of("worker")):
        assert command[command.index("--concurrency") + 1] == WORKER_THREADS


def test_the_milvus_is_the_one_that_the_index_is_tested_on() -> None:
    (tested,) = re.findall(r"'milvus==([\d.]+)'", (ROOT / "Makefile").read_text())
    assert SERVICES["milvus"]["image"] == f"milvusdb/milvus:v{tested}"


def test_every_queue_has_a_worker_in_each_profile() -> None:
    for profile in ("cpu", "gpu"):
        running = [SERVICES[name] for name in OURS if profile in SERVICES[name].get("profiles", [profile])]
        served = [one["command"][one["command"].index("--queues") + 1] for one in running if "worker" in one["command"]]
        assert sorted(",".join(served).split(",")) == sorted({queue.EMBED_QUEUE, queue.TRAIN_QUEUE})


@pytest.mark.parametrize("service", [name for name in OURS if name != "migrate"])
def test_each_process_of_ours_has_a_health_check_that_exists(service: str) -> None:
    kind, *command = SERVICES[service]["healthcheck"]["test"]
    assert kind == "CMD"
    check_command(command)
    part = {"api": "api", "beat": "beat"}.get(service, "worker")
    assert command == ["morelike", "health", part]


@pytest.mark.parametrize("service", IMAGES)
def test_each_store_has_a_health_check_and_keeps_what_it_must(service: str) -> None:
    assert SERVICES[service]["healthcheck"]["test"][0] in {"CMD", "CMD-SHELL"}
    assert set(SERVICES[service].get("environment", {})) == IMAGES[service][1]
    assert ("volumes" in SERVICES[service]) == (service != "redis")


@pytest.mark.parametrize("service", OURS)
def test_each_variable_is_a_setting_with_a_value_that_it_takes(service: str) -> None:
    known = fields_by_variable()
    for variable, value in SERVICES[service]["environment"].items():
        assert isinstance(value, str), f"{variable}: YAML would not hand on {value!r} as it is written"
        name = known[variable.removesuffix("_FILE")]
        if not variable.endswith("_FILE"):
            TypeAdapter(Settings.model_fields[name].annotation).validate_python(value)


def test_each_secret_setting_comes_from_a_file() -> None:
    """But for the token of Milvus, which asks for none here: it is on a network without a way in.

    A new secret has its line in `x-environment`, its name in `secrets` of `x-morelike` and of the file, and in
    deploy/make-secrets.
    """
    for variable, name in fields_by_variable().items():
        secret = SecretStr in getattr(Settings.model_fields[name].annotation, "__args__", ())
        if secret and variable != "MILVUS_TOKEN":
            for service in OURS:
                path = SERVICES[service]["environment"].get(f"{variable}_FILE")
                assert path is not None, f"{service} has no {variable}_FILE"
                assert path.removeprefix("/run/secrets/") in SERVICES[service]["secrets"]
                assert variable not in SERVICES[service]["environment"]
                assert variable not in env_example()


def test_each_path_of_a_secret_is_a_secret_of_its_service_and_made_by_the_script(tmp_path: Path) -> None:
    script = [str(ROOT / "deploy" / "make-secrets"), str(tmp_path / "secrets")]
    subprocess.run(script, check=True, capture_output=True)
    made = {path.name: path for path in (tmp_path / "secrets").iterdir()}
    declared = {name: Path(one["file"]) for name, one in compose()["secrets"].items()}
    assert set(made) == set(declared)
    assert {path.parent for path in declared.values()} == {Path("deploy/secrets")}
    for service in SERVICES.values():
        named = set(re.findall(r"/run/secrets/(\w+)", json.dumps(service)))
        assert named == set(service.get("secrets", []))
        assert named <= set(declared)
    assert stat.S_IMODE((tmp_path / "secrets").stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in made.values()} == {0o444}
    before = {name: path.read_text() for name, path in made.items()}
    random = [content for content in before.values() if content]
    assert len(random) == len(set(random))
    assert all(len(content) >= 32 for content in random)
    assert subprocess.run(script, check=True, capture_output=True).stdout == b""
    assert {name: path.read_text() for name, path in made.items()} == before


def test_no_secret_stands_in_a_file_of_the_repository() -> None:
    ignored = (ROOT / ".gitignore").read_text().splitlines()
    assert {"/deploy/secrets/", "/.env"} <= set(ignored)
    text = (ROOT / "docker-compose.yml").read_text()
    assert (
        re.findall(r"(?i)(?:password|secret\w*key|token)\s*[:=]\s*(?!/run/secrets/)[\w-]+$", text, re.MULTILINE) == []
    )


def test_each_address_inside_names_a_service_and_a_port_it_listens_on() -> None:
    api = SERVICES["api"]["command"]
    ports = {name: ports for name, (ports, _) in IMAGES.items()} | {"api": {int(api[api.index("--port") + 1])}}
    for name, service in SERVICES.items():
        told = json.dumps([service.get("environment", {}), service.get("command", [])])
        for host, port in re.findall(r"(?:@|//|\")([a-z0-9.]+):(\d+)", told):
            if host not in {"0.0.0.0", "127.0.0.1"}:
                assert int(port) in ports[host], f"{name} speaks to {host}:{port}"
                assert set(SERVICES[host]["networks"]) & set(service["networks"])


def test_only_the_api_is_published_and_only_on_this_machine() -> None:
    assert {name: one["ports"] for name, one in SERVICES.items() if "ports" in one} == {"api": ["127.0.0.1:8000:8000"]}
    assert compose(PUBLISH="0.0.0.0:80")["services"]["api"]["ports"] == ["0.0.0.0:80:8000"]
    (exposed,) = [int(rest) for stage in lineage("api") for rest in stage.all("EXPOSE")]
    api = SERVICES["api"]["command"]
    assert exposed == int(api[api.index("--port") + 1]) == int(SERVICES["api"]["environment"]["MORELIKE_PORT"])


def test_stores_are_on_a_network_without_a_way_out() -> None:
    assert compose()["networks"]["stores"] == {"internal": True}
    assert {name for name in SERVICES if "outside" not in SERVICES[name]["networks"]} == set(IMAGES)


def test_what_a_service_waits_for_exists_and_can_be_waited_for() -> None:
    for name, service in SERVICES.items():
        for other, how in service.get("depends_on", {}).items():
            assert other in SERVICES, f"{name} waits for {other}"
            assert "profiles" not in SERVICES[other], f"{name} waits for {other}, which may not be there"
            healthy = how["condition"] == "service_healthy"
            assert "healthcheck" in SERVICES[other] if healthy else SERVICES[other]["restart"] == "no"


def test_volumes_networks_and_profiles_are_those_declared() -> None:
    read = compose()
    volumes = {volume.split(":")[0] for one in SERVICES.values() for volume in one.get("volumes", [])}
    assert volumes == set(read["volumes"])
    assert {network for one in SERVICES.values() for network in one["networks"]} == set(read["networks"])
    profiles = {profile for one in SERVICES.values() for profile in one.get("profiles", [])}
    assert profiles == {"cpu", "gpu"}
    assert env_example()["COMPOSE_PROFILES"] in profiles


@pytest.mark.parametrize("service", OURS)
def test_our_containers_have_no_rights_they_do_not_need(service: str) -> None:
    one = SERVICES[service]
    assert (one["read_only"], one["cap_drop"], one["security_opt"]) == (True, ["ALL"], ["no-new-privileges:true"])
    assert one.get("privileged", False) is False
    home = one["environment"]["MORELIKE_HOME"]
    written = [volume.split(":")[1] for volume in one["volumes"]] + one["tmpfs"]
    assert home in written, "its home must be writable"


@pytest.mark.parametrize("service", OURS)
def test_each_image_is_built_from_a_stage_that_exists(service: str) -> None:
    build = SERVICES[service]["build"]
    assert (ROOT / build["dockerfile"]).is_file()
    assert build["target"] in TARGETS
    assert SERVICES[service]["image"] == f"morelike-{build['target']}"


def test_what_env_example_names_is_read_by_somebody_and_its_values_are_right() -> None:
    known = fields_by_variable()
    interpolated = set(re.findall(r"\$\{(\w+)", (ROOT / "docker-compose.yml").read_text()))
    for variable, value in env_example().items():
        if variable in known:
            assert variable not in SERVICES["api"]["environment"], f"{variable} would be overruled"
            assert str(Settings.model_validate({known[variable]: _read(known[variable], value)})) is not None
        else:
            assert variable in interpolated | OTHERS_READ | COMPOSE_READS, variable
    assert interpolated <= set(env_example())


def _read(name: str, value: str) -> Any:
    return json.loads(value) if "frozenset" in str(Settings.model_fields[name].annotation) else value


def test_defaults_shown_in_env_example_are_the_defaults() -> None:
    shown = dict(re.findall(r"^#(MORELIKE_\w+)=(\d+|info|int8)$", ENV_EXAMPLE.read_text(), re.MULTILINE))
    known = fields_by_variable()
    assert {name: str(Settings.model_fields[known[name]].default) for name in shown} == shown


class TestDockerfile:
    """The rules of a good Dockerfile, and that what it names is there."""

    def test_bases_are_pinned_or_stages_before(self) -> None:
        seen: set[str] = set()
        for stage in stages().values():
            assert stage.base in seen or re.fullmatch(r"[\w./-]+:[\w.-]*\d[\w.-]*", stage.base), stage.base
            seen.add(stage.name)

    def test_the_python_of_the_images_is_one_the_program_runs_on(self) -> None:
        from packaging.specifiers import SpecifierSet

        wanted = re.search(r'requires-python = "([^"]+)"', (ROOT / "pyproject.toml").read_text())
        (tag,) = re.findall(r"python:(\d+\.\d+)", stages()["python"].base)
        assert wanted is not None
        assert f"{tag}.0" in SpecifierSet(wanted[1])

    def test_what_is_copied_exists_and_is_let_in(self) -> None:
        rules = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and line[0] != "#"]
        assert rules[0] == "*", "nothing is let in that is not named"
        for stage in stages().values():
            for rest in stage.all("COPY"):
                *sources, _ = [word for word in rest.split() if not word.startswith("--")]
                origin = re.search(r"--from=(\S+)", rest)
                if origin:
                    assert origin[1] in stages()
                    continue
                for source in sources:
                    assert (ROOT / source).exists()
                    assert f"!{source}" in rules

    def test_no_secret_and_no_data_is_let_in(self) -> None:
        let_in = [line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")]
        for forbidden in (".env", ".git", ".venv", ".morelike", "deploy/secrets", "tests"):
            assert not any(fnmatch.fnmatch(forbidden, one) or forbidden.startswith(one) for one in let_in)

    @pytest.mark.parametrize("target", TARGETS)
    def test_images_run_as_a_user_without_rights_in_a_folder_of_its_own(self, target: str) -> None:
        users = [rest for stage in lineage(target) for rest in stage.all("USER")]
        assert re.fullmatch(r"[1-9]\d{3,}:[1-9]\d{3,}", users[-1])
        (made,) = [rest for stage in lineage(target) for rest in stage.all("RUN") if "useradd" in rest]
        assert f"--uid {users[-1].split(':')[0]}" in made
        environment = environment_of(target)
        assert f"--home-dir {environment['MORELIKE_HOME']}" in made
        assert environment["XDG_CACHE_HOME"].startswith(environment["MORELIKE_HOME"]), "weights outlive the container"
        assert SERVICES["api"]["environment"]["MORELIKE_HOME"] == environment["MORELIKE_HOME"]

    def test_nothing_is_added_fetched_by_a_shell_or_left_behind(self) -> None:
        for stage in stages().values():
            assert not stage.all("ADD")
            for rest in stage.all("RUN"):
                assert not re.search(r"curl|wget|sudo|apt-get", rest)
                if " pip install" in rest and "--no-deps" not in rest:
                    assert "--mount=type=cache,target=/root/.cache/pip" in rest

    def test_the_list_of_packages_is_what_the_program_asks_for(self, tmp_path: Path) -> None:
        """Runs the two commands that make it."""
        import tomllib

        (tmp_path / "pyproject.toml").write_bytes((ROOT / "pyproject.toml").read_bytes())
        script, torch = stages()["requirements"].all("RUN")
        subprocess.run([sys.executable, *json.loads(script)[1:]], cwd=tmp_path, check=True)
        subprocess.run(torch, shell=True, cwd=tmp_path, check=True)
        wanted = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
        listed = (tmp_path / "requirements.txt").read_text().splitlines()
        assert listed == [*wanted["dependencies"], *wanted["optional-dependencies"]["siglip"]]
        assert {line.split(">")[0] for line in (tmp_path / "torch.txt").read_text().splitlines()} == {
            "torch",
            "torchvision",
        }


def documented(page: str, language: str = "") -> list[str]:
    """Commands of a page (lines set in by four), or its blocks of a language."""
    text = (ROOT / "docs" / page).read_text()
    if language:
        return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return re.findall(r"^    (\S.*)$", re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)


def test_the_worker_on_a_second_gpu_that_the_page_adds_is_one_of_ours_elsewhere() -> None:
    (block,) = documented("gpu.md", "yaml")
    for service in yaml.safe_load(block)["services"].values():
        base = SERVICES[service["extends"]["service"]]
        assert (ROOT / service["extends"]["file"]).is_file()
        assert set(service["environment"]) <= set(base["environment"])
        devices = base["deploy"]["resources"]["reservations"]["devices"]
        assert devices == [{"driver": "nvidia", "count": "all", "capabilities": ["gpu"]}]


@pytest.mark.parametrize("page", ["deploy.md", "gpu.md"])
def test_commands_of_the_pages_exist(page: str) -> None:
    for line in documented(page):
        words = [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]
        if words[:3] == ["docker", "compose", "exec"]:
            assert words[3] in SERVICES
            if words[3] in OURS:
                check_command(words[4:])
        elif words[:3] == ["docker", "compose", "up"]:
            scaled = words[words.index("--scale") + 1].split("=")[0] if "--scale" in words else "api"
            assert scaled in SERVICES
        elif words[0] == "celery":
            check_command(words)
        elif words[0] == "python":
            assert (ROOT / f"{words[2].replace('.', '/')}.py").is_file()
        else:
            assert words[0] in {"docker", "cp"} or (ROOT / words[0]).is_file(), line
    for volume in re.findall(r"morelike_(\w+)", (ROOT / "docs" / page).read_text()):
        assert volume in compose()["volumes"]
