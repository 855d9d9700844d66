"""What a summarizer learns from a live catalogue: products' pictures, captions and their tokens, from the store."""

import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.errors import Conflict
from backend.generations.binary_copy import read_rows
from backend.generations.models import EncoderRecord
from backend.ml.feedback_examples import CaptionedPictures
from backend.ml.token_table import TokenTable, TokenWriter
from backend.ml.tokens import PackedTokens, StoredForm

LEAST_PRODUCTS = 100
"""Fewer products with a picture, a caption and their tokens teach nothing that carries over."""

AT_ONCE = 250
"""Products read at a time: some 20 MB with the tokens of B/32."""

MOST_CAPTIONS = 5
"""Captions of a product that are read, as many as the benchmarks have."""

_SEED = 7


class TooLittleToLearn(Conflict):
    """The catalogue, or what is kept of it, does not do for training."""

    title = "Too little to learn from"


def read_catalogue(
    sessions: sessionmaker[Session],
    encoder: EncoderRecord,
    directory: Path,
    most: int,
    progress: Callable[[int, int], None],
) -> CaptionedPictures:
    """Copy what ``encoder`` made of up to ``most`` products from the store to files in ``directory``.

    One picture a product, the first that it has tokens of, and up to five captions. Memory holds the vectors; tokens go
    to the files as they come and are read from there.

    Raises:
        TooLittleToLearn: fewer than 100 products have a picture, a caption and tokens of both.
    """
    numbers = _sample(sessions, most)
    widths = _widths(sessions, encoder.id)
    pictures, captions, owners, said = list[bytes](), list[bytes](), list[int](), list[int]()
    texts = dict[str, int]()
    with (
        TokenWriter(directory / "patches", widths.get("image", 1)) as patches,
        TokenWriter(directory / "words", widths.get("text", 1)) as words,
    ):
        for start in range(0, len(numbers), AT_ONCE):
            progress(start, len(numbers))
            for product in _read(sessions, encoder.id, numbers[start : start + AT_ONCE]):
                for caption in product.captions:
                    words.append_packed(caption.tokens)
                    captions.append(caption.vector)
                    owners.append(len(pictures))
                    said.append(texts.setdefault(caption.subject, len(texts)))
                patches.append_packed(product.picture.tokens)
                pictures.append(product.picture.vector)
    progress(len(numbers), len(numbers))
    _require_enough(len(pictures), len(numbers))
    return CaptionedPictures(
        pictures=np.frombuffer(b"".join(pictures), "<f4").reshape(-1, encoder.dim),
        patches=TokenTable.open(directory / "patches"),
        captions=np.frombuffer(b"".join(captions), "<f4").reshape(-1, encoder.dim),
        words=TokenTable.open(directory / "words"),
        owners=np.array(owners, np.int64),
        texts=np.array(said, np.int64),
    )


@dataclass(frozen=True)
class _Kept:
    """What the store keeps of one picture or caption."""

    subject: str
    vector: bytes
    tokens: PackedTokens


@dataclass(frozen=True)
class _Product:
    """A product with all that is needed of it."""

    picture: _Kept
    captions: Sequence[_Kept]


def _sample(sessions: sessionmaker[Session], most: int) -> list[int]:
    """Numbers of up to ``most`` products; the same catalogue gives the same sample, in the same order."""
    with session_scope(sessions) as session:
        return list(session.execute(_PRODUCTS, {"seed": str(_SEED), "most": most}).scalars())


def _widths(sessions: sessionmaker[Session], encoder_id: str) -> dict[str, int]:
    """Numbers in a token of either kind."""
    with session_scope(sessions) as session:
        rows = [session.execute(_WIDTH, {"encoder": encoder_id, "kind": kind}).first() for kind in ("image", "text")]
    return {row.kind: row.width for row in rows if row is not None}


def _read(sessions: sessionmaker[Session], encoder_id: str, numbers: Sequence[int]) -> Iterator[_Product]:
    """Those of the products ``numbers`` that have everything, in their order."""
    values = {"encoder": encoder_id, "numbers": list(numbers), "most": MOST_CAPTIONS}
    with session_scope(sessions) as session:
        pictures = _by_product(session, _PICTURES, values)
        captions = _by_product(session, _CAPTIONS, values)
    for number in numbers:
        if number in pictures and number in captions:
            yield _Product(pictures[number][0], captions[number])


def _by_product(session: Session, query: str, values: dict[str, object]) -> dict[int, list[_Kept]]:
    kept: dict[int, list[_Kept]] = {}
    for row in read_rows(session, query, values):
        number, subject, vector, form, count, width, data, scales = row
        packed = PackedTokens(
            cast(StoredForm, (form or b"").decode()), _integer(count), _integer(width), data or b"", scales
        )
        one = _Kept((subject or b"").decode(), vector or b"", packed)
        kept.setdefault(int.from_bytes(number or b"", "big", signed=True), []).append(one)
    return kept


def _integer(data: bytes | None) -> int:
    return int(struct.unpack("!i", data or b"")[0])


def _require_enough(found: int, looked_at: int) -> None:
    if found < LEAST_PRODUCTS:
        raise TooLittleToLearn(
            "A summarizer learns from products that have a picture and a caption, embedded with their tokens "
            "(MORELIKE_TOKENS not off).",
            found=f"{found} of {looked_at} products",
            expected=f"at least {LEAST_PRODUCTS}",
        )


_PRODUCTS = text("""
    SELECT number FROM products WHERE deleted_at IS NULL ORDER BY md5(concat(:seed, '/', number)) LIMIT :most
""")

_WIDTH = text("SELECT kind, width FROM feature_tokens WHERE encoder_id = :encoder AND kind = :kind LIMIT 1")

_PICTURES = """
    SELECT DISTINCT ON (i.product) i.product, f.subject, f.vector, t.form, t.count, t.width, t.data, t.scales
    FROM product_images i
    JOIN features f ON f.encoder_id = %(encoder)s AND f.kind = 'image' AND f.subject = i.content_hash
    JOIN feature_tokens t ON t.encoder_id = f.encoder_id AND t.kind = f.kind AND t.subject = f.subject
    WHERE i.product = ANY(%(numbers)s::bigint[]) AND i.state = 'ready'
    ORDER BY i.product, i.position, i.id
"""

_CAPTIONS = """
    SELECT product, subject, vector, form, count, width, data, scales FROM (
        SELECT c.product, f.subject, f.vector, t.form, t.count, t.width, t.data, t.scales,
            row_number() OVER (PARTITION BY c.product ORDER BY c.id) AS place
        FROM captions c
        JOIN features f ON f.encoder_id = %(encoder)s AND f.kind = 'text' AND f.subject = c.text_hash
        JOIN feature_tokens t ON t.encoder_id = f.encoder_id AND t.kind = f.kind AND t.subject = f.subject
        WHERE c.product = ANY(%(numbers)s::bigint[]) AND c.error IS NULL
    ) AS numbered
    WHERE place <= %(most)s ORDER BY product, place
"""
