"""Only a stack that shows the demo asks less of a night, and never less than somebody has said."""

import pytest

from backend.embedded.demo_gates import LIGHTER, with_lighter_gates
from backend.settings import Settings


def test_the_demo_asks_for_less_where_nobody_said_how_much(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LIGHTER:
        monkeypatch.delenv(f"MORELIKE_{name.upper()}", raising=False)
    lighter = with_lighter_gates(Settings(demo=True, gate_satisfied=1234))
    assert lighter.gate_satisfied == 1234
    assert {name: getattr(lighter, name) for name in LIGHTER} == LIGHTER | {"gate_satisfied": 1234}


def test_a_shop_is_asked_for_all_of_it() -> None:
    settings = Settings(demo=False)
    assert with_lighter_gates(settings) == settings


def test_the_demo_forgets_as_little_as_any_shop() -> None:
    assert with_lighter_gates(Settings(demo=True)).gate_retention == Settings().gate_retention == 0.98
