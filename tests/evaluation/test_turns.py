"""Simulated sessions: exact ranks, feedback that is never the query itself, and what a turn does."""

from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from backend.catalog.feeds.pictures import Folder
from backend.evaluation.benchmark import NothingToEvaluate, PhotoBenchmark
from backend.evaluation.datasets import CaptionedPhotos, Photo
from backend.evaluation.features import Features
from backend.evaluation.studies import AS_IS, STUDIES, Available, main_strategies, studies
from backend.evaluation.turns import Laboratory, Strategy, best_ranks
from backend.ml.feedback.fitted import Fitted
from backend.ml.feedback.inputs import ItemTokens, Query, Summary, Tokens
from backend.ml.feedback.policy import BUILT_IN, Mix, NearestNeighbors, Policy

PHOTOS, CAPTIONS, DIM = 40, 3, 16


def unit(vectors: NDArray[np.float64]) -> NDArray[np.float32]:
    return (vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)).astype(np.float32)


def dataset(generated: bool = False) -> CaptionedPhotos:
    photos = tuple(
        Photo(f"{n}.png", tuple(f"{n} {c}" for c in range(CAPTIONS)), f"{n} by a model" if generated else None)
        for n in range(PHOTOS)
    )
    return CaptionedPhotos("planted", photos, Folder(Path(), 1), "key")


def planted(noise: float, *, generated: bool = False) -> Features:
    """Photos at random places of a sphere, captions around them."""
    rng = np.random.default_rng(3)
    photos = rng.normal(size=(PHOTOS, DIM))
    texts = np.repeat(photos, CAPTIONS, axis=0) + noise * rng.normal(size=(PHOTOS * CAPTIONS, DIM))
    first = np.arange(PHOTOS + 1) * CAPTIONS
    none = np.full(PHOTOS, -1)
    if generated:
        texts = np.concatenate([texts, photos + 0.5 * noise * rng.normal(size=photos.shape)])
        none = PHOTOS * CAPTIONS + np.arange(PHOTOS)
    return Features("planted", unit(photos), unit(texts), first, none)


def benchmark(noise: float = 1.5, which: str = "all", **changes: int) -> PhotoBenchmark:
    return PhotoBenchmark(dataset(), planted(noise), which, **changes)


def test_of_equal_scores_the_lower_column_ranks_first_and_the_best_of_several_targets_counts() -> None:
    scores = np.array([[0.5, 0.9, 0.5, 0.1], [0.2, 0.2, 0.2, 0.2]], np.float32)
    assert best_ranks(scores, [np.array([2]), np.array([3])]).tolist() == [3, 4]
    assert best_ranks(scores, [np.array([3, 0]), np.array([2, 1])]).tolist() == [2, 2]


