"""Propensities of contexts: found where products moved, pooled where they did too little, never extrapolated."""

import json
from dataclasses import replace

import numpy as np
import pytest

from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.clicks.contexts import ContextOptions, _Estimates, estimate_contexts
from backend.ml.clicks.examination import examined_share
from backend.ml.clicks.planted_log import click_log_of
from backend.ml.clicks.propensities import prior
from backend.ml.clicks.simulated_log import planted_shop, simulate_log
from backend.ml.clicks.worlds import WORLDS, World

SHOP = planted_shop(queries=150, products=400, seed=3)


def nightly_rankers(nights: int = 3) -> tuple[np.ndarray, ...]:
    """Rankings of like quality, as generations of a few nights are."""
    rng = np.random.default_rng(0)
    return tuple(SHOP.production + rng.normal(0, 0.05 * night, SHOP.production.shape) for night in range(nights))


def log_of(name: str, lists: int, *, seed: int = 4, rankers: int = 3) -> ClickLog:
    scores = nightly_rankers(rankers)
    simulated = simulate_log(WORLDS[name], SHOP, lists=lists, seed=seed, rankers=scores)
    return click_log_of(WORLDS[name], SHOP, simulated, rankers=scores)


def planted_theta(world: World, device: str, columns: int, length: int = 10) -> np.ndarray:
    one = next(one for one in world.populations if (one.context.device, one.context.columns) == (device, columns))
    theta = examined_share(one.shopper.behaviour.examination, length, columns)  # type: ignore[attr-defined]
    return np.asarray(theta / theta[0])


@pytest.fixture(scope="module")
def pastel() -> tuple[ClickLog, ContextPropensities]:
    log = log_of("pastel", 16_000)
    return log, estimate_contexts(log, ContextOptions())


def test_each_context_has_its_own_curve_and_click_rates_by_rank_have_not(
    pastel: tuple[ClickLog, ContextPropensities],
) -> None:
    found = pastel[1]
    assert found.trusted, found.reasons
    for one in found.contexts:
        theta = planted_theta(WORLDS["pastel"], one.context.device, one.context.columns)
        assert np.abs(np.array(one.theta) / theta - 1)[1:].mean() < 0.08
        assert np.abs(np.array(one.naive) / theta - 1)[1:].mean() > 0.35
        assert one.pooled_with is None
        assert one.theta[0] == 1.0
        assert ((np.array(one.low) <= theta) & (theta <= np.array(one.high)))[1:].mean() >= 0.7


def test_a_phone_whose_second_place_is_looked_at_most_keeps_it(pastel: tuple[ClickLog, ContextPropensities]) -> None:
    phone = next(one for one in pastel[1].contexts if one.context.device == "mobile")
    assert phone.theta[1] > 1.05


def test_rows_have_the_propensity_of_their_place_in_their_context(pastel: tuple[ClickLog, ContextPropensities]) -> None:
    log, found = pastel
    theta = found.of_rows(log)
    lists = log.list_of_rows()
    for row in (0, 9, 57, 159_999):
        context = log.contexts[log.lists.context[lists[row]]]
        assert theta[row] == found.theta(context, 20)[log.rows.position[row] - 1]
    assert (theta[log.rows.position == 1] == 1).all()


def test_what_is_kept_as_json_is_what_was_found(pastel: tuple[ClickLog, ContextPropensities]) -> None:
    kept = json.dumps(pastel[1].to_json(), allow_nan=False)
    again = ContextPropensities.from_json(json.loads(kept))
    assert json.dumps(again.to_json()) == kept
    assert again.theta(again.contexts[0].context, 10) == pytest.approx(pastel[1].contexts[0].theta, abs=1e-6)


def test_a_context_with_few_lists_takes_the_wider_one_s_curve() -> None:
    """Of the phones' lists all but some are gone: their ranks are not joined any more, those of all contexts are."""
    log = log_of("pastel", 12_000)
    phones = np.array([one.device == "mobile" for one in log.contexts])[log.lists.context]
    some = log.only(~phones | (np.arange(len(phones)) % 40 == 0))
    found = estimate_contexts(some, ContextOptions())
    phone = next(one for one in found.contexts if one.context.device == "mobile")
    desktop = next(one for one in found.contexts if one.context.device == "desktop")
    assert phone.pooled_with == "every grid"
    assert "not joined to rank 1" in phone.reasons[0]
    assert phone.theta == pytest.approx(desktop.theta, rel=0.2)
    assert found.trusted


def test_a_context_leans_on_the_narrowest_wider_estimate_that_counts(
    pastel: tuple[ClickLog, ContextPropensities],
) -> None:
    """Phones ask by picture, too; what both kinds say together does not count, what every grid says does."""
    log = pastel[0]
    phone = next(place for place, one in enumerate(log.contexts) if one.device == "mobile")
    by_picture = (log.lists.context == phone) & (np.arange(len(log.lists.context)) % 2 == 0)
    contexts = np.where(by_picture, 2, log.lists.context).astype(np.int16)
    kinds = (*log.contexts, replace(log.contexts[phone], query_type="image"))
    log = replace(log, lists=replace(log.lists, context=contexts), contexts=kinds)
    free = _Estimates.of(log, ContextOptions())
    alone = free.context(phone).clicks
    estimates = _Estimates.of(log, ContextOptions(least_clicks=alone + 1))
    estimates._known[phone, 2] = replace(free._known[phone, 2], reasons=("found two estimates 40% apart",))
    found = estimates.context(phone)
    assert found.reasons == ()
    assert found.pooled_with is None


def test_lists_that_never_change_say_nothing_of_ranks_and_the_prior_stays() -> None:
    """One ranking, no coins: click rates by rank fall, and nobody can tell relevance from attention."""
    log = log_of("list", 8_000, rankers=1)
    found = estimate_contexts(log, ContextOptions())
    one = found.contexts[0]
    assert not found.trusted
    assert one.source == "prior"
    assert one.clicks == 0
    assert any("0 harvested clicks: expected 2000" in said for said in found.reasons)
    assert any("not joined" in said for said in found.reasons)
    assert one.theta == pytest.approx(prior(10, "list"))
    assert one.low[9] < 0.4 * one.theta[9]


def test_a_night_that_drifts_keeps_the_median_of_the_nights_before(
    pastel: tuple[ClickLog, ContextPropensities],
) -> None:
    log, before = pastel
    again = estimate_contexts(log, ContextOptions(), [before] * 3)
    assert [one.source for one in again.contexts] == ["estimated"] * 2
    drifted = [before.bent(2.5)] * 3
    drifted = [ContextPropensities.from_json(_as_estimated(one.to_json())) for one in drifted]
    kept = estimate_contexts(log, ContextOptions(), drifted)
    assert [one.source for one in kept.contexts] == ["kept"] * 2
    assert kept.contexts[0].theta == pytest.approx(drifted[0].contexts[0].theta)
    assert "from the median of 3 nights" in kept.contexts[0].reasons[0]
    assert kept.contexts[0].estimated == pytest.approx(before.contexts[0].estimated)


def _as_estimated(found: dict) -> dict:
    return found | {"contexts": [one | {"estimated": one["theta"]} for one in found["contexts"]]}


def test_an_empty_log_is_not_trusted() -> None:
    log = log_of("list", 10)
    found = estimate_contexts(log.only(np.zeros(10, dtype=bool)), ContextOptions())
    assert not found.trusted
    assert found.reasons == ("found no list: expected some",)
