"""With heads every search, page and refinement is what numpy makes of all stored vectors, and no generation meets
another's vectors.

The reference knows nothing of the query path: it reads raw features, writes the heads' formula out, and applies the one
score to every row.
"""

import base64
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import redis
from sqlalchemy import delete, select, text, update
from starlette.testclient import TestClient

from backend.db import session_scope
from backend.generations.heads import HeadsUnusable
from backend.generations.index_content import read_contents
from backend.generations.models import Generation, GenerationPin, IndexBuild
from backend.generations.promote import go_live
from backend.generations.repository import get_build, new_build
from backend.generations.serving import EncoderKey, ServingHolder, load_serving
from backend.ml.encoder import Encoder
from backend.ml.feedback.inputs import Feedback, Items, Query
from backend.ml.feedback.policy import BUILT_IN
from backend.ml.feedback.update import refine
from backend.ml.head_files import dump_item_heads, dump_query_heads
from backend.ml.heads import Head, ItemHeads, QueryHeads
from backend.ml.scoring import Calibration, Kind, Side, score_matrix
from backend.search.query_encoders import QueryEncoders
from tests.fixtures.api import Keys
from tests.fixtures.stacks import wait_for
from tests.search.conftest import COLOURS, Search, Shop, ids, png

KINDS = ("mug", "lamp", "chair")
COUNT = len(COLOURS) * len(KINDS)


def planted(seed: int) -> Head:
    """A head of random weights that turns vectors by some twenty degrees."""
    rng = np.random.default_rng(seed)
    gain, shift, bias = 1 + rng.normal(0, 0.2, 32), rng.normal(0, 0.2, 32), rng.normal(0, 0.2, 8)
    return Head(gain, shift, rng.normal(0, 0.3, (8, 32)), bias, rng.normal(0, 0.35, (32, 8)), alpha=0.3)


def swap(one: np.ndarray, other: np.ndarray) -> Head:
    """A head that leads each of two unit vectors exactly onto the other.

    GELU(t) - GELU(-t) = t: two hidden units ±w make w·LN(x), w is 1 at ``one`` and -1 at ``other``, and the outgoing
    weights are ∓(one - other); at α = 1/2 that is added to x as it is.
    """
    rows = np.stack([one, other]).astype(np.float64)
    normed = (rows - rows.mean(axis=1, keepdims=True)) / np.sqrt(rows.var(axis=1, keepdims=True) + 1e-5)
    w = np.linalg.pinv(normed) @ [1.0, -1.0]
    apart = one - other
    return Head(np.ones(32), np.zeros(32), np.stack([w, -w]), np.zeros(2), np.stack([-apart, apart], axis=1), alpha=0.5)


def h(head: Head | None, rows: np.ndarray) -> np.ndarray:
    """The formula in float64: n((1-α)x + αγ·W2·GELU(W1·LN(x) + b1))."""
    if head is None:
        return rows
    x = rows.astype(np.float64)
    normed = (x - x.mean(axis=1, keepdims=True)) / np.sqrt(x.var(axis=1, keepdims=True) + 1e-5)
    hidden = (normed * head.gain + head.shift) @ head.inward.T.astype(np.float64) + head.bias
    hidden *= (1 + np.tanh(np.sqrt(2 / np.pi) * (hidden + 0.044715 * hidden**3))) / 2
    blend = (1 - head.alpha) * x + head.alpha * head.gamma * hidden @ head.outward.T
    return (blend / np.linalg.norm(blend, axis=1, keepdims=True)).astype(np.float32)


@dataclass(frozen=True)
class Heads:
    """The four heads of a generation and its build."""

    query: QueryHeads
    item: ItemHeads


