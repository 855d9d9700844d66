"""What words find: exact SKUs and product ids, and PostgreSQL's full-text search over the merchant's own words."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy import Connection

from backend.ml.scoring import Calibration, Floats, Ints
from backend.ml.word_evidence import EXACT_MATCH, word_evidence
from backend.search.filters import Conditions

MOST_FOUND = 100
"""Products that words alone may add to the candidates."""

MOST_RANKED = 5000
"""Matches that are ranked: words that this many products have tell little."""

# websearch_to_tsquery never fails, whatever is typed: quotes, or, -not are its only operators
_FIND = """
    WITH question AS (SELECT websearch_to_tsquery('english', :words) AS query),
    matching AS (SELECT p.number, p.lexemes FROM products p, question
                 WHERE p.lexemes @@ question.query AND CONDITIONS LIMIT :most_ranked),
    ranked AS (SELECT number, ts_rank_cd(lexemes, query) AS rank FROM matching, question
               ORDER BY rank DESC, number LIMIT :most_found)
    SELECT number, rank, (SELECT count(*) FROM matching) AS matches FROM ranked
    UNION ALL
    SELECT p.number, NULL, NULL FROM products p
    WHERE p.number IN (SELECT number FROM products WHERE id = :words
                       UNION SELECT product FROM variants WHERE lower(sku) = lower(:words)) AND CONDITIONS
"""


@dataclass(frozen=True)
class Evidence:
    """Products that words found, each once, and what that adds to their scores."""

    products: Ints
    added: Floats

    @classmethod
    def none(cls) -> "Evidence":
        """Words found nothing, or were not asked."""
        return cls(np.empty(0, dtype=np.int64), np.empty(0))


def find_words(connection: Connection, words: str, conditions: Conditions, calibration: Calibration) -> Evidence:
    """Evidence for ``words`` among the products that satisfy ``conditions``.

    All the words must be there; a SKU or product id that equals them adds ``EXACT_MATCH``.
    """
    parameters = {**conditions.parameters, "words": words, "most_ranked": MOST_RANKED, "most_found": MOST_FOUND}
    rows = conditions.prepared(_FIND).rows(connection, parameters)
    ranked = [row for row in rows if row.rank is not None]
    terms = word_evidence(np.array([row.rank for row in ranked]), ranked[0].matches if ranked else 0, calibration)
    added = {row.number: float(term) for row, term in zip(ranked, terms, strict=True)}
    for row in rows:
        if row.rank is None:
            added[row.number] = added.get(row.number, 0.0) + EXACT_MATCH
    return Evidence(np.fromiter(added, np.int64, len(added)), np.fromiter(added.values(), np.float64, len(added)))
