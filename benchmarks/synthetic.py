"""A catalogue of made-up products with made-up unit vectors, written straight into PostgreSQL and the index.

Products lie in clusters, as kinds of things do; images and captions of one product share its direction, blurred, and
each side has an offset of its own, as the modality gap of CLIP gives them. Queries are blurred captions.
"""

from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from types import SimpleNamespace
from typing import Any
from uuid import uuid4

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import insert
from sqlalchemy.orm import Session

from backend.catalog.models import Caption, Feature, Product, ProductImage
from backend.catalog.tags import product_tags
from backend.generations.models import EncoderRecord, Generation, IndexBuild
from backend.ml.scoring import Calibration, Side, best_per_product, fit_kind
from backend.vector_index import VectorIndex
from backend.vectors import VectorRow

Vectors = NDArray[np.float32]

ENCODER_ID = "synthetic@000000000000"
WEIGHTS_HASH = "0" * 64
CLUSTER = 50
"""Products of one kind."""
WORDS = ("amber", "birch", "coral", "dusk", "ember", "fern", "glass", "hazel", "ivory", "jade", "khaki", "linen")


@dataclass(frozen=True)
class Synthetic:
    """What was written, for exact answers."""

    ids: list[str]
    numbers: NDArray[np.int64]
    images: Side
    captions: Side
    calibration: Calibration
    latent: Vectors
    offsets: Vectors


def unit_rows(values: NDArray[Any]) -> Vectors:
    """``values`` (n, d) with every row at length 1."""
    return np.asarray(values / np.linalg.norm(values, axis=1, keepdims=True), dtype=np.float32)


def blurred(random: np.random.Generator, vectors: Vectors, amount: float, offset: Vectors) -> Vectors:
    """Unit rows near ``vectors``: noise of about length ``amount`` and a common ``offset`` added."""
    noise = random.normal(scale=amount / np.sqrt(vectors.shape[1]), size=vectors.shape)
    return unit_rows(vectors + noise + offset)


def attributes_of(place: int) -> dict[str, Any]:
    """Attributes that pick every hundredth, tenth and second product."""
    return {"percent": place % 100, "decile": place % 10, "half": place % 2, "material": WORDS[place % len(WORDS)]}


