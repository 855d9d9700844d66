"""A small shop with tokens in its store and a summarizer of random weights, over HTTP."""

import io
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from sqlalchemy import select, update
from starlette.testclient import TestClient

from backend.catalog.models import Caption, FeatureTokens, ProductImage
from backend.db import session_scope
from backend.generations.models import Generation, SummarizerRecord
from backend.ml.summarizer import AttentiveSummarizer, SummarizerConfig, TokenSummarizer, dump_summarizer
from backend.ml.tokens import pack_tokens
from backend.settings import Settings
from tests.fixtures.api import Keys
from tests.search.conftest import COLOURS, Shop, png

NETWORK = SummarizerConfig(text_width=64, image_width=64, output_width=32, width=32, heads=2, mlp_ratio=2)

Ask = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def network() -> AttentiveSummarizer:
    """With weights large enough that it looks at some tokens more than at others."""
    torch.manual_seed(8)
    network = AttentiveSummarizer(NETWORK).eval()
    with torch.no_grad():
        for weight in network.parameters():
            weight.add_(0.3 * torch.randn_like(weight))
    return network


@pytest.fixture(scope="module")
def shop(shop: Shop, network: AttentiveSummarizer) -> Shop:
    """Eight toys of four colours; ``wide`` is twice as wide as high, and ``bare`` has no picture."""
    sent, pictures = [], {}
    for colour, value in COLOURS.items():
        for n in (1, 2):
            product = f"{colour}{n}"
            sent.append({"id": product, "title": f"a {colour} toy number {n}"})
            pictures[product] = [png(value, mark=n)]
    sent.append({"id": "wide", "title": "an unbelievably wide toy"})
    pictures["wide"] = [wide_png()]
    sent.append({"id": "bare", "title": "a toy that nobody saw"})
    shop.add(*sent, pictures=pictures)
    for files in pictures.values():
        for data in files:
            shop.blobs.put(data)
    _keep_tokens(shop)
    with session_scope(shop.sessions) as session:
        weights = dump_summarizer(network, shop.encoder.id, precision=torch.float32)
        record = SummarizerRecord(encoder_id=shop.encoder.id, weights_hash="0" * 64, weights=weights)
        session.add(record)
        session.flush()
        session.execute(update(Generation).values(summarizer_id=record.id))
    return shop


@pytest.fixture(scope="module")
def shop_settings(shop_settings: Settings, shop: Shop) -> Settings:
    """An API that finds the shop's pictures."""
    shop_settings.blob_dir.symlink_to(shop.blobs.root)
    return shop_settings


@pytest.fixture(scope="module")
def summarizer(network: AttentiveSummarizer, shop: Shop) -> TokenSummarizer:
    return TokenSummarizer(network, shop.encoder.id)


@pytest.fixture
def refine(client: TestClient, shop_keys: Keys) -> Ask:
    """Refines with a server's key and expects an answer."""

    def ask(query_id: str, **request: Any) -> dict[str, Any]:
        answer = client.post(f"/v1/search/{query_id}/refine", json=request, headers=shop_keys.server)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


@pytest.fixture
def explain(client: TestClient) -> Ask:
    """Asks for an explanation and expects one."""

    def ask(query_id: str, *product_ids: str) -> dict[str, Any]:
        answer = client.get(f"/v1/search/{query_id}/explain", params={"product_id": list(product_ids)})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    return ask


def wide_png() -> bytes:
    picture = Image.new("RGB", (80, 40), COLOURS["grey"])
    picture.paste(COLOURS["red"], (20, 0, 40, 40))
    out = io.BytesIO()
    picture.save(out, "PNG")
    return out.getvalue()


def _keep_tokens(shop: Shop) -> None:
    with session_scope(shop.sessions) as session:
        hashes = [str(one) for one in session.scalars(select(ProductImage.content_hash).distinct())]
        captions = session.execute(select(Caption.text_hash, Caption.text).distinct()).all()
    images = [Image.open(io.BytesIO(shop.blobs.get(one))).convert("RGB") for one in hashes]
    seen = shop.encoder.encode_images_with_tokens(images).tokens
    read = shop.encoder.encode_texts_with_tokens([row.text for row in captions]).tokens
    with session_scope(shop.sessions) as session:
        session.add_all(_row(shop, "image", one, rows) for one, rows in zip(hashes, seen, strict=True))
        session.add_all(_row(shop, "text", one.text_hash, rows) for one, rows in zip(captions, read, strict=True))


def _row(shop: Shop, kind: str, subject: str, rows: np.ndarray) -> FeatureTokens:
    packed = pack_tokens(rows, "fp16")
    return FeatureTokens(encoder_id=shop.encoder.id, kind=kind, subject=subject, **vars(packed))