class TestPhotoBenchmark:
    def test_the_first_captions_ask_or_all_do(self) -> None:
        assert len(benchmark(which="first")) == PHOTOS
        assert len(benchmark()) == PHOTOS * CAPTIONS
        assert len(benchmark(most=7)) == 7
        assert benchmark(which="first").said(2) == "2 0"

    def test_no_query_is_among_its_own_feedback_captions(self) -> None:
        asked = benchmark()
        everyone = np.arange(PHOTOS)
        for query in range(len(asked)):
            rows = asked.feedback_captions(query, everyone)
            assert query not in rows  # captions are rows in the order of the queries
            assert (rows // CAPTIONS == everyone).all()

    def test_captions_of_a_model_are_preferred(self) -> None:
        asked = PhotoBenchmark(dataset(generated=True), planted(1.0, generated=True), "all")
        rows = asked.feedback_captions(5, np.array([0, 3]))
        assert rows.tolist() == [PHOTOS * CAPTIONS, PHOTOS * CAPTIONS + 3]

    def test_explicit_words_are_another_caption_of_the_target_and_the_same_in_every_run(self) -> None:
        asked, features = benchmark(), planted(1.5)
        for query in range(6):
            words = [asked.words(query, turn) for turn in range(8)]
            rows = {int(np.argmax(features.texts @ one)) for one in words}
            assert rows <= set(features.captions_of(query // CAPTIONS)) - {query}
            assert len(rows) > 1
        np.testing.assert_array_equal(asked.words(4, 2), benchmark().words(4, 2))

    def test_photos_that_cannot_be_read_are_neither_searched_nor_asked_for(self) -> None:
        features = planted(1.0)
        features.images[[0, 7]] = np.nan
        asked = PhotoBenchmark(dataset(), features, "first")
        assert (asked.size, len(asked)) == (PHOTOS - 2, PHOTOS - 2)
        assert asked.title(0) == "1.png"
        assert asked.title(int(asked.targets[0][0])) == asked.said(0).split()[0] + ".png"

    def test_nothing_to_rank_is_said(self) -> None:
        features = planted(1.0)
        features.images[1:] = np.nan
        with pytest.raises(NothingToEvaluate):
            PhotoBenchmark(dataset(), features, "first")


class TestSessions:
    def test_plain_retrieval_ranks_by_cosine_and_stays_where_it_is(self) -> None:
        asked = benchmark()
        run = Laboratory(asked, turns=3).run(AS_IS)
        cosines = asked.starts @ planted(1.5).images.T
        own = cosines[np.arange(len(asked)), np.arange(len(asked)) // CAPTIONS]
        np.testing.assert_array_equal(run.ranks[0], 1 + (cosines > own[:, None]).sum(axis=1))
        assert (run.ranks == run.ranks[0]).all()
        np.testing.assert_allclose(run.similarity, 1, atol=1e-6)
        np.testing.assert_array_equal(run.shown[0], np.argsort(-cosines, axis=1, kind="stable")[:, :10])

    def test_further_words_for_the_target_raise_it(self) -> None:
        run = Laboratory(benchmark(), turns=3).run(Strategy("explicit", Policy(strategy="text"), words=True))
        means = (1 / run.ranks).mean(axis=1)
        assert means[0] + 0.05 < means[1]

    def test_without_accumulating_each_turn_moves_the_first_query(self) -> None:
        strategy = Policy(strategy="grf", grf=Mix(0.6, 0.4, 0.0))
        still = Policy(strategy="grf", grf=Mix(0.6, 0.4, 0.0), accumulate=False)
        moved, held = (Laboratory(benchmark(), turns=5).run(Strategy("grf", one)) for one in (strategy, still))
        np.testing.assert_array_equal(moved.vectors[1], held.vectors[1])
        assert moved.similarity[4].mean() < held.similarity[4].mean()

    def test_neighbours_normalise_every_list_by_the_same_bias(self) -> None:
        asked, references = benchmark(), unit(np.random.default_rng(1).normal(size=(50, DIM)))
        nnn = NearestNeighbors(a=0.5, k=4)
        laboratory = Laboratory(asked, fitted=Fitted(references=references))
        run = laboratory.run(Strategy("nnn", Policy(strategy="none", nnn=nnn)))
        images = planted(1.5).images
        bias = 0.5 * np.sort(references @ images.T, axis=0)[-4:].mean(axis=0)
        scores = asked.starts @ images.T - bias
        np.testing.assert_array_equal(run.shown[0][:, 0], scores.argmax(axis=1))

    def test_a_summary_is_made_once_for_all_who_ask_for_it(self) -> None:
        class Counting:
            calls = 0

            def summarize(self, tokens: Tokens, *, captions: bool = True, steer_strength: float = 5.0) -> Summary:
                del captions, steer_strength
                self.calls += 1
                empty = tuple(np.full(1, 0.1) for _ in tokens.items)
                return Summary(np.ones(DIM, np.float32), empty, empty)

        class Tokenised(PhotoBenchmark):
            def tokens(self, query: int, shown: NDArray[np.int64], now: Query) -> Tokens:
                del query, now
                one = np.ones((1, 4), np.float32)
                return Tokens(one, tuple(ItemTokens(one, one) for _ in shown))

        counting = Counting()
        asked = Tokenised(dataset(), planted(1.0), "first")
        laboratory = Laboratory(asked, {"it": counting})
        first = laboratory.run(Strategy("afs", BUILT_IN["afs"]))
        assert counting.calls == PHOTOS
        laboratory.run(Strategy("afs", Policy(strategy="afs", afs=Mix(0.5, 0.5, 0.0))))
        assert counting.calls == PHOTOS
        assert (first.similarity[1] < 1).all()


class TestStudies:
    def test_only_what_the_data_allows_is_asked(self) -> None:
        bare = Available(captions=False, words=False)
        assert [one.name for one in main_strategies(bare)] == ["none", "rocchio, classic", "prf", "auto"]
        assert {study.name for study in studies(bare)} == {
            "weights", "temperature", "items", "rocchio", "norms", "modality",
        }  # fmt: skip
        whole = Available(captions=True, words=True, summarizers=("image", "caption"), references=True)
        assert {study.name for study in studies(whole)} == set(STUDIES)

    def test_names_are_unique_within_a_study_and_policies_differ(self) -> None:
        whole = Available(captions=True, words=True, summarizers=("image", "caption"), references=True)
        for study in studies(whole):
            assert len({one.name for one in study.strategies}) == len(study.strategies), study.name
            assert len({(str(one.policy), one.summarizer) for one in study.strategies}) == len(study.strategies)
