"""What words find: exact SKUs and product ids, and PostgreSQL's full-text search over the merchant's own words."""

from dataclasses import dataclass

import numpy as np
from sqlalchemy.orm import Session

from backend.ml.scoring import EXACT_MATCH, Calibration, Floats, Ints
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
    SELECT number, rank, false AS exact FROM ranked
    UNION ALL
    SELECT p.number, 0, true FROM products p
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


def find_words(session: Session, words: str, conditions: Conditions, calibration: Calibration) -> Evidence:
    """Evidence for ``words`` among the products that satisfy ``conditions``.

    The best match of all the words adds ``calibration.lexical_weight``, others in proportion to PostgreSQL's rank; a
    SKU or product id that equals the words adds ``EXACT_MATCH``.
    """
    parameters = {**conditions.parameters, "words": words, "most_ranked": MOST_RANKED, "most_found": MOST_FOUND}
    rows = session.execute(conditions.statement(_FIND), parameters).all()
    best = max((row.rank for row in rows), default=0.0) or 1.0
    added: dict[int, float] = {}
    for number, rank, exact in rows:
        term = EXACT_MATCH if exact else calibration.lexical_weight * rank / best
        added[number] = added.get(number, 0.0) + term
    return Evidence(np.fromiter(added, np.int64, len(added)), np.fromiter(added.values(), np.float64, len(added)))
