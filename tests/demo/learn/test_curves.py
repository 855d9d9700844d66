"""Where shoppers look: the planted curve is that of the world, beside the first place, and stands by its context."""

import numpy as np

from backend.demo.learn.curves import curves, planted_curve, planted_curves
from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.worlds import FIRST_ROWS, ON_PHONES, WORLDS

PASTEL = WORLDS["pastel"]


def test_the_planted_curve_of_a_context_is_the_worlds_beside_its_first_place() -> None:
    desktop = examined_share(FIRST_ROWS, 24, 4)[:12]
    phone = examined_share(ON_PHONES, 24, 2)[:12]
    assert np.allclose(planted_curve(PASTEL, "desktop", "grid", 4) or [], desktop / desktop[0], atol=1e-4)
    assert np.allclose(planted_curve(PASTEL, "mobile", "grid", 2) or [], phone / phone[0], atol=1e-4)
    assert planted_curve(PASTEL, "mobile", "grid", 2)[1] > 1  # type: ignore[index]  the second place is looked at most
    assert planted_curve(PASTEL, "tablet", "grid", 3) is None


def test_estimates_stand_beside_what_was_planted_those_of_most_clicks_first() -> None:
    def context(device: str, columns: int, clicks: int) -> dict[str, object]:
        theta = [1.0 / place for place in range(1, 25)]
        about = {"name": device, "device": device, "layout": "grid", "columns": columns, "query_type": "text"}
        return about | {"clicks": clicks, "lists": 9, "trusted": True, "pooled_with": None, "theta": theta,
                        "low": theta, "high": theta, "naive": theta}  # fmt: skip

    report = {"contexts": [context("mobile", 2, 30), context("desktop", 4, 90), context("fridge", 1, 99)]}
    found = curves(PASTEL, report)
    assert [one["name"] for one in found] == ["desktop", "mobile"]
    assert len(found[0]["theta"]) == len(found[0]["planted"]) == 12
    assert found[0]["planted"] == planted_curve(PASTEL, "desktop", "grid", 4)
    assert curves(PASTEL, {}) == []


def test_before_any_night_every_context_of_the_world_has_its_planted_curve() -> None:
    assert [one["name"] for one in planted_curves(PASTEL)] == ["desktop grid of 4, text", "mobile grid of 2, text"]
