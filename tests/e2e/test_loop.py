"""The loop closes: what shoppers do by day ranks better after the night by what they really mean, or nothing changes.

Searches, events, the worker's night and the flip are those of a running stack; only the shoppers are simulated, and
what they mean is planted.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backend.embedded.demo_gates import LIGHTER
from tests.e2e.loop import OPEN, Shop, open_shop

pytestmark = pytest.mark.faults  # begun early, since it takes long; it kills nothing

DEMO = {f"MORELIKE_{name.upper()}": str(value) for name, value in LIGHTER.items()}


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with open_shop(tmp_path_factory.mktemp("demo") / "home", 2400, **DEMO) as shop:
        yield shop


def retained(night: dict[str, Any]) -> list[float]:
    """What the chosen arm kept of golden captions."""
    return [arm["retention"] for arm in night["report"]["night"]["arms"] if arm["chosen"]]


def test_a_day_and_a_night_end_in_a_flip_that_shoppers_can_see(tmp_path: Path) -> None:
    with open_shop(tmp_path / "home", 500, **OPEN) as shop:
        first, before = shop.generation(), shop.quality("pastel")
        night = shop.until_promoted()
        assert [step["state"] for step in night["steps"]] == ["done"] * 7
        after = shop.quality("pastel")
        print(f"{first} {before:.3f} -> {shop.generation()} {after:.3f}")
        assert shop.generation() == night["generation"] != first
        assert after > before
        assert min(retained(night)) >= 0.98


@pytest.mark.slow
def test_five_nights_rank_better_by_what_shoppers_mean(demo: Shop) -> None:
    before, unseen = demo.quality("pastel"), demo.quality("pastel", searches=99)
    told = []
    for number in range(1, 6):
        demo.visited("pastel", 500, seed=number)
        night = demo.night()
        told.append((night["outcome"], round(demo.quality("pastel"), 3)))
        assert min(retained(night)) >= 0.98
    after, later = demo.quality("pastel"), demo.quality("pastel", searches=99)
    print(f"{before:.3f} -> {told}; searches that nobody had asked for: {unseen:.3f} -> {later:.3f}")
    assert after >= before + 0.05
    assert later >= unseen + 0.02


@pytest.mark.slow
@pytest.mark.parametrize(("world", "shoppers"), [("strong", 40), ("inverted", 300), ("bots", 160)])
def test_where_there_is_nothing_to_learn_nothing_changes(demo: Shop, world: str, shoppers: int) -> None:
    demo.begin_anew()
    serving = demo.generation()
    for seed in (31, 32):
        demo.visited(world, shoppers, seed=seed)
        night = demo.night()
        print(world, night["outcome"], night["reason"])
        assert night["outcome"] == "unchanged"
        assert night["reason"]
    assert demo.generation() == serving