@dataclass(frozen=True)
class Reference:
    """Every stored row of the shop, through ``heads``, and the one score over all of it."""

    shop: Shop
    heads: Heads
    names: list[str]
    images: Side
    captions: Side

    @classmethod
    def of(cls, shop: Shop, heads: Heads) -> "Reference":
        with session_scope(shop.sessions) as session:
            names = dict(session.execute(text("SELECT number, id FROM products ORDER BY number")).all())
            sides = [session.execute(text(_RAW[side]), {"encoder": shop.encoder.id}).all() for side in _RAW]
        raw = [np.stack([np.frombuffer(row.vector, "<f4") for row in rows]) for rows in sides]
        places = [np.array([list(names).index(row.product) for row in rows]) for rows in sides]
        images = Side(h(heads.item.image, raw[0]), places[0])
        return cls(shop, heads, list(names.values()), images, Side(h(heads.item.caption, raw[1]), places[1]))

    def words(self, said: str) -> np.ndarray:
        return h(self.heads.query.text, self.shop.encoder.encode_texts([said]))[0]

    def picture(self, data: bytes) -> np.ndarray:
        from io import BytesIO

        from PIL import Image

        pixels = Image.open(BytesIO(data)).convert("RGB")
        return h(self.heads.query.image, self.shop.encoder.encode_images([pixels]))[0]

    def asked(self, question: dict[str, Any]) -> tuple[np.ndarray, np.ndarray, Kind]:
        """Both sides of a question, and its kind."""
        parts, kinds = [], []
        if "text" in question:
            parts, kinds = [(self.words(question["text"]),) * 2], ["text"]
        if "image" in question:
            parts.append((self.picture(base64.b64decode(question["image"]["base64"])),) * 2)
            kinds.append("image")
        if "product_id" in question:
            own = self.names.index(question["product_id"])
            rows = [side.vectors[side.products == own] for side in (self.images, self.captions)]
            parts, kinds = [(unit(rows[0].mean(axis=0)), unit(rows[1].mean(axis=0)))], ["product"]
        image, caption = (unit(np.sum(side, axis=0)) for side in zip(*parts, strict=True))
        return image, caption, kinds[0] if len(kinds) == 1 else "both"

    def scores(self, image: np.ndarray, caption: np.ndarray, kind: Kind) -> dict[str, float]:
        """Score of every product."""
        places, plain = np.arange(len(self.names)), Calibration.identity()
        found = score_matrix(image[None], caption[None], self.images, self.captions, places, plain, kind)[0]
        return dict(zip(self.names, found.tolist(), strict=True))

    def refined(self, question: dict[str, Any], shown: list[str], liked: str, disliked: str) -> dict[str, float]:
        """Score of every product once ``liked`` and ``disliked`` were said of a list that began with ``shown``."""
        image, caption, kind = self.asked(question)
        start = Query(image, caption)
        grades = {liked: 1.0, disliked: -1.0}
        policy = BUILT_IN["auto"]
        feedback = Feedback(
            shown=self._items(start, {one: grades.get(one, np.nan) for one in shown[: policy.k]}),
            judged=self._items(start, grades),
        )
        moved = refine(policy, start, start, feedback).query
        return self.scores(moved.image, moved.caption, kind)

    def _items(self, query: Query, grades: dict[str, float]) -> Items:
        """The rows of each product that answer best."""
        stood = [
            [
                max(side.vectors[side.products == self.names.index(one)], key=lambda row, asked=asked: row @ asked)
                for one in grades
            ]
            for side, asked in ((self.images, query.image), (self.captions, query.caption))
        ]
        return Items(np.stack(stood[0]), np.stack(stood[1]), np.array(list(grades.values())))


def unit(vector: np.ndarray) -> np.ndarray:
    return np.asarray(vector / np.linalg.norm(vector), dtype=np.float32)


_RAW = {
    "images": "SELECT i.product, f.vector FROM product_images i JOIN features f ON f.subject = i.content_hash"
    " AND f.kind = 'image' AND f.encoder_id = :encoder ORDER BY i.id",
    "captions": "SELECT c.product, f.vector FROM captions c JOIN features f ON f.subject = c.text_hash"
    " AND f.kind = 'text' AND f.encoder_id = :encoder ORDER BY c.id",
}

PICTURE = {"base64": base64.b64encode(png((200, 60, 200), 3)).decode()}
QUESTIONS: dict[str, dict[str, Any]] = {
    "words": {"text": "a red mug"},
    "picture": {"image": PICTURE},
    "product": {"product_id": "blue lamp"},
    "words and picture": {"text": "a chair", "image": PICTURE},
}


