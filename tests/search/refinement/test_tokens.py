"""What a summarizer reads: words through the encoder, products' tokens from the store in one round trip."""

from hashlib import sha256

import numpy as np
import pytest
from redis import Redis

from backend.generations.feature_store import SubjectFeatures, store_features
from backend.generations.serving import Serving
from backend.ml.tokens import pack_tokens
from backend.search.query_encoders import QueryEncoders
from backend.search.refinement.tokens import Subjects, TokenLoader
from backend.search.vector_cache import VectorCache
from tests.search.conftest import Shop

WORDS = "a small orange toy"


def subject(name: str) -> str:
    return sha256(name.encode()).hexdigest()


RED, BLUE, POOLED, SAID, NEITHER = (subject(name) for name in ("red", "blue", "pooled", "said", "neither"))


@pytest.fixture(scope="module")
def kept(shop: Shop) -> dict[str, np.ndarray]:
    """Tokens in the store: two pictures as int8 and fp16, one pooled, and a caption."""
    rng = np.random.default_rng(4)
    rows = {name: rng.normal(size=(17, 64)).astype(np.float32) for name in (RED, BLUE, POOLED)}
    rows[SAID] = rng.normal(size=(5, 64)).astype(np.float32)
    for kind, name, form in (
        ("image", RED, "int8"),
        ("image", BLUE, "fp16"),
        ("image", POOLED, "pooled"),
        ("text", SAID, "fp16"),
    ):
        features = SubjectFeatures(name, np.ones(32, np.float32), pack_tokens(rows[name], form))  # type: ignore[arg-type]
        store_features(shop.sessions, shop.encoder.id, kind, [features])  # type: ignore[arg-type]
    return rows


@pytest.fixture
def cache(redis_url: str) -> VectorCache:
    return VectorCache(Redis.from_url(redis_url))


@pytest.fixture
def loader(shop: Shop, encoders: QueryEncoders, cache: VectorCache) -> TokenLoader:
    return TokenLoader(encoders, cache, shop.sessions)


def test_tokens_come_in_the_order_shown_and_what_is_missing_is_none(
    shop: Shop, loader: TokenLoader, serving: Serving, kept: dict[str, np.ndarray]
) -> None:
    shown = [Subjects(BLUE, SAID), Subjects(NEITHER, None), Subjects(RED, NEITHER), Subjects(POOLED, None)]
    steer = {RED: np.ones(17, np.float32), POOLED: np.ones(17, np.float32)}
    tokens = loader.load(serving, WORDS, shown, steer)
    assert tokens is not None
    np.testing.assert_array_equal(tokens.query, shop.encoder.encode_texts_with_tokens([WORDS]).tokens[0])
    blue, neither, red, pooled = tokens.items
    np.testing.assert_allclose(blue.image, kept[BLUE], atol=2e-3)
    np.testing.assert_allclose(blue.caption, kept[SAID], atol=2e-3)
    assert (neither.image, neither.caption, red.caption) == (None, None, None)
    np.testing.assert_allclose(red.image, kept[RED], atol=np.abs(kept[RED]).max() / 127)
    assert red.steer is not None
    assert blue.steer is None
    np.testing.assert_allclose(pooled.image, kept[POOLED].mean(axis=0, keepdims=True), atol=2e-3)
    assert pooled.steer is None, "a pooled picture has no patches that a box could point at"


def test_words_are_encoded_once_and_remembered_as_they_were(
    loader: TokenLoader, serving: Serving, kept: dict[str, np.ndarray], cache: VectorCache, shop: Shop
) -> None:
    assert kept
    first = loader.load(serving, WORDS, [Subjects(RED, None)])
    nobody_encodes = TokenLoader(QueryEncoders(lambda _: pytest.fail("encoded again")), cache, shop.sessions)
    again = nobody_encodes.load(serving, WORDS, [Subjects(RED, None)])
    assert first is not None
    assert again is not None
    np.testing.assert_array_equal(first.query, again.query)


def test_a_store_that_has_nothing_of_them_gives_nothing(loader: TokenLoader, serving: Serving) -> None:
    assert loader.load(serving, WORDS, [Subjects(NEITHER, NEITHER), Subjects(None, None)]) is None
    assert loader.load(serving, WORDS, [Subjects(None, None)]) is None
