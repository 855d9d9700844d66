"""What the live catalogue is asked: its own captions, or queries of a file."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from sqlalchemy import select
from sqlalchemy.orm import Session, sessionmaker

from backend.catalog.models import Caption, Feature
from backend.db import session_scope
from backend.errors import NotFound
from backend.evaluation.catalogue import AT_ONCE, Catalogue, CatalogueQuery
from backend.evaluation.datasets import DatasetUnreadable
from backend.evaluation.features import Ints
from backend.ml.encoder import Encoder
from backend.ml.feedback.inputs import Vector
from backend.search.refinement.tokens import Subjects

MERCHANTS = ("title", "description")
"""Sources of captions that are names rather than descriptions: they ask only where there is nothing else."""


def caption_queries(
    catalogue: Catalogue, sessions: sessionmaker[Session], most: int, *, seed: int
) -> list[CatalogueQuery]:
    """Stored captions that ask for their own product: a description of it where it has one, else a merchant's text."""
    order = np.random.default_rng(seed).permutation(len(catalogue.products))
    chosen = sorted([place for place in order.tolist() if catalogue.products[place].sentences][: most or None])
    texts = _texts(sessions, [catalogue.products[place].number for place in chosen])
    found = []
    vectors = _encoded(sessions, catalogue, chosen)
    for place in chosen:
        product = catalogue.products[place]
        said = [one for one in texts.get(product.number, []) if one[1] in product.sentences]
        described = [one for one in said if one[0] not in MERCHANTS] or said
        if described:
            _, subject, text = described[0]
            tokens = catalogue.read([Subjects(None, subject)]).get(("text", subject))
            found.append(CatalogueQuery(text, vectors[subject], np.array([place]), tokens))
    return found


def read_queries(path: Path, catalogue: Catalogue, encoder: Encoder) -> list[CatalogueQuery]:
    """Queries of a file of JSON lines: ``query``, the ids of its ``products``, and ``more`` words for them or none.

    A query none of whose products is in the catalogue is left out.

    Raises:
        NotFound: there is no such file.
        DatasetUnreadable: a line says something else.
    """
    try:
        rows = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
        asked = [(str(row["query"]), _targets(row["products"], catalogue), list(row.get("more", []))) for row in rows]
    except OSError as error:
        raise NotFound("The file cannot be read.", found=str(path), expected=error.strerror) from error
    except (ValueError, TypeError, KeyError) as error:
        expected = '{"query": "...", "products": ["id", ...]}'
        raise DatasetUnreadable(f"{path} cannot be read.", found=str(error)[:300], expected=expected) from error
    asked = [one for one in asked if len(one[1])]
    features = encoder.encode_texts_with_tokens([text for text, _, _ in asked])
    return [
        CatalogueQuery(text, vector, targets, tokens, encoder.encode_texts(more) if more else None)
        for (text, targets, more), vector, tokens in zip(asked, features.vectors, features.tokens, strict=True)
    ]


def _targets(products: Iterable[str], catalogue: Catalogue) -> Ints:
    return np.array([catalogue.places[name] for name in products if name in catalogue.places], dtype=np.int64)


def _texts(sessions: sessionmaker[Session], numbers: Sequence[int]) -> dict[int, list[tuple[str, str, str]]]:
    """Source, hash and text of each product's captions, in the order they came."""
    found: dict[int, list[tuple[str, str, str]]] = {}
    with session_scope(sessions) as session:
        for start in range(0, len(numbers), AT_ONCE):
            some = Caption.product.in_(numbers[start : start + AT_ONCE])
            for row in session.scalars(select(Caption).where(some).order_by(Caption.id)):
                found.setdefault(row.product, []).append((row.source, row.text_hash, row.text))
    return found


def _encoded(sessions: sessionmaker[Session], catalogue: Catalogue, places: Sequence[int]) -> dict[str, Vector]:
    """What the encoder made of each caption of these products, by its hash."""
    subjects = [subject for place in places for subject in catalogue.products[place].sentences]
    kept = select(Feature.subject, Feature.vector).filter_by(encoder_id=catalogue.serving.encoder_id, kind="text")
    found: dict[str, Vector] = {}
    with session_scope(sessions) as session:
        for start in range(0, len(subjects), AT_ONCE):
            for row in session.execute(kept.where(Feature.subject.in_(subjects[start : start + AT_ONCE]))):
                found[row.subject] = np.frombuffer(row.vector, dtype="<f4")
    return found
