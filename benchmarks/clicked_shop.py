"""A shop with two weeks of shoppers in PostgreSQL: made-up vectors, rankings by the one score, planted relevance.

What was shown first is the exact first ten of the catalogue by the one score of the frozen encoder; half of the lists
are by a generation before that ranked a little differently; one in twenty explores. Shoppers hold for relevant what a
shift of all queries by a map of low rank is near to, which heads can learn.
"""

import io
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from random import Random
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.progress import Progress
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.events.partitions import TABLES, make_partition
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.ml.clicks.exploration import ExplorationPolicy, explore, odds
from backend.ml.clicks.shoppers import Acts, Behaviour, act, gain
from backend.ml.clicks.simulated_log import GRADED
from backend.ml.clicks.worlds import Context
from backend.ml.scoring import Side, score_matrix
from benchmarks.click_traffic import Traffic, write_traffic
from benchmarks.synthetic import CLUSTER, ENCODER_ID, WEIGHTS_HASH, Vectors, blurred, calibration_of, unit_rows

DAYS = 14
PAGE = 10
DEPTH = 50
EXPLORING = 0.05
LISTS_AT_ONCE = 20_000
MOST_DRAWN = 100_000
CONTEXTS = (Context(), Context("mobile", "web", "grid", 2))
SHIFT, RANK = 1.0, 8


@dataclass(frozen=True)
class ClickedShop:
    """What was made.

    Args:
        ids: of the products.
        numbers: (p,) of these.
        queries: (q, d) raw vectors; the words of query n are ``query n``.
        best: (q, c) rows of products, best first by the frozen encoder.
        scores: (q, c) of these.
        before: (q, c) scores that the generation before gave them.
        gains: (q, c) planted.
    """

    ids: tuple[str, ...]
    numbers: NDArray[np.int64]
    queries: Vectors
    best: NDArray[np.int64]
    scores: NDArray[np.float64]
    before: NDArray[np.float64]
    gains: NDArray[np.float64]


