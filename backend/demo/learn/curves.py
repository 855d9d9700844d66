"""Where shoppers look: as it was planted, beside what a night estimated, by position."""

from typing import Any

from backend.demo.shoppers.session import PAGE
from backend.ml.clicks.adversaries import Honest
from backend.ml.clicks.click_log import Context as CountedContext
from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.worlds import Context, World

DRAWN = 12
"""Positions that are drawn."""


def planted_curve(world: World, device: str, layout: str, columns: int) -> list[float] | None:
    """Examination of a context relative to its first place, by position; None where nobody honest shops there."""
    total, share = [0.0] * DRAWN, 0.0
    for population in world.populations:
        if _is_at(population.context, device, layout, columns) and isinstance(population.shopper, Honest):
            seen = examined_share(population.shopper.behaviour.examination, PAGE, columns)[:DRAWN]
            total = [one + population.share * float(value) for one, value in zip(total, seen, strict=True)]
            share += population.share
    return [round(one / total[0], 4) for one in total] if share else None


def curves(world: World, estimated: dict[str, Any]) -> list[dict[str, Any]]:
    """Each context of a night's propensities with what was planted there; those of most clicks first.

    Args:
        world: who came.
        estimated: the report of the night's propensities.
    """
    found = []
    for one in sorted(estimated.get("contexts", ()), key=lambda context: -context.get("clicks", 0)):
        planted = planted_curve(world, one["device"], one["layout"], one["columns"])
        if planted is None:
            continue
        drawn = {name: one[name][:DRAWN] for name in ("theta", "low", "high", "naive") if one.get(name)}
        told = {name: one.get(name) for name in ("name", "clicks", "lists", "trusted", "pooled_with")}
        found.append(told | drawn | {"planted": planted})
    return found


def planted_curves(world: World) -> list[dict[str, Any]]:
    """Each context of a world before any night, as :func:`curves` has them; those of most shoppers first."""
    honest = [one for one in world.populations if isinstance(one.shopper, Honest)]
    found: dict[tuple[str, str, int], dict[str, Any]] = {}
    for one in sorted(honest, key=lambda population: -population.share):
        at = (one.context.device, one.context.layout, one.context.columns)
        name = CountedContext(one.context.device, one.context.layout, one.context.columns, "text").name
        found.setdefault(at, {"name": name, "planted": planted_curve(world, *at)})
    return list(found.values())


def _is_at(context: Context, device: str, layout: str, columns: int) -> bool:
    return (context.device, context.layout, context.columns) == (device, layout, columns)
