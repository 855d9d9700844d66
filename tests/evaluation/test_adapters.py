"""Cross-validation of adapters: what is held out stays unseen, what is planted is found, what is wrong is shown."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from backend.errors import Conflict
from backend.evaluation.adapters.experiment import Outcome, Protocol, cross_validate
from backend.evaluation.adapters.methods import ZERO_SHOT, Adapted, Method, residual
from backend.evaluation.adapters.paired import EmbeddingsUnreadable, alone, groups, read_embeddings
from backend.evaluation.adapters.report import retention_of, row_of
from backend.evaluation.adapters.trials import draw, search
from backend.evaluation.benchmark import NothingToEvaluate
from backend.ml.adapter_plan import AdapterPlan
from backend.ml.alignment import SpaceReport
from backend.ml.pairs import Pairs

QUICK = AdapterPlan(which="text", epochs=20, batch=32, rate=1e-2, scale=20.0, alpha=0.5, hidden=32, patience=20)
ONCE = Protocol(folds=2, seeds=1)
DIM = 16


def unit(rows: np.ndarray) -> np.ndarray:
    return np.asarray(rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float32)


@pytest.fixture(scope="module")
def turned() -> Pairs:
    """Texts are their pictures with the four widest axes of sixteen swapped by twos: what a head can undo."""
    rng = np.random.default_rng(0)
    images = unit(rng.normal(size=(200, DIM)) * np.r_[np.full(4, 3.0), np.ones(DIM - 4)])
    texts = images[:, [1, 0, 3, 2, *range(4, DIM)]] + 0.03 * rng.normal(size=images.shape)
    return Pairs(unit(texts), images, np.arange(200), np.arange(200))


def quiet(what: str, done: int, total: int) -> None:
    del what, done, total


def test_every_query_is_asked_once_a_seed_by_a_fit_that_saw_nothing_of_its_product(turned: Pairs) -> None:
    pairs = Pairs(turned.texts[:90], turned.images[:60], np.repeat(np.arange(45), 2), np.arange(60) // 2)
    seen: list[tuple[Pairs, Pairs]] = []

    def fit(learned: Pairs, chosen_by: Pairs, seed: int) -> Adapted:
        seen.append((learned, chosen_by))
        return Adapted(epochs=seed)

    outcome = cross_validate(pairs, Method("watched", fit), Protocol(folds=3, seeds=2), advance=quiet)
    assert (outcome.ranks >= 1).all()
    assert outcome.epochs == (1, 1, 1, 2, 2, 2)
    for fold, (learned, chosen_by) in enumerate(seen[:3]):
        known = {*learned.products.tolist(), *chosen_by.products.tolist()}
        assert known == set(learned.product_of.tolist())  # nor a picture of another product
        assert known.isdisjoint(pairs.products[outcome.fold_of == fold].tolist())
        assert set(learned.products.tolist()).isdisjoint(chosen_by.products.tolist())


def test_products_with_a_text_in_common_are_in_one_fold(turned: Pairs) -> None:
    texts = turned.texts[[0, 1, 1, 2, 3, 3]]
    pairs = Pairs(texts, turned.images[:6], np.arange(6), np.array([0, 0, 1, 2, 3, 4]))
    assert groups(pairs).tolist() == [0, 0, 0, 2, 3, 3]


def test_a_part_alone_holds_its_own_products_only(turned: Pairs) -> None:
    part = alone(Pairs(turned.texts, turned.images, turned.image_of, turned.product_of // 2).only(np.array([5, 90])))
    np.testing.assert_array_equal(part.images, turned.images[[4, 5, 90, 91]])
    np.testing.assert_array_equal(part.images[part.image_of], turned.images[[5, 90]])
    np.testing.assert_array_equal(part.texts, turned.texts[[5, 90]])


def test_a_head_undoes_a_planted_turn_on_products_it_never_saw(turned: Pairs) -> None:
    plain, ours = (
        cross_validate(turned, method, ONCE, retention=turned, advance=quiet)
        for method in (ZERO_SHOT, residual("ours", QUICK))
    )
    zero, row = (row_of(one, plain, turned.products) for one in (plain, ours))
    assert (zero.gain.mean, zero.retention) == (0, 1)
    assert zero.drift_text == pytest.approx(0, abs=1e-9)
    assert row.gain.above
    assert row.mrr_gain.above
    assert row.stands
    assert row.drift_text > 0
    assert row.drift_image == pytest.approx(0, abs=1e-9)
    assert row.space.alignment < zero.space.alignment


def test_too_few_products_for_the_folds_are_refused(turned: Pairs) -> None:
    few = Pairs(turned.texts[:3], turned.images[:3], np.arange(3), np.arange(3))
    with pytest.raises(NothingToEvaluate, match="Too few products"):
        cross_validate(few, ZERO_SHOT, ONCE, advance=quiet)


def outcome(ranks: list[list[int]], retained: list[list[int]] | None = None) -> Outcome:
    kept = None if retained is None else np.array(retained)
    return Outcome("made up", np.array(ranks), kept, 0.0, 0.0, SpaceReport(0, 0, 0, 0), (1,), 1.0, (), np.zeros(3))


def test_the_numbers_of_a_row_are_those_of_its_ranks() -> None:
    """Ranks 1, 2 and 11: recall 1/3, 2/3, 2/3; MRR (1 + 1/2 + 1/11)/3; nDCG (1 + 1/log2(3) + 0)/3."""
    plain = outcome([[11, 11, 11]])
    row = row_of(outcome([[1, 2, 11]]), plain, np.arange(3))
    assert (row.recall_1, row.recall_5, row.recall_10) == pytest.approx((1 / 3, 2 / 3, 2 / 3))
    assert row.mrr == pytest.approx((1 + 1 / 2 + 1 / 11) / 3)
    assert row.ndcg_10 == pytest.approx((1 + 0.6309297535714575) / 3)
    assert row.gain.mean == pytest.approx(2 / 3)
    assert (row.retention, row.spread) == (None, 0)


def test_queries_of_one_product_count_as_one_draw_and_seeds_are_averaged() -> None:
    plain = outcome([[20, 20, 20], [20, 20, 20]])
    row = row_of(outcome([[1, 1, 20], [1, 20, 20]]), plain, np.array([7, 7, 7]))
    assert row.gain.mean == row.gain.low == row.gain.high == pytest.approx(0.5)
    assert row.spread == pytest.approx((2 / 3 - 1 / 3) / 2)


def test_retention_is_the_lower_share_of_what_was_found() -> None:
    plain, ours = outcome([[1]], [[1, 1, 20, 20]]), outcome([[1]], [[1, 2, 11, 20], [1, 2, 11, 20]])
    mrr = (1 + 1 / 2 + 1 / 11 + 1 / 20) / (1 + 1 + 1 / 20 + 1 / 20)
    assert retention_of(ours, plain) == pytest.approx(mrr)
    assert retention_of(outcome([[1]]), plain) is None


def test_a_search_goes_on_where_it_was_and_says_what_it_brings_elsewhere(turned: Pairs, tmp_path: Path) -> None:
    record, plan = tmp_path / "trials.jsonl", replace(QUICK, epochs=2)
    first = search(turned, plan, ONCE, 1, record, advance=quiet)
    whole = record.read_text()
    record.write_text(whole + '{"key": "unfinis')
    more = search(turned, plan, ONCE, 2, record, advance=quiet)
    lines = record.read_text().splitlines()
    assert (first.trials, more.trials, len(lines)) == (1, 2, 2)
    assert lines[0] + "\n" == whole
    trials = [json.loads(line) for line in lines]
    assert [trial["drawn"] for trial in trials] == [draw(1, 0), draw(1, 1)]
    assert more.score == max(trial["score"] for trial in trials)
    assert more.held_out.name == "chosen"
    with pytest.raises(Conflict, match="another plan"):
        search(turned, replace(plan, epochs=3), ONCE, 2, record, advance=quiet)


class TestFilesOfVectors:
    def test_rows_are_paired_in_order_and_products_joined_by_id(self, turned: Pairs, tmp_path: Path) -> None:
        np.savez(
            tmp_path / "shop.npz",
            image=turned.images[:4].astype(np.float16),
            text=turned.texts[:4].astype(np.float16),
            id=np.array([9, 9, 4, 5]),
            title=np.array(["a", "b", "c", "d"]),
            article_type=np.array(["Track Pants", "Kajal", "Kajal", "Kajal"]),
        )
        read = read_embeddings(tmp_path / "shop.npz")
        assert read.pairs.product_of.tolist() == [2, 2, 0, 1]
        np.testing.assert_allclose(np.linalg.norm(read.pairs.images, axis=1), 1, atol=1e-6)
        assert list(read.said) == ["a", "b", "c", "d"]
        assert read.kinds == {"track pants", "kajal"}
        assert read.picture(0) is None

    def test_several_texts_name_their_picture(self, turned: Pairs, tmp_path: Path) -> None:
        np.savez(
            tmp_path / "photos.npz",
            image=turned.images[:2],
            text=turned.texts[:3],
            text_image=np.array([1, 0, 1]),
            caption=np.array(["x", "y", "z"]),
        )
        read = read_embeddings(tmp_path / "photos.npz")
        assert read.pairs.image_of.tolist() == [1, 0, 1]
        assert list(read.titles) == ["y", "x"]

    def test_what_pairs_nothing_is_refused(self, turned: Pairs, tmp_path: Path) -> None:
        np.savez(tmp_path / "uneven.npz", image=turned.images[:2], text=turned.texts[:3])
        np.savez(tmp_path / "widths.npz", image=turned.images[:2], text=turned.texts[:2, :5])
        np.savez(tmp_path / "half.npz", image=turned.images[:2])
        (tmp_path / "broken.npz").write_bytes(b"no archive")
        for name in ("uneven", "widths", "half", "broken"):
            with pytest.raises(EmbeddingsUnreadable):
                read_embeddings(tmp_path / f"{name}.npz")