@pytest.fixture(scope="module")
def shelf(shop: Shop) -> Shop:
    """Twelve products, each with two captions and two pictures."""
    for place, (colour, rgb) in enumerate(COLOURS.items()):
        for kind in KINDS:
            name = f"{colour} {kind}"
            made = [png(rgb, 40 * place + len(kind)), png(rgb, 900 + 40 * place + len(kind))]
            shop.add({"id": name, "title": name, "captions": [f"a {colour} {kind}"]}, pictures={name: made})
    return shop


@pytest.fixture(scope="module")
def generations(shelf: Shop) -> Iterator[dict[str, tuple[int, Heads]]]:
    """Three generations by name: without heads, with one for words over the same build, and with four over its own."""
    four = ItemHeads(planted(3), planted(4))
    words = QueryHeads(text=planted(1))
    both = QueryHeads(planted(5), planted(6))
    with session_scope(shelf.sessions) as session:
        first = session.scalars(select(Generation).filter_by(state="live")).one()
        found = {"none": (first.id, Heads(QueryHeads(), ItemHeads()))}
        own = new_build(session, state="ready", step="done")
        own.encoder_id, own.item_heads = shelf.encoder.id, dump_item_heads(four, shelf.encoder.id)
        session.flush()
        for name, build_id, query, item in (
            ("words", first.index_build_id, words, ItemHeads()),
            ("four", own.id, both, four),
        ):
            heads = dump_query_heads(query, shelf.encoder.id)
            made = Generation(
                index_build_id=build_id, query_heads=heads, calibration=first.calibration, code_version="test",
                state="ready",
            )  # fmt: skip
            session.add(made)
            session.flush()
            found[name] = made.id, Heads(query, item)
    collections = fill(shelf, own.id)
    yield found
    with session_scope(shelf.sessions) as session:
        go_live(session, found["none"][0], actor="test")
    for name in collections:
        shelf.index.drop_collection(name)


def fill(shop: Shop, build_id: int) -> tuple[str, str]:
    """Write every product into the collections of a build, as its writers read it."""
    with session_scope(shop.sessions) as session:
        build = get_build(session, build_id)
        numbers = session.scalars(text("SELECT number FROM products")).all()
        contents = read_contents(session, build, numbers)
    for name, side in zip(build.collections, ("images", "captions"), strict=True):
        shop.index.create_collection(name, build.dim)
        shop.index.upsert(name, [row for content in contents for row in getattr(content, side)])
    return build.collections


@pytest.fixture(scope="module")
def live(search: Search, shelf: Shop, generations: dict[str, tuple[int, Heads]]) -> Callable[[str], Reference]:
    """Goes live with a generation, waits until it answers, and gives its reference."""

    def flip(name: str) -> Reference:
        number, heads = generations[name]
        with session_scope(shelf.sessions) as session:
            go_live(session, number, actor="test")
        wait_for(lambda: search(text="a", limit=1)["generation"] == f"g{number}", f"{name} is live")
        return Reference.of(shelf, heads)

    return flip


def agrees(hits: list[dict[str, Any]], expected: dict[str, float]) -> None:
    """Each hit has its score, and none stands before a better one; equals may stand either way."""
    found = [(hit["product_id"], hit["score"]) for hit in hits]
    np.testing.assert_allclose([score for _, score in found], [expected[one] for one, _ in found], atol=2e-5)
    assert (np.diff([expected[one] for one, _ in found]) < 2e-5).all()


@pytest.mark.parametrize("name", ["words", "four", "none"])
def test_every_list_is_what_numpy_makes_of_all_stored_vectors(
    name: str, live: Callable[[str], Reference], search: Search, client: TestClient, redis_server: str
) -> None:
    """Searches of four kinds, all their pages (also when their order was lost), and a refinement of each."""
    reference = live(name)
    for question in QUESTIONS.values():
        expected = reference.scores(*reference.asked(question))
        first = search(**question, limit=5, lexical=False)
        hits, cursor = first["hits"], first["cursor"]
        while cursor is not None:
            redis.Redis.from_url(redis_server).flushall()
            page = search(cursor=cursor, limit=5)
            hits, cursor = hits + page["hits"], page["cursor"]
        assert len(hits) == COUNT - ("product_id" in question)
        agrees(hits, expected)
        liked, disliked = hits[3]["product_id"], hits[0]["product_id"]
        said = [{"product_id": liked, "value": 1}, {"product_id": disliked, "value": -1}]
        answer = client.post(f"/v1/search/{first['query_id']}/refine", json={"feedback": said, "limit": 50})
        assert answer.status_code == 200, answer.text
        assert answer.json()["refine"]["strategy"] == "likes"
        agrees(answer.json()["hits"], reference.refined(question, ids(first), liked, disliked))


