"""The summarizer of what serves: loaded once from its row, run on one thread, and none where it does not fit."""

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace

import numpy as np
import pytest
import torch
from sqlalchemy import event
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord, SummarizerRecord
from backend.generations.serving import Serving
from backend.ml.feedback.inputs import ItemTokens, Tokens
from backend.ml.heads import Head, ItemHeads, QueryHeads
from backend.ml.scoring import Calibration
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, TokenSummarizer, dump_summarizer
from backend.search.summarizers import HELD, Summarizers

ENCODER = "tiny@000000000000"
NETWORK = AttentiveSummarizer(SummarizerConfig(8, 12, 4, width=16, heads=2, mlp_ratio=2))


def serving(summarizer: int | None, encoder: str = ENCODER) -> Serving:
    return Serving(1, 1, encoder, "0" * 64, 4, "i", "c", QueryHeads(), ItemHeads(), Calibration.identity(), summarizer)


def tokens(seed: int) -> Tokens:
    rng = np.random.default_rng(seed)
    made = [rng.standard_normal(shape).astype(np.float32) for shape in ((3, 8), (5, 12), (4, 8))]
    return Tokens(made[0], (ItemTokens(made[1], made[2], steer=np.array([0, 1, 0, 0, -1], np.float32)),))


@pytest.fixture
def rows(sessions: sessionmaker[Session]) -> list[int]:
    """Numbers of summarizers: one that fits, one of another encoder, one that is damaged, and as many as are held."""
    with session_scope(sessions) as session:
        session.add_all(
            [
                EncoderRecord(id=ENCODER, name="tiny", weights_hash="0" * 64, dim=4),
                EncoderRecord(id="other@111111111111", name="other", weights_hash="1" * 64, dim=4),
            ]
        )
        session.flush()
        fitting = dump_summarizer(NETWORK, ENCODER, precision=torch.float32)
        kept = [fitting, dump_summarizer(NETWORK, "other@111111111111"), b"damaged", *[fitting] * HELD]
        records = [SummarizerRecord(encoder_id=ENCODER, weights_hash=f"{n:064}", weights=w) for n, w in enumerate(kept)]
        session.add_all(records)
        session.flush()
        return [record.id for record in records]


def test_what_serves_is_loaded_once_and_answers_many_on_one_thread(
    sessions: sessionmaker[Session], rows: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    summarizers, where = Summarizers(sessions), set()
    plain = TokenSummarizer.summarize

    def seen(self: TokenSummarizer, *given: object, **named: object) -> object:
        where.add((threading.current_thread().name, torch.get_num_threads()))
        return plain(self, *given, **named)  # type: ignore[arg-type]

    monkeypatch.setattr(TokenSummarizer, "summarize", seen)
    reads: list[str] = []
    event.listen(sessions.kw["bind"], "before_cursor_execute", lambda *given: reads.append(given[2]))
    alone = TokenSummarizer(NETWORK, ENCODER)

    def ask(seed: int) -> np.ndarray:
        found = summarizers.of(serving(rows[0]))
        assert found is not None
        return found.summarize(tokens(seed), captions=bool(seed % 2), steer_strength=3.0).vector

    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(24)))
    assert len(reads) == 1
    assert where == {("summarizer_0", 1)}
    for seed, answer in enumerate(answers):
        expected = plain(alone, tokens(seed), captions=bool(seed % 2), steer_strength=3.0).vector
        np.testing.assert_allclose(answer, expected, atol=5e-3)  # bf16 where the processor computes in it
    summarizers.stop()


def test_what_is_missing_damaged_or_of_another_encoder_is_none(
    sessions: sessionmaker[Session], rows: list[int]
) -> None:
    summarizers = Summarizers(sessions)
    fits, other, damaged = rows[:3]
    assert summarizers.of(serving(None)) is None
    assert summarizers.of(serving(damaged + 1000)) is None
    assert summarizers.of(serving(damaged)) is None
    assert summarizers.of(serving(other)) is None
    assert summarizers.of(serving(fits)) is not None
    summarizers.stop()


def test_where_pictures_went_through_a_head_its_summaries_do_too(
    sessions: sessionmaker[Session], rows: list[int]
) -> None:
    """Their direction changes as a picture's would; their length, and what got attention, do not."""
    rng = np.random.default_rng(4)
    shapes = ((4,), (4,), (2, 4), (2,), (4, 2))
    head = Head(*(rng.standard_normal(shape).astype(np.float32) for shape in shapes), alpha=0.8)
    summarizers = Summarizers(sessions)
    plain, adapted = (
        summarizers.of(serving(rows[0])),
        summarizers.of(replace(serving(rows[0]), item_heads=ItemHeads(image=head))),
    )
    assert plain is not None
    assert adapted is not None
    before, after = (one.summarize(tokens(2), captions=False, steer_strength=2.0) for one in (plain, adapted))
    length = np.linalg.norm(before.vector)
    np.testing.assert_allclose(after.vector, length * head(before.vector[None] / length)[0], rtol=1e-4)
    assert before.vector @ after.vector < 0.9999 * length**2, "the head did nothing"
    np.testing.assert_array_equal(after.image_attention[0], before.image_attention[0])
    captions_only = summarizers.of(replace(serving(rows[0]), item_heads=ItemHeads(caption=head)))
    assert captions_only is plain
    summarizers.stop()


def test_no_more_are_held_than_serve_at_once(sessions: sessionmaker[Session], rows: list[int]) -> None:
    summarizers = Summarizers(sessions)
    first = summarizers.of(serving(rows[0]))
    assert summarizers.of(serving(rows[0])) is first
    for number in rows[3 : 3 + HELD]:
        summarizers.of(serving(number))
    assert summarizers.of(serving(rows[0])) is not first, "it was let go and is loaded again"
    summarizers.stop()
