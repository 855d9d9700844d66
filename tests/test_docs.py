"""What can be set, typed or called is documented."""

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from pathlib import Path

import pytest
import typer
from pydantic import AliasChoices
from typer.main import get_command

from backend.cli import app
from backend.main import create_app
from backend.ml.feedback.policy import Likes, Mix, NearestNeighbors, Policy
from backend.ml.feedback.signals import SignalGrades
from backend.settings import Settings

DOCS = Path(__file__).resolve().parent.parent / "docs"
TEXT = "\n".join(path.read_text() for path in sorted(DOCS.rglob("*.md")))


def variables() -> Iterator[str]:
    for name, field in Settings.model_fields.items():
        aliases = field.validation_alias
        yield str(aliases.choices[0]) if isinstance(aliases, AliasChoices) else f"MORELIKE_{name.upper()}"


def test_every_setting_has_a_row_and_no_other_has_one() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|", (DOCS / "settings.md").read_text(), re.MULTILINE)
    assert sorted(rows) == sorted(variables())


def test_the_defaults_in_the_table_are_the_defaults() -> None:
    shown = dict(re.findall(r"^\| `([A-Z_]+)` \| `([^`]*)` \|", (DOCS / "settings.md").read_text(), re.MULTILINE))
    given = {
        "MORELIKE_IMAGE_ALLOWED_HOSTS": "[]",
        "MORELIKE_DEMO": "false",
        "MORELIKE_WEBHOOK_DURABLE": "true",
        "MORELIKE_LOG_JSON": "false",
    }
    given["MORELIKE_CAPTION_PROMPTS"] = "[]"
    for variable, name in zip(variables(), Settings.model_fields, strict=True):
        default = Settings.model_fields[name].default
        if default is None:
            assert variable not in shown
        elif isinstance(default, int | float) and not isinstance(default, bool):
            assert float(shown[variable]) == default, variable
        else:
            assert shown[variable] == given.get(variable, str(default)), variable


def commands(command: object, path: str = "morelike") -> Iterator[tuple[str, list[str]]]:
    """Every command with its long options."""
    below = getattr(command, "commands", None)
    if below:
        for name, one in below.items():
            yield from commands(one, f"{path} {name}")
        return
    options = [option for parameter in getattr(command, "params", []) for option in parameter.opts]
    yield path, [option for option in options if option.startswith("--") and option != "--help"]


@pytest.mark.parametrize(("command", "options"), list(commands(get_command(app))), ids=str)
def test_every_command_and_its_options_are_documented(command: str, options: list[str]) -> None:
    assert re.search(rf"`{command}\b", TEXT), f"{command} is in no page of docs/"
    missing = [option for option in options if f"`{option}" not in TEXT and f" {option}" not in TEXT]
    assert missing == [], f"options of {command}"


def endpoints() -> list[str]:
    paths = create_app(Settings()).openapi()["paths"]
    return [f"{method.upper()} {path}" for path, methods in paths.items() for method in methods]


def test_every_endpoint_is_documented() -> None:
    assert [endpoint for endpoint in endpoints() if endpoint not in TEXT] == []


def parameters(policy: object, path: str = "") -> Iterator[tuple[str, object]]:
    """Every parameter of a refine policy with its default; the parts of a mix are documented once for all of them."""
    for name, value in vars(policy).items():
        yield f"{path}{name}", value
        if is_dataclass(value) and not isinstance(value, Mix):
            yield from parameters(value, f"{path}{name}.")


def test_every_parameter_of_a_refine_policy_has_a_row() -> None:
    optional = Policy(likes=Likes(), nnn=NearestNeighbors(), session_signals=SignalGrades())
    mix = {f"….{name}": value for name, value in vars(Mix()).items()}
    shown = dict(re.findall(r"^\| `([^`]+)` \| `([^`]*)` \|", (DOCS / "feedback.md").read_text(), re.MULTILINE))
    for name, value in (dict(parameters(optional)) | mix).items():
        if is_dataclass(value):
            assert f"`{name}`" in TEXT, name
        else:
            assert shown[name] == (json.dumps(value) if isinstance(value, bool) else str(value)), name


def test_links_between_pages_lead_somewhere() -> None:
    links = [
        (page, target)
        for page in DOCS.rglob("*.md")
        for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text())
        if "://" not in target
    ]
    assert [f"{page.name}: {target}" for page, target in links if not (page.parent / target).exists()] == []


def test_help_is_quick_because_it_loads_no_torch() -> None:
    script = "import sys, backend.cli; sys.exit(bool({'torch', 'pymilvus', 'sqlalchemy', 'celery'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


def test_the_app_is_what_the_console_command_runs() -> None:
    assert isinstance(app, typer.Typer)