def test_heads_change_what_is_found(shelf: Shop, generations: dict[str, tuple[int, Heads]]) -> None:
    """The three references differ for every question that a head concerns: the test above could fail."""
    references = {name: Reference.of(shelf, heads) for name, (_, heads) in generations.items()}

    def order(name: str, question: str) -> list[str]:
        scores = references[name].scores(*references[name].asked(QUESTIONS[question]))
        return sorted(scores, key=lambda one: -scores[one])

    assert order("words", "words") != order("none", "words")
    assert order("words", "product") == order("none", "product"), "a head for words leaves products alone"
    assert order("words", "picture") == order("none", "picture")
    assert all(order("four", question) != order("none", question) for question in QUESTIONS)


@pytest.mark.parametrize("name", ["words", "four"])
def test_explanations_weigh_captions_where_the_index_holds_them(
    name: str, live: Callable[[str], Reference], search: Search, client: TestClient, shop_keys: Keys
) -> None:
    """The softmax of cosines between the adapted query and the adapted captions."""
    reference = live(name)
    first = search(text="a red mug", lexical=False)
    asked = client.post(
        f"/v1/search/{first['query_id']}/refine", json={"strategy": "grf"}, headers=shop_keys.server
    ).json()
    found = client.get(f"/v1/search/{asked['query_id']}/explain", headers=shop_keys.server).json()["items"]
    captions = reference.shop.encoder.encode_texts([one["caption"]["text"] for one in found])
    raised = np.exp(h(reference.heads.item.caption, captions) @ reference.words("a red mug") / 0.05)
    np.testing.assert_allclose([one["relevance"] for one in found], raised / raised.sum(), atol=1e-4)
    plain = np.exp(captions @ reference.shop.encoder.encode_texts(["a red mug"])[0] / 0.05)
    assert np.abs(raised / raised.sum() - plain / plain.sum()).max() > 0.01


def test_a_head_that_swaps_two_phrases_swaps_their_lists(
    shelf: Shop, live: Callable[[str], Reference], search: Search, client: TestClient,
    generations: dict[str, tuple[int, Heads]],
) -> None:  # fmt: skip
    """And words that are added to a list by a refinement, since they go through the same head."""
    live("none")

    def lists(words: str) -> list[list[tuple[str, float]]]:
        first = search(text=words, limit=50, lexical=False)
        start = search(product_id="grey mug", limit=50)
        then = client.post(f"/v1/search/{start['query_id']}/refine", json={"text": words, "limit": 50}).json()
        return [[(hit["product_id"], round(hit["score"], 4)) for hit in one["hits"]] for one in (first, then)]

    before = {words: lists(words) for words in ("a red mug", "a blue lamp")}
    assert before["a red mug"] != before["a blue lamp"]
    head = QueryHeads(text=swap(*shelf.encoder.encode_texts(list(before))))
    with session_scope(shelf.sessions) as session:
        like = session.get_one(Generation, generations["none"][0])
        made = Generation(
            index_build_id=like.index_build_id, query_heads=dump_query_heads(head, shelf.encoder.id),
            calibration=like.calibration, code_version="test", state="ready",
        )  # fmt: skip
        session.add(made)
        session.flush()
        generations["swapped"] = made.id, Heads(head, ItemHeads())
    live("swapped")
    assert lists("a red mug") == before["a blue lamp"]
    assert lists("a blue lamp") == before["a red mug"]
    live("none")
    assert {words: lists(words) for words in before} == before, "and going back brings everything back"