def write_catalogue(
    session: Session, index: VectorIndex, products: int, dim: int, *, rows: int = 2, seed: int = 0
) -> Synthetic:
    """Write ``products`` with ``rows`` images and captions each, a live generation, and both collections."""
    random = np.random.default_rng(seed)
    centres = unit_rows(random.normal(size=(max(products // CLUSTER, 1), dim)))
    no_offset = np.zeros(dim, dtype=np.float32)
    latent = blurred(random, centres[np.arange(products) % len(centres)], 0.7, no_offset)
    offsets = 0.5 * unit_rows(random.normal(size=(2, dim)))
    shop = [_row(place) for place in range(products)]
    numbers = np.array(
        session.scalars(insert(Product).returning(Product.number, sort_by_parameter_order=True), shop).all()
    )
    each = np.repeat(latent, rows, axis=0)
    owners = np.repeat(numbers, rows)
    images = Side(blurred(random, each, 0.8, offsets[0]), owners)
    captions = Side(blurred(random, each, 0.6, offsets[1]), owners)
    keys = _write_rows(session, images, captions)
    calibration = calibration_of(random, latent, images, captions, offsets[1])
    build = _write_generation(session, dim, calibration)
    session.flush()
    for name, side, side_keys in zip(
        (build.image_collection, build.caption_collection), (images, captions), keys, strict=True
    ):
        index.create_collection(name, dim)
        _fill(index, name, side, side_keys, dict(zip(numbers.tolist(), shop, strict=True)))
    return Synthetic([row["id"] for row in shop], numbers, images, captions, calibration, latent, offsets)


def make_queries(catalogue: Synthetic, count: int, *, seed: int = 1) -> tuple[list[str], Vectors]:
    """Texts and the vectors an encoder would give them: each a blurred caption of a random product."""
    random = np.random.default_rng(seed)
    chosen = random.integers(0, len(catalogue.numbers), count)
    texts = [f"{WORDS[place % len(WORDS)]} thing number {place} query {i}" for i, place in enumerate(chosen)]
    return texts, blurred(random, catalogue.latent[chosen], 0.6, catalogue.offsets[1])


def _row(place: int) -> dict[str, Any]:
    word = WORDS[place % len(WORDS)]
    row = {
        "id": f"p{place}",
        "title": f"{word.title()} thing {place}",
        "brand": WORDS[place % 7].title(),
        "category": ["Things", WORDS[place % 5].title()],
        "price": round(1 + (place * 7919 % 10_000) / 100, 2),
        "currency": "EUR",
        "attributes": attributes_of(place),
        "updated_at": datetime(2026, 1, 1, tzinfo=UTC),
        "words": f"{word} thing {place} {WORDS[place % 7]}",
    }
    return row | {"tags": list(product_tags(SimpleNamespace(**row)))}


def _write_rows(session: Session, images: Side, captions: Side) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Image and caption rows with their features; the keys they have in the index."""
    now = datetime(2026, 1, 1, tzinfo=UTC)
    image_rows, caption_rows, features = [], [], []
    for place, (vector, owner) in enumerate(zip(images.vectors, images.products.tolist(), strict=True)):
        name = sha256(f"image {place}".encode()).hexdigest()
        source = f"blob:{name}"
        image_rows.append(
            {
                "product": owner,
                "position": place,
                "source": source,
                "state": "ready",
                "content_hash": name,
                "due_at": now,
            }
        )
        features.append({"encoder_id": ENCODER_ID, "kind": "image", "subject": name, "vector": vector.tobytes()})
    for place, (vector, owner) in enumerate(zip(captions.vectors, captions.products.tolist(), strict=True)):
        name = sha256(f"caption {place}".encode()).hexdigest()
        kind = ("given", "title")[place % 2]
        caption_rows.append({"product": owner, "source": kind, "text": f"a caption, number {place}", "text_hash": name})
        features.append({"encoder_id": ENCODER_ID, "kind": "text", "subject": name, "vector": vector.tobytes()})
    image_keys = session.scalars(
        insert(ProductImage).returning(ProductImage.id, sort_by_parameter_order=True), image_rows
    )
    caption_keys = session.scalars(insert(Caption).returning(Caption.id, sort_by_parameter_order=True), caption_rows)
    keys = np.array(image_keys.all()), np.array(caption_keys.all())
    session.execute(insert(Feature), features)
    return keys


def calibration_of(
    random: np.random.Generator, latent: Vectors, images: Side, captions: Side, offset: Vectors
) -> Calibration:
    """Scales measured over random pairs, as a generation's are."""
    asked = blurred(random, latent[random.integers(0, len(latent), 64)], 0.6, offset)
    cosines = [
        np.stack([best_per_product(side.products, query @ side.vectors.T)[1] for query in asked])
        for side in (images, captions)
    ]
    measured = fit_kind(cosines[0], cosines[1], 0.5)
    return Calibration(caption_weight=0.5, text=measured, image=measured, both=measured)


def _write_generation(session: Session, dim: int, calibration: Calibration) -> IndexBuild:
    """A live generation over two empty collections."""
    session.add(EncoderRecord(id=ENCODER_ID, name="synthetic", weights_hash=WEIGHTS_HASH, dim=dim))
    name = uuid4().hex[:12]
    build = IndexBuild(
        encoder_id=ENCODER_ID, image_collection=f"images_{name}", caption_collection=f"captions_{name}", state="ready"
    )
    session.add(build)
    session.flush()
    session.add(
        Generation(index_build_id=build.id, calibration=calibration.to_json(), code_version="synthetic", state="live")
    )
    return build


def _fill(index: VectorIndex, name: str, side: Side, keys: NDArray[np.int64], rows: dict[int, dict[str, Any]]) -> None:
    for start in range(0, len(keys), 2000):
        index.insert(
            name,
            [
                VectorRow(
                    int(key),
                    number,
                    vector,
                    in_stock=True,
                    price=rows[number]["price"],
                    tags=tuple(rows[number]["tags"]),
                )
                for key, number, vector in zip(
                    keys[start : start + 2000],
                    side.products[start : start + 2000].tolist(),
                    side.vectors[start : start + 2000],
                    strict=True,
                )
            ],
            bulk=True,
        )
    index.flush(name)
