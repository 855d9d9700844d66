"""What deciding who sees what adds to a search.

    python -m benchmarks.assignment [--products 5000] [--searches 1200]

Runs an experiment in each of two layers over all shoppers, holds 1 % out, and starts the real API. Measures the
decision alone, in this process, and searches over HTTP in pairs: with the ids of a signed-in shopper in both
experiments, and without any id. Both are answered by the same generation, so what differs is the decision, the hashes
of the ids, and what is kept and answered of it. Exits with 1 when the median of the pairs' differences is above 0.2 ms.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpcore
import numpy as np
from redis import Redis

from backend.db import connect, session_factory, session_scope
from backend.events.units import load_unit_hasher
from backend.experiments.assignment import Assigner, Context, Unit
from backend.experiments.known_units import KnownUnits
from backend.experiments.lifecycle import create_experiment, start_experiment
from backend.experiments.registry import Registry
from backend.experiments.schemas import ExperimentIn
from backend.generations.serving import load_serving
from backend.search.vector_cache import VectorCache
from backend.vector_index import VectorIndex
from benchmarks.search import LIMIT, Stack, api, post, stack, timed
from benchmarks.synthetic import WEIGHTS_HASH, make_queries, write_catalogue

MOST_ADDED_MS = 0.2
SHOPPERS = 200
"""As many as keep coming back; the first search of a signed-in one reads and keeps their arms, once."""


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--products", type=int, default=5000)
    arguments.add_argument("--searches", type=int, default=1200, help="of each kind")
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
        texts = prepare(started, given.products)
        print_decision(started)
        quiet = {"MORELIKE_EXPLORATION_SHARE": "0", "MORELIKE_HOLDOUT_SHARE": "0.01"}
        with api(replace(started, environment=started.environment | quiet)) as port:
            with_ids, without = measure(port, texts, given.searches)
    added = float(np.median(np.subtract(with_ids, without)))
    print("| search over HTTP   | p50 ms | p95 ms |")
    print("|--------------------|--------|--------|")
    for name, times in (("without ids", without), ("in two experiments", with_ids)):
        print(f"| {name:18} | {np.median(times):6.3f} | {np.percentile(times, 95):6.3f} |")
    print(f"\nassignment adds {added:.3f} ms at the median of {len(without)} pairs; it may add {MOST_ADDED_MS} ms")
    sys.exit(1 if added > MOST_ADDED_MS else 0)


def prepare(started: Stack, products: int) -> list[str]:
    """Write a catalogue and the experiments; texts whose vectors are cached."""
    sessions = session_factory(connect(started.database))
    with session_scope(sessions) as session:
        catalogue = write_catalogue(session, VectorIndex(started.milvus), products, 256, rows=1)
    texts, vectors = make_queries(catalogue, 100)
    cache = VectorCache(Redis.from_url(started.redis))
    for words, vector in zip(texts, vectors, strict=True):
        cache.put(WEIGHTS_HASH, f"text:{words}", vector)
    with session_scope(sessions) as session:
        serving = load_serving(session)
        assert serving is not None
        for layer, arm in (("ranker", {"generation": serving.name}), ("ui", {})):
            arms = [{"name": "a"} | arm, {"name": "b"} | arm]
            asked = {"name": layer, "layer": layer, "arms": arms, "targeting": {"device": ["mobile", "desktop"]}}
            made = create_experiment(session, ExperimentIn.model_validate(asked), actor="benchmark")
            start_experiment(session, made.id, actor="benchmark")
    return texts


def print_decision(started: Stack) -> None:
    """Microseconds of one decision, for a signed-in shopper, for an anonymous one, and without ids."""
    with deciding(started) as assigner:
        context = Context("mobile", "web", "text", "de-AT")
        for name, units in (
            ("a signed-in shopper", [Unit(f"a{n}", f"s{n}", f"u{n}") for n in range(SHOPPERS)]),
            ("an anonymous shopper", [Unit(f"a{n}", f"s{n}") for n in range(SHOPPERS)]),
            ("nobody", [Unit()] * SHOPPERS),
        ):
            times = []
            for unit in units * 20:
                began = time.perf_counter()
                assigner.assign(unit, context)
                times.append((time.perf_counter() - began) * 1e6)
            print(f"deciding for {name:20}: {np.median(times):6.1f} µs at the median")
    print()


@contextmanager
def deciding(started: Stack) -> Iterator[Assigner]:
    """What the API decides with."""
    engine = connect(started.database, single_statements=True)
    sessions = session_factory(engine)
    with session_scope(sessions) as session:
        hasher = load_unit_hasher(session)
    registry = Registry(sessions, holdout_share=0.01, exploration_share=0.05)
    registry.start()
    with ThreadPoolExecutor(2) as pool:
        yield Assigner(registry, KnownUnits(engine, lambda: hasher, pool))
    registry.stop()
    engine.dispose()


def measure(port: int, texts: list[str], searches: int) -> tuple[list[float], list[float]]:
    """Milliseconds of searches with and without ids, of the same words one right after the other."""
    times: dict[str, list[float]] = {"with": [], "without": []}
    with httpcore.ConnectionPool() as client:

        def call(kind: str) -> Callable[[int], None]:
            def search(turn: int) -> None:
                shopper = turn % SHOPPERS
                ids: dict[str, Any] = {"device": "mobile"}
                if kind == "with":
                    ids |= {"shopper_id": f"a{shopper}", "session_id": f"s{shopper}", "user_id": f"u{shopper}"}
                found = post(client, port, {"text": texts[turn % len(texts)], "limit": LIMIT} | ids)
                assert kind == "without" or len(found["experiments"]) in (0, 2)  # none: held out

            return search

        for turn in range(2 * SHOPPERS):  # arms are kept, caches warm
            call("with")(turn)
            call("without")(turn)
        for turn in range(searches):  # whoever is second finds Milvus' pages warm: each is, every other time
            for kind in ("with", "without") if turn % 2 else ("without", "with"):
                times[kind].append(timed(call(kind))(turn))
    return times["with"], times["without"]


if __name__ == "__main__":
    main()