def stock(sessions: sessionmaker[Session], products: int, queries: int, dim: int, seed: int = 0) -> ClickedShop:
    """Write a catalogue with a live generation, and rank it for ``queries`` queries."""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(max(products // CLUSTER, 1), dim)))
    latent = blurred(random, centres[np.arange(products) % len(centres)], 0.7, np.zeros(dim, np.float32))
    offsets = 0.5 * unit_rows(random.normal(size=(2, dim)))
    numbers = np.arange(1, products + 1)
    images, captions = (Side(blurred(random, latent, 0.7, one), numbers) for one in offsets)
    calibration = calibration_of(random, latent, images, captions, offsets[1])
    with session_scope(sessions) as session:
        _write_products(session, products, images, captions)
        _write_generations(session, dim, calibration.to_json())
    asked = blurred(random, latent[random.integers(products, size=queries)], 0.6, offsets[1])
    inward, outward = (np.linalg.qr(random.normal(size=(dim, RANK)))[0] for _ in range(2))
    meant = unit_rows(asked + SHIFT * np.sqrt(dim / RANK) * (asked @ inward) @ outward.T)
    best, scores = np.empty((queries, DEPTH), np.int64), np.empty((queries, DEPTH))
    with Progress(transient=True) as progress:
        for start in progress.track(range(0, queries, 128), description="Ranking"):
            part = asked[start : start + 128]
            found = score_matrix(part, part, images, captions, numbers, calibration, "text")
            first = np.argpartition(-found, DEPTH, axis=1)[:, :DEPTH]
            values = np.take_along_axis(found, first, axis=1)
            order = np.argsort(-values, axis=1)
            best[start : start + 128] = np.take_along_axis(first, order, axis=1)
            scores[start : start + 128] = np.take_along_axis(values, order, axis=1)
    truth = np.einsum("qcd,qd->qc", images.vectors[best], meant)
    before = scores + 0.3 * scores.std(axis=1, keepdims=True) * random.normal(size=scores.shape)
    ids = tuple(f"p{number}" for number in numbers.tolist())
    return ClickedShop(ids, numbers, asked, best, scores, before, _gains(truth))


def shop_for(sessions: sessionmaker[Session], shop: ClickedShop, lists: int, seed: int = 1) -> None:
    """Write ``lists`` lists and what was done with them, over two weeks up to now.

    The first ``MOST_DRAWN`` are drawn; of more, each of these is repeated by other shoppers a moment later.
    """
    drawn = min(lists, MOST_DRAWN)
    with session_scope(sessions) as session:
        indexes = session.execute(_INDEXES).all()
        for row in indexes:  # many times faster made at the end
            session.execute(text(f"DROP INDEX {row.indexname}"))
    _shop_for(sessions, shop, drawn, seed)
    for again in range(1, lists // drawn):
        with session_scope(sessions) as session:
            for statement in _REPEATED:
                session.execute(statement, {"again": again})
    with session_scope(sessions) as session:
        for row in indexes:
            session.execute(text(row.indexdef.replace(" ON ONLY ", " ON ")))
        session.execute(text("ANALYZE"))


def _shop_for(sessions: sessionmaker[Session], shop: ClickedShop, lists: int, seed: int) -> None:
    random, now = np.random.default_rng(seed), datetime.now(UTC)
    with session_scope(sessions) as session:
        for table in TABLES:
            for ahead in range(-DAYS - 1, 1):
                make_partition(session.connection(), table, (now + timedelta(days=ahead)).date())
    popularity = np.arange(1, len(shop.queries) + 1) ** -0.7
    served = now.timestamp() - 86_400 * DAYS + 600 + (86_400 * DAYS - 7_200) * np.arange(lists) / lists
    with Progress(transient=True) as progress:
        for start in progress.track(range(0, lists, LISTS_AT_ONCE), description="Shopping"):
            part = served[start : start + LISTS_AT_ONCE]
            query = random.choice(len(shop.queries), len(part), p=popularity / popularity.sum())
            traffic = _traffic(shop, query, part, part < served[lists // 2], max(lists // 5, 1), random)
            with session_scope(sessions) as session:
                write_traffic(session, traffic, shop.ids, shop.numbers)


def _traffic(
    shop: ClickedShop,
    query: NDArray[np.int64],
    served: NDArray[np.float64],
    early: NDArray[np.bool_],
    units: int,
    random: np.random.Generator,
) -> Traffic:
    n, policy, coin = len(query), ExplorationPolicy(), Random(int(random.integers(2**32)))
    scores = np.where(early[:, None], shop.before[query], shop.scores[query])
    order = np.argsort(-scores, axis=1)
    scores, candidates = (np.take_along_axis(one, order, axis=1) for one in (scores, shop.best[query]))
    gains = np.take_along_axis(shop.gains[query], order, axis=1)
    place, p_show = np.tile(np.arange(PAGE), (n, 1)), np.ones((n, PAGE))
    coins: list[dict[str, Any] | None] = [None] * n
    for at in np.flatnonzero(random.random(n) < EXPLORING).tolist():
        explored = explore(scores[at], PAGE, policy, coin)
        place[at], coins[at] = explored.order[:PAGE], explored.coins
        p_show[at] = odds(scores[at], PAGE, policy)[place[at], np.arange(PAGE)]
    phone = random.random(n) < 0.5
    unit = random.integers(units, size=n)
    acts = _acted(np.take_along_axis(gains, place, axis=1), phone, random)
    return Traffic(
        words=[f"query {one}" for one in query],
        unit=[f"1:shopper{one}" for one in unit],
        visit=[f"1:visit{one}-{int(at) // 3600}" for one, at in zip(unit, served, strict=True)],
        context=[CONTEXTS[int(one)] for one in phone],
        generation=np.where(early, 1, 2),
        served=served,
        shown=np.take_along_axis(candidates, place, axis=1),
        scores=np.take_along_axis(scores, place, axis=1),
        p_show=p_show,
        acts=acts,
        coins=coins,
        candidates=candidates,
        candidate_scores=scores,
    )


def _acted(gains: NDArray[np.float64], phone: NDArray[np.bool_], random: np.random.Generator) -> Acts:
    """What was done with n lists of k places, on phones in two columns, else in four."""
    parts = [
        act(Behaviour(), gains[of], one.columns, random) for of, one in zip((~phone, phone), CONTEXTS, strict=True)
    ]
    whole = {}
    for name, rows in vars(parts[0]).items():
        found = np.zeros((len(phone), *rows.shape[1:]), rows.dtype)
        found[~phone], found[phone] = rows, getattr(parts[1], name)
        whole[name] = found
    return Acts(**whole)


def _gains(truth: NDArray[np.float64]) -> NDArray[np.float64]:
    grades = np.zeros(truth.shape, np.int64)
    order, begin = np.argsort(-truth, axis=1), 0
    for grade, end in zip((4, 3, 2, 1), GRADED, strict=True):
        np.put_along_axis(grades, order[:, begin:end], grade, axis=1)
        begin = end
    return gain(grades)


def _write_products(session: Session, products: int, images: Side, captions: Side) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC).isoformat()
    places = range(1, products + 1)
    kinds = [f"p{n}\tThing {n}\t{{Kind {n % 12}}}\t{now}\n" for n in places]
    _copy(session, "products (id, title, category, updated_at)", kinds)
    name = {kind: [sha256(f"{kind} {n}".encode()).hexdigest() for n in places] for kind in ("image", "text")}
    rows = [f"{n}\t0\tblob:{key}\tready\t{key}\n" for n, key in zip(places, name["image"], strict=True)]
    _copy(session, "product_images (product, position, source, state, content_hash)", rows)
    rows = [f"{n}\tgiven\tthing {n}\t{key}\n" for n, key in zip(places, name["text"], strict=True)]
    _copy(session, "captions (product, source, text, text_hash)", rows)
    for kind, side in (("image", images), ("text", captions)):
        for start in range(0, products, 10_000):
            part = zip(name[kind][start : start + 10_000], side.vectors[start : start + 10_000], strict=True)
            rows = [f"{ENCODER_ID}\t{kind}\t{key}\t\\\\x{row.astype('<f4').tobytes().hex()}\n" for key, row in part]
            _copy(session, "features (encoder_id, kind, subject, vector)", rows)


def _write_generations(session: Session, dim: int, calibration: dict[str, Any]) -> None:
    """One that was live for the first week, and the one that is."""
    session.add(EncoderRecord(id=ENCODER_ID, name="synthetic", weights_hash=WEIGHTS_HASH, dim=dim))
    session.flush()
    names = {"image_collection": "images", "caption_collection": "captions"}
    build = IndexBuild(encoder_id=ENCODER_ID, state="ready", step="done", **names)
    session.add(build)
    session.flush()
    for state in ("retired", "live"):
        row = Generation(index_build_id=build.id, calibration=calibration, code_version="synthetic", state=state)
        session.add(row)
        session.flush()


def _copy(session: Session, into: str, lines: list[str]) -> None:
    with session.connection().connection.cursor() as cursor:
        cursor.copy_expert(f"COPY {into} FROM STDIN", io.StringIO("".join(lines)))


_INDEXES = text(
    "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN ('events', 'served_lists')"
    " AND indexname NOT LIKE 'pk%' ORDER BY indexname"
)

_ID = "substr(query_id, 1, 5) || substr(md5(query_id || CAST(:again AS text)), 1, 20)"
_WHO = "shopper_id || '-' || CAST(:again AS text), session_id || '-' || CAST(:again AS text)"
_LATER = "CAST(:again AS integer) * INTERVAL '2 seconds'"

# those that were drawn have a shopper whose name has no second part
_REPEATED = tuple(
    text(statement)
    for statement in (
        f"""
        INSERT INTO served_lists (query_id, served_on, turn, generation_id, request, coins, total, total_is, shopper_id,
                                  session_id, surface, device, query_type, locale, layout, columns, served_at)
        SELECT {_ID}, served_on, turn, generation_id, request, coins, total, total_is, {_WHO}, surface, device,
               query_type, locale, layout, columns, served_at + {_LATER}
        FROM served_lists WHERE shopper_id !~ '-'
        """,
        f"""
        INSERT INTO served_pages (query_id, served_on, first_position, product_ids, scores, p_show, candidates,
                                  candidate_scores, served_at)
        SELECT {_ID}, p.served_on, first_position, product_ids, scores, p_show, candidates, candidate_scores,
               p.served_at
        FROM served_pages p JOIN served_lists l USING (query_id, served_on) WHERE l.shopper_id !~ '-'
        """,
        f"""
        INSERT INTO events (received_on, message_id, type, query_id, product_id, shopper_id, session_id, dwell_ms,
                            visible_share, visible_ms, columns, next_query_id, source, occurred_at, received_at)
        SELECT received_on, message_id || '-' || CAST(:again AS text), type, {_ID}, product_id, {_WHO}, dwell_ms,
               visible_share, visible_ms, columns, next_query_id, source, occurred_at + {_LATER}, received_at
        FROM events WHERE shopper_id !~ '-'
        """,
    )
)
