"""A batch of products as lines of JSON: upserts and deletions in their order, a verdict for each line."""

import json
from collections.abc import Iterator
from typing import Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import from_json
from sqlalchemy.orm import Session

from backend.blobs import BlobStore
from backend.catalog.repository import delete_product, upsert_products
from backend.catalog.schemas import Problem, ProductDelete, ProductIn, Rejected, Status, Verdict, problems, short
from backend.errors import TooLarge

LINES_MAX = 10_000
"""Lines one batch may have; a catalogue larger than that is a feed, or several batches."""


class ProblemOut(BaseModel):
    """What is wrong with one field."""

    field: str
    found: Any = None
    expected: str


class LineVerdict(BaseModel):
    """What became of one line."""

    line: int = Field(description="1-based; empty lines count.")
    id: str | None
    status: Status
    detail: str | None = None
    errors: list[ProblemOut] = Field(default_factory=list)


class BatchVerdicts(BaseModel):
    """What became of each line, and how many lines met each fate."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "counts": {"created": 1, "rejected": 1},
                    "results": [
                        {"line": 1, "id": "p1", "status": "created", "detail": None, "errors": []},
                        {
                            "line": 2,
                            "id": "p2",
                            "status": "rejected",
                            "detail": "price: found 'abc', expected a valid decimal",
                            "errors": [{"field": "price", "found": "abc", "expected": "a valid decimal"}],
                        },
                    ],
                }
            ]
        }
    )

    counts: dict[Status, int]
    results: list[LineVerdict]


def write_batch(session: Session, body: bytes, *, blobs: BlobStore) -> BatchVerdicts:
    """Write the lines of ``body``. A line that is wrong is rejected; the others are written.

    Raises:
        TooLarge: more lines than a batch may have.
    """
    lines = body.removeprefix(b"\xef\xbb\xbf").split(b"\n")
    if len(lines) > LINES_MAX + 1:
        raise TooLarge("The batch has too many lines.", found=len(lines), expected=f"at most {LINES_MAX} lines")
    parsed = [(number, parse_line(line, number)) for number, line in enumerate(lines, 1) if line.strip()]
    results = [result for run in _runs(parsed) for result in _write_run(session, run, blobs)]
    counts: dict[Status, int] = {}
    for result in results:
        counts[result.status] = counts.get(result.status, 0) + 1
    return BatchVerdicts(counts=counts, results=results)


def parse_line(line: bytes, number: int) -> ProductIn | ProductDelete | Rejected:
    """The product or deletion that ``line`` says, or what is wrong with it."""
    try:
        value = from_json(line)
    except ValueError as error:
        return Rejected(number, None, [Problem("", short(line.decode("utf-8", "replace")), f"a JSON object: {error}")])
    if not isinstance(value, dict):
        return Rejected(number, None, [Problem("", short(value), "a JSON object")])
    try:
        if value.get("deleted") is True:
            return ProductDelete.model_validate(value)
        return ProductIn.model_validate({name: one for name, one in value.items() if (name, one) != ("deleted", False)})
    except ValidationError as error:
        named = value.get("id")
        return Rejected(number, short(named) if isinstance(named, str) else None, problems(error))


def as_lines(verdicts: BatchVerdicts) -> Iterator[str]:
    """The verdicts as lines of JSON."""
    for result in verdicts.results:
        yield json.dumps(result.model_dump(), ensure_ascii=False) + "\n"


Parsed = tuple[int, ProductIn | ProductDelete | Rejected]


def _runs(parsed: list[Parsed]) -> Iterator[list[Parsed]]:
    """Lines in their order, products that follow one another together: they are written in one go."""
    run: list[Parsed] = []
    for one in parsed:
        if run and not (isinstance(one[1], ProductIn) and isinstance(run[-1][1], ProductIn)):
            yield run
            run = []
        run.append(one)
    if run:
        yield run


def _write_run(session: Session, run: list[Parsed], blobs: BlobStore) -> list[LineVerdict]:
    number, first = run[0]
    if isinstance(first, Rejected):
        return [_rejection(first)]
    if isinstance(first, ProductDelete):
        return [_verdict(number, delete_product(session, first.id, first.updated_at))]
    products = [product for _, product in run if isinstance(product, ProductIn)]
    written = upsert_products(session, products, blobs=blobs)
    return [_verdict(number, verdict) for (number, _), verdict in zip(run, written, strict=True)]


def _verdict(number: int, verdict: Verdict) -> LineVerdict:
    return LineVerdict(line=number, id=verdict.id, status=verdict.status, detail=verdict.detail)


def _rejection(rejected: Rejected) -> LineVerdict:
    return LineVerdict(
        line=rejected.line,
        id=rejected.id,
        status="rejected",
        detail=said(rejected.problems),
        errors=[ProblemOut(field=p.field, found=p.found, expected=p.expected) for p in rejected.problems],
    )


def said(found: list[Problem]) -> str:
    """The problems as one sentence for people."""
    return "; ".join(f"{p.field or 'line'}: found {p.found!r}, expected {p.expected}" for p in found)