def test_no_answer_mixes_two_generations_while_they_take_turns(
    live: Callable[[str], Reference], search: Search, shelf: Shop, generations: dict[str, tuple[int, Heads]]
) -> None:
    """Four searchers while it flips between builds: each answer is wholly of the generation that it names."""
    expected = {
        f"g{number}": Reference.of(shelf, heads) for name, (number, heads) in generations.items() if name != "swapped"
    }
    question, stop = QUESTIONS["words"], threading.Event()

    def ask() -> list[dict[str, Any]]:
        found = []
        while not stop.is_set():
            found.append(search(**question, limit=50, lexical=False))
        return found

    with ThreadPoolExecutor(4) as pool:
        asking = [pool.submit(ask) for _ in range(4)]
        for name in ("words", "four", "none", "four", "words"):
            live(name)
        stop.set()
        answers = [answer for one in asking for answer in one.result()]
    assert {answer["generation"] for answer in answers} == set(expected)
    for answer in answers:
        reference = expected[answer["generation"]]
        agrees(answer["hits"], reference.scores(*reference.asked(question)))


def test_a_generation_that_sessions_are_pinned_to_is_read_once_while_it_may_serve(
    shelf: Shop, live: Callable[[str], Reference], generations: dict[str, tuple[int, Heads]]
) -> None:
    """Heads are a megabyte; and one whose build is gone, or that was rejected, gives way to what is live."""
    live("none")
    holder = ServingHolder(shelf.sessions)
    holder.refresh()
    number = generations["four"][0]
    pinned = holder.pinned(number)
    assert pinned.item_heads.image is not None
    assert holder.pinned(number) is pinned
    for table, column, key in ((Generation, "state", number), (IndexBuild, "state", pinned.build_id)):
        with session_scope(shelf.sessions) as session:
            before = getattr(session.get_one(table, key), column)
            session.execute(update(table).filter_by(id=key).values(state="failed"))
        assert holder.pinned(number) is holder.current
        with session_scope(shelf.sessions) as session:
            session.execute(update(table).filter_by(id=key).values(state=before))
        assert holder.pinned(number) is pinned


def test_a_process_that_still_loads_the_encoder_moves_nobody_to_another_generation(
    shelf: Shop, live: Callable[[str], Reference], generations: dict[str, tuple[int, Heads]], tiny_encoder: Encoder
) -> None:
    live("none")
    number = generations["words"][0]
    with session_scope(shelf.sessions) as session:
        session.add(GenerationPin(generation_id=number, reason="e1"))
    may_load = threading.Event()

    def load(_key: EncoderKey) -> Encoder:
        may_load.wait(120)
        return tiny_encoder

    encoders = QueryEncoders(load)
    holder = ServingHolder(shelf.sessions, encoders=encoders)
    try:
        holder.refresh()
        assert number != holder.current.generation_id
        assert not encoders.has(tiny_encoder.id)
        assert holder.pinned(number).generation_id == number
        arm = holder.arm(number)
        assert arm is not None
        assert arm.generation_id == number
    finally:
        may_load.set()
        encoders.stop()
        with session_scope(shelf.sessions) as session:
            session.execute(delete(GenerationPin))


def test_heads_of_another_encoder_do_not_serve(
    shelf: Shop, live: Callable[[str], Reference], generations: dict[str, tuple[int, Heads]]
) -> None:
    """Whoever put them there: what served before goes on, and says why it does."""
    live("none")
    holder = ServingHolder(shelf.sessions)
    holder.refresh()
    before = holder.current
    number = generations["words"][0]
    kept = dump_query_heads(generations["words"][1].query, shelf.encoder.id)
    foreign = dump_query_heads(generations["words"][1].query, "another@000000000000")
    with session_scope(shelf.sessions) as session:
        session.execute(update(Generation).filter_by(id=number).values(query_heads=foreign))
        with pytest.raises(HeadsUnusable, match=f"g{number} cannot be used: found heads of encoder another@0"):
            load_serving(session, number)
        session.execute(update(IndexBuild).filter_by(id=before.build_id).values(item_heads=b"damaged"))
        with pytest.raises(HeadsUnusable, match="expected a safetensors file"):
            load_serving(session)
        session.execute(update(IndexBuild).filter_by(id=before.build_id).values(item_heads=None))
    holder.refresh()
    assert holder.current is before
    with session_scope(shelf.sessions) as session:
        session.execute(update(Generation).filter_by(id=number).values(query_heads=kept))
