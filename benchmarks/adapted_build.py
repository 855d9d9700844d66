"""How fast an index build with item heads is filled from stored features, beside one without heads.

    python -m benchmarks.adapted_build [--products 20000] [--dim 512]

Both builds are filled in turns, a piece of the catalogue each, so that what else runs on the machine meets both alike;
on Milvus Lite, as `morelike run` has it. Rates are medians over the pieces. Prints a table; exits with 1 where the
build with heads is filled at less than 0.8 of the rate of the other, or holds other rows than numpy makes of the
stored vectors.
"""

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy.orm import Session, sessionmaker

from backend.db import connect, session_factory, session_scope
from backend.generations.fill import fill_from_features
from backend.generations.index_content import read_contents
from backend.generations.models import IndexBuild
from backend.generations.repository import Build
from backend.ml.head_files import load_item_heads
from backend.vector_index import VectorIndex
from benchmarks.search import stack
from benchmarks.synthetic import ENCODER_ID, write_catalogue
from tests.fixtures.heads import item_heads

LEAST_SHARE = 0.8
PIECE = 1_000
"""Products of one build before it is the other's turn."""


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--products", type=int, default=20_000)
    arguments.add_argument("--dim", type=int, default=512)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        sessions, index = session_factory(connect(started.database)), VectorIndex(started.milvus)
        with session_scope(sessions) as session:
            write_catalogue(session, index, given.products, given.dim, rows=1)
            session.connection().exec_driver_sql("ANALYZE")
        met = run(sessions, index, given.products, given.dim)
    sys.exit(0 if met else 1)


def run(sessions: sessionmaker[Session], index: VectorIndex, products: int, dim: int) -> bool:
    """The table; whether everything is within its bounds."""
    builds = {
        "without heads": new_build(sessions, index, dim, "plain", None),
        "with heads": new_build(sessions, index, dim, "adapted", item_heads(ENCODER_ID, dim, seed=1)),
    }
    rows: dict[str, int] = dict.fromkeys(builds, 0)
    rates: dict[str, list[float]] = {name: [] for name in builds}
    for first in range(0, products, PIECE):
        for name in sorted(builds, reverse=first % (2 * PIECE) == 0):
            goal = 2 * min(first + PIECE, products)

            def count(written: Any) -> None:
                rows[name] += written.rows  # noqa: B023

            began, before = time.perf_counter(), rows[name]
            fill_from_features(sessions, index, builds[name], lambda: rows[name] >= goal, count)  # noqa: B023
            if rows[name] > before:  # the stretch before may have written this piece, too
                rates[name].append((rows[name] - before) / (time.perf_counter() - began))
    heads_s = through_heads(sessions, builds["with heads"], products)
    print(f"{products} products, an image and a caption each, {dim} dimensions, Milvus Lite\n")
    print("| build | rows | rows/s | share | of that, s in the heads |")
    print("|---|---|---|---|---|")
    second = {name: float(np.median(rates[name])) for name in builds}
    share = second["with heads"] / second["without heads"]
    print(f"| without heads | {rows['without heads']} | {second['without heads']:.0f} | | |")
    print(f"| with heads | {rows['with heads']} | {second['with heads']:.0f} | {share:.2f} | {heads_s:.1f} |")
    return share >= LEAST_SHARE and agrees(sessions, index, builds["with heads"])


def new_build(sessions: sessionmaker[Session], index: VectorIndex, dim: int, name: str, heads: bytes | None) -> Build:
    """A build beside the live one, empty."""
    collections = (f"images_{name}", f"captions_{name}")
    with session_scope(sessions) as session:
        record = IndexBuild(
            encoder_id=ENCODER_ID,
            image_collection=collections[0],
            caption_collection=collections[1],
            item_heads=heads,
            state="building",
        )
        session.add(record)
        session.flush()
        number = record.id
    for collection in collections:
        index.create_collection(collection, dim)
    return Build(number, ENCODER_ID, dim, *collections, heads)


def through_heads(sessions: sessionmaker[Session], build: Build, products: int) -> float:
    """Seconds that the matrix products of all rows take, in pieces as the filling has them."""
    heads = load_item_heads(build.item_heads or b"", ENCODER_ID)
    with session_scope(sessions) as session:
        contents = read_contents(session, replace(build, item_heads=None), range(1, 1_001))
    took = 0.0
    for side, head in (("images", heads.image), ("captions", heads.caption)):
        assert head is not None
        vectors = np.stack([row.vector for content in contents for row in getattr(content, side)])
        began = time.perf_counter()
        for _ in range(0, products, len(contents)):
            head(vectors)
        took += time.perf_counter() - began
    return took


def agrees(sessions: sessionmaker[Session], index: VectorIndex, build: Build) -> bool:
    """Whether 1,000 products' rows are held as numpy makes them of the stored vectors."""
    heads = load_item_heads(build.item_heads or b"", ENCODER_ID)
    with session_scope(sessions) as session:
        contents = read_contents(session, replace(build, item_heads=None), range(1, 1_001))
    for name, side, head in (
        (build.image_collection, "images", heads.image),
        (build.caption_collection, "captions", heads.caption),
    ):
        assert head is not None
        rows = [row for content in contents for row in getattr(content, side)]
        held = index.fetch(name, [row.key for row in rows])
        found = np.stack([held[row.key].vector for row in rows])
        if not np.allclose(found, head(np.stack([row.vector for row in rows])), atol=1e-5):
            print(f"{name} does not hold what the heads make of the stored vectors")
            return False
    return True


if __name__ == "__main__":
    main()
