"""The catalogue as vectors: every picture and caption that the live build searches, as files that are mapped."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.adapter_data import AT_ONCE, Told, VectorFile
from backend.ml.click_training.problem import Captions, ItemVectors
from backend.ml.scoring import Side

_ABOUT = "about.json"


@dataclass(frozen=True)
class Catalogue:
    """Rows of both sides as the encoder gave them.

    Args:
        items: pictures and captions.
        own: (c,) whether each caption tells of one product only: such a one can be asked for.
        ids: id of each product, by its number.
    """

    items: ItemVectors
    own: NDArray[np.bool_]
    ids: dict[int, str]

    @property
    def captions(self) -> Captions:
        """Captions of one product each, of products with a picture: what they find must not be forgotten."""
        side = self.items.captions
        rows = np.flatnonzero(self.own & np.isin(side.products, self.items.images.products))
        return Captions.of(Side(side.vectors[rows], side.products[rows]), self.ids)


def read_items(sessions: sessionmaker[Session], encoder: EncoderRecord, folder: Path, told: Told) -> Catalogue:
    """Copy the raw vectors of the catalogue to files in ``folder``; what is there already is not read again."""
    if not (folder / _ABOUT).exists():
        _write(sessions, encoder, folder, told)
    about = json.loads((folder / _ABOUT).read_bytes())
    pictures, captions = (_mapped(folder, side, encoder.dim) for side in ("pictures", "captions"))
    own = np.fromfile(folder / "own.bool", np.bool_)
    return Catalogue(ItemVectors(pictures, captions), own, {int(number): name for number, name in about["ids"].items()})


def _write(sessions: sessionmaker[Session], encoder: EncoderRecord, folder: Path, told: Told) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.iterdir():
        left.unlink()
    with session_scope(sessions) as session:
        # both sides and the names as they are at one moment
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        for side, query in (("pictures", _PICTURES), ("captions", _CAPTIONS)):
            file = VectorFile(folder / f"{side}.f32", encoder.dim)
            for part in _streamed(session, query, {"encoder": encoder.id}):
                file.append([(row.product, row.own, row.vector) for row in part])
                told(side.capitalize(), len(file.products), len(file.products) + 1)
            file.product_of.tofile(folder / f"{side}.i64")
        file.mark_of.astype(np.bool_).tofile(folder / "own.bool")
        ids = {row.number: row.id for part in _streamed(session, _IDS, {}) for row in part}
    (folder / _ABOUT).write_text(json.dumps({"ids": ids}))


def _mapped(folder: Path, side: str, width: int) -> Side:
    products = np.fromfile(folder / f"{side}.i64", np.int64)
    if not len(products):
        return Side(np.empty((0, width), np.float32), products)
    path = folder / f"{side}.f32"
    return Side(np.memmap(path, dtype="<f4", mode="r", shape=(len(products), width)), products)


def _streamed(session: Session, query: Any, values: dict[str, Any]) -> Iterator[Sequence[Any]]:
    result = session.execute(query, values, execution_options={"stream_results": True, "max_row_buffer": AT_ONCE})
    yield from result.partitions(AT_ONCE)


_PICTURES = text("""
    SELECT i.product, f.vector, 1 AS own FROM product_images i
    JOIN products p ON p.number = i.product AND p.deleted_at IS NULL
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'image' AND f.subject = i.content_hash
    WHERE i.state = 'ready' ORDER BY i.product, i.position, i.id
""")

_CAPTIONS = text("""
    SELECT c.product, f.vector, c.own FROM (
        SELECT id, product, text_hash,
            CAST(min(product) OVER (PARTITION BY text_hash) = max(product) OVER (PARTITION BY text_hash) AS integer)
              AS own
        FROM captions WHERE error IS NULL
    ) AS c
    JOIN products p ON p.number = c.product AND p.deleted_at IS NULL
    JOIN features f ON f.encoder_id = :encoder AND f.kind = 'text' AND f.subject = c.text_hash
    ORDER BY c.product, c.id
""")

_IDS = text("SELECT number, id FROM products WHERE deleted_at IS NULL ORDER BY number")
