"""What is harvested from products that were shown at several ranks, counted by hand and against planted curves."""

import numpy as np
import pytest

from backend.ml.clicks.fixed_effects import fixed_effects
from backend.ml.clicks.harvest import Counts, Harvest, connection, harvest
from backend.ml.clicks.propensities import Evidence, estimate, prior, weighted_least_squares


def counts(*rows: tuple[int, int, int, float, float]) -> Counts:
    query, pair, rank, seen, clicked = np.array(rows, dtype=np.float64).T
    of, place = np.unique(np.stack([query, pair, rank]).astype(np.int64), axis=1, return_inverse=True)
    place = place.ravel()
    return Counts(*of, np.bincount(place, seen), np.bincount(place, clicked))


def planted(
    clicks: int, seed: int, *, decay: float = 1.0, queries: int = 300, ranks: int = 10
) -> tuple[Counts, np.ndarray]:
    """Three rankers of like quality order the same products; clicks follow the position based model."""
    rng = np.random.default_rng(seed)
    relevance = rng.beta(0.6, 2.4, (queries, 30))
    theta = np.arange(1, ranks + 1.0) ** -decay
    often = rng.zipf(1.5, queries).clip(max=50).astype(np.float64)
    rows = []
    for noise in (0.05, 0.1, 0.15):
        order = np.argsort(-(relevance + rng.normal(0, noise, relevance.shape)), axis=1)[:, :ranks]
        for query, seen in enumerate(rng.poisson(0.68 * clicks / 3 * often / often.sum())):
            if seen:
                found = rng.binomial(seen, theta * (0.05 + 0.95 * relevance[query, order[query]]))
                rows += [(query, query * 30 + d, k + 1, seen, found[k]) for k, d in enumerate(order[query])]
    return counts(*rows), theta


def test_a_click_counts_by_how_often_the_product_stood_at_the_other_rank_and_not_at_all_where_it_never_did() -> None:
    found = harvest(
        counts(
            (0, 0, 1, 30, 6),  # at the other rank 10 times: each click counts 10 / 40
            (0, 0, 2, 10, 1),  # and these 30 / 40
            (0, 1, 1, 10, 5),  # at one rank only: says nothing of positions
            (1, 2, 2, 20, 4),
            (1, 2, 3, 20, 2),
        ),
        3,
    )
    assert found.clicked[0].tolist() == [[0, 1.5, 0], [0.75, 0, 2], [0, 1, 0]]
    assert found.clicks[0].tolist() == [[0, 6, 0], [1, 0, 4], [0, 2, 0]]
    # theta_2 = .75 / 1.5 of theta_1, theta_3 = 1 / 2 of theta_2: the least squares of two equations is their solution
    assert weighted_least_squares(found)[0] == pytest.approx([1, 0.5, 0.25])


def test_the_likelihood_of_one_product_at_two_ranks_is_greatest_at_the_ratio_of_its_click_rates() -> None:
    theta = fixed_effects(counts((0, 0, 1, 30, 6), (0, 0, 2, 10, 1)), 2).theta
    assert theta == pytest.approx([1, 0.5])


def test_groups_add_up_to_the_whole_and_weigh_their_queries() -> None:
    given, _ = planted(2_000, 0)
    one, many = harvest(given, 10), harvest(given, 10, groups=7)
    for name in ("clicked", "clicks", "squares"):
        assert np.allclose(getattr(many.whole(), name), getattr(one, name))
    doubled = many.weighted(np.array([[2.0, 0, 0, 0, 0, 0, 0]]))
    assert np.allclose(doubled.clicks[0], 2 * many.clicks[0])


def test_a_planted_curve_is_recovered_and_click_rates_by_rank_are_far_off() -> None:
    errors, naive = [], []
    for seed in range(3):
        given, theta = planted(24_000, seed)
        found = estimate(Evidence.of(given, 10), prior(10, "list"), replicates=100)
        errors.append(np.abs(found.harvested / theta - 1)[1:].mean())
        rate = np.bincount(given.rank - 1, given.clicked) / np.bincount(given.rank - 1, given.seen)
        naive.append(np.abs(rate / rate[0] / theta - 1)[1:].mean())
        assert found.trusted, found.disagreement()
    assert np.mean(errors) < 0.08
    assert np.mean(naive) > 0.4


def test_intervals_hold_the_planted_curve_about_as_often_as_they_say() -> None:
    held = []
    for seed in range(12):
        given, theta = planted(4_000, seed, decay=0.7, queries=120)
        found = estimate(Evidence.of(given, 10), prior(10, "list"), replicates=100, seed=seed)
        held.append(((found.low <= theta) & (theta <= found.high))[1:].mean())
    assert np.mean(held) > 0.85


def test_without_clicks_the_prior_is_what_is_used_and_the_interval_says_so() -> None:
    assumed = prior(6, "grid", columns=3)
    found = estimate(Evidence.of(counts((0, 0, 1, 10, 0)), 6), assumed, replicates=20)
    assert found.theta == pytest.approx(assumed)
    assert not found.trusted
    assert (found.high[1:] / found.theta[1:] > 2).all()


def test_rows_of_a_grid_fade_and_columns_do_not() -> None:
    assert prior(6, "grid", columns=3) == pytest.approx([1, 1, 1, 2**-0.6, 2**-0.6, 2**-0.6])
    assert prior(3, "list") == pytest.approx([1, 1 / 2, 1 / 3])


def test_a_grid_whose_columns_nobody_said_fades_more_slowly_than_a_list() -> None:
    assert prior(3, "grid", columns=0) == pytest.approx([1, 2**-0.6, 3**-0.6])


def matrix(*edges: tuple[int, int, float, float]) -> Harvest:
    clicks = np.zeros((1, 4, 4))
    for here, there, one, other in edges:
        clicks[0, here - 1, there - 1], clicks[0, there - 1, here - 1] = one, other
    return Harvest(clicks, clicks, clicks)


def test_ranks_are_comparable_along_edges_with_enough_clicks_on_both_sides() -> None:
    linked = connection(matrix((1, 2, 90, 60), (2, 3, 70, 55), (3, 4, 200, 80), (1, 4, 20, 10)))
    assert linked.whole
    assert (linked.weakest, linked.clicks) == ((2, 3), 55)
    cut = connection(matrix((1, 2, 90, 60), (2, 3, 70, 49), (3, 4, 200, 80)))
    assert cut.connected.tolist() == [True, True, False, False]
    assert (cut.weakest, cut.clicks) == ((2, 3), 49)


def test_the_same_pairs_in_another_order_say_the_same() -> None:
    given, _ = planted(2_000, 1)
    order = np.random.default_rng(0).permutation(len(given.rank))
    mixed = Counts(*(getattr(given, name)[order] for name in ("query", "pair", "rank", "seen", "clicked")))
    assert np.allclose(harvest(mixed, 10).clicked, harvest(given, 10).clicked)
    assert np.allclose(fixed_effects(mixed, 10).theta, fixed_effects(given, 10).theta)


@pytest.mark.parametrize(
    ("row", "said"),
    [((0, 0, 0, 5, 1), "rank 0"), ((0, 0, 1, 5, 6), "6 clicks of 5"), ((0, 0, 1, 0, 0), "0 clicks of 0")],
)
def test_counts_that_cannot_be_are_refused(row: tuple[int, int, int, float, float], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        counts(row)
