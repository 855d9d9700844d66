"""Recall on a real catalogue: photographs and titles through `morelike run`, `morelike import` and the API.

    python -m benchmarks.real_catalogue --feed products.csv --images pictures.zip --encoder local-dir:DIR

Starts the stack on a folder of its own, imports the feed with the real command, and asks the real API each title,
vectors only. Beside it stands exact search with the same encoder: every vector that was stored, scored with numpy. Rows
with `split` = val are asked where there is such a column. Prints a table; exits with 1 where a recall differs from the
exact one by more than 0.005.
"""

import argparse
import csv
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sqlalchemy import text

from backend.db import connect, session_factory, session_scope
from backend.generations.serving import load_serving
from backend.ml.encoder import load_encoder
from backend.ml.scoring import Calibration, Side, score_matrix
from benchmarks.search import free_port

CUTS = (1, 5, 10)
MOST_APART = 0.005
SIDES: dict[str, float | None] = {"images only": 0.0, "the one score (titles are captions)": None}
"""Caption weight of each row; none is the generation's own."""


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--queries", type=int, default=500)
    options = parser.parse_args()
    queries = read_queries(options.feed, options.queries)
    with tempfile.TemporaryDirectory(prefix="ml-") as folder, stack(Path(folder), options.encoder) as environment:
        began = time.monotonic()
        command = [program("morelike"), "import", str(options.feed), "--images", str(options.images)]
        subprocess.run(command, env=environment, check=True)
        took_s = time.monotonic() - began
        rows = [measure(Path(folder), environment, options.encoder, queries, name) for name in SIDES]
    show(rows, queries, took_s)
    sys.exit(
        any(abs(ours - exact) > MOST_APART for _, api, truth in rows for ours, exact in zip(api, truth, strict=True))
    )


def read_queries(feed: Path, count: int) -> list[tuple[str, str]]:
    """(title, product id) of the rows to ask: the val rows, or the first ones where there is no split."""
    with feed.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    asked = [row for row in rows if row.get("split", "val") == "val"]
    return [(row["title"], row["id"]) for row in asked[:count]]


def program(name: str) -> str:
    """A command of this environment."""
    return str(Path(sys.executable).parent / name)


@contextmanager
def stack(home: Path, encoder: str) -> Iterator[dict[str, str]]:
    """A running `morelike run`; its environment."""
    port = str(free_port())
    environment = os.environ | {"MORELIKE_HOME": str(home), "MORELIKE_PORT": port, "MORELIKE_ENCODER": encoder}
    environment |= {"MORELIKE_RATE_LIMIT_PER_MINUTE": "0"}
    process = subprocess.Popen([program("morelike"), "run"], env=environment)
    try:
        while not is_ready(port):
            if process.poll() is not None:
                raise RuntimeError(f"morelike run ended with {process.returncode}")
            time.sleep(0.5)
        yield environment
    finally:
        process.terminate()
        process.wait(60)


def is_ready(port: str) -> bool:
    """Whether a search would be answered."""
    try:
        return httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=5).status_code == 200
    except httpx.HTTPError:
        return False


def measure(
    home: Path, environment: dict[str, str], encoder: str, queries: Sequence[tuple[str, str]], name: str
) -> tuple[str, list[float], list[float]]:
    """(name, recall through the API, recall of exact search), each at every cut."""
    weight = SIDES[name]
    key = json.loads((home / "keys.json").read_text())["server"]
    ranks = []
    with httpx.Client(base_url=f"http://127.0.0.1:{environment['MORELIKE_PORT']}", timeout=30) as client:
        client.headers["Authorization"] = f"Bearer {key}"
        for title, product in track(queries, description=f"Asking, {name}"):
            body: dict[str, Any] = {"text": title, "lexical": False, "limit": max(CUTS)}
            if weight is not None:
                body["weights"] = {"caption": weight}
            answer = client.post("/v1/search", json=body)
            answer.raise_for_status()
            shown = [hit["product_id"] for hit in answer.json()["hits"]]
            ranks.append(shown.index(product) if product in shown else max(CUTS))
    return name, recalls(np.array(ranks)), recalls(exact_ranks(home, encoder, queries, weight))


def exact_ranks(
    home: Path, encoder: str, queries: Sequence[tuple[str, str]], weight: float | None
) -> NDArray[np.int64]:
    """0-based rank (n,) of each query's product over every stored vector, by numpy."""
    stores = json.loads((home / "run" / "stack.json").read_text())
    with session_scope(session_factory(connect(stores["database_url"]))) as session:
        serving = load_serving(session)
        ids = dict(session.execute(text("SELECT number, id FROM products")).tuples().all())
        images = read_side(session, "product_images", "content_hash", "image")
        captions = read_side(session, "captions", "text_hash", "text")
    assert serving is not None, "the stack serves nothing"
    calibration = serving.calibration
    if weight is not None:
        calibration = Calibration(weight, calibration.text, calibration.image, calibration.both)
    numbers = np.array(sorted(ids), dtype=np.int64)
    vectors = load_encoder(encoder, threads=2).encode_texts([title for title, _ in queries])
    scores = score_matrix(vectors, vectors, images, captions, numbers, calibration, "text")
    place = {ids[number]: index for index, number in enumerate(numbers)}
    own = scores[np.arange(len(queries)), [place[product] for _, product in queries]]
    return np.asarray((scores > own[:, None]).sum(axis=1))


def read_side(session: Any, table: str, subject: str, kind: str) -> Side:
    """Every vector of one side, as it was stored."""
    statement = (
        f"SELECT s.product, f.vector FROM {table} s JOIN features f ON f.subject = s.{subject} AND f.kind = :kind"
    )
    rows = session.execute(text(statement), {"kind": kind}).all()
    vectors = np.stack([np.frombuffer(vector, dtype="<f4") for _, vector in rows])
    return Side(vectors, np.array([product for product, _ in rows], dtype=np.int64))


def recalls(ranks: NDArray[np.int64]) -> list[float]:
    """Share of ranks within each cut."""
    return [float((ranks < cut).mean()) for cut in CUTS]


def show(rows: list[tuple[str, list[float], list[float]]], queries: Sequence[tuple[str, str]], took_s: float) -> None:
    """Print the table."""
    table = Table(title=f"{len(queries)} titles as queries, vectors only; import took {took_s:.0f} s")
    table.add_column("score")
    for cut in CUTS:
        table.add_column(f"R@{cut} API", justify="right")
        table.add_column(f"R@{cut} exact", justify="right")
    for name, api, truth in rows:
        table.add_row(name, *[f"{value:.3f}" for pair in zip(api, truth, strict=True) for value in pair])
    Console().print(table)


if __name__ == "__main__":
    main()
