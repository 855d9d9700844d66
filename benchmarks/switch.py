"""The encoder of a running stack is changed under traffic: what shoppers notice, and how quick the way back is.

    python -m benchmarks.switch --feed products.csv --images pictures.zip --encoder local-dir:DIR [--rows 500]

Starts `morelike run` with the demo encoder on a folder of its own, imports the feed, and then searches and writes
products without a pause while `morelike encoder switch` runs. Prints a table of the searches before, during and
after it; counts failed searches, and answers that differ from the others of their generation (the products asked for
are never written, so each generation has one answer to each query); times roll-backs; compares catalogue and index row
by row for both builds. Exits with 1 where a search failed, answers differ, a roll-back took a second, or rows disagree.
"""

import argparse
import csv
import json
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

import httpx
import numpy as np
from rich.console import Console
from rich.table import Table

from backend.db import connect, session_factory, session_scope
from backend.generations.audit import compare
from backend.generations.due import anything_due
from backend.generations.encoders import DEMO_ENCODER
from backend.generations.repository import writable_builds
from backend.vector_index import VectorIndex
from benchmarks.real_catalogue import program, stack

QUERIES = (
    "a red summer dress",
    "blue running shoes for men",
    "leather watch with a brown strap",
    "a white shirt with stripes",
)
ROLLBACKS = 5
WRITTEN = 100
STILL = "Still"
"""Brand given to all products of the feed; those that are written meanwhile have another."""


@dataclass
class Answer:
    """One search: when it was asked, how long it took, and what came back."""

    at: float
    took_s: float
    generation: str
    words: str
    hits: tuple[str, ...]


@dataclass
class Traffic:
    """Two shoppers who search without a pause, and a shop that writes five products a second."""

    url: str
    key: str
    answers: list[Answer] = field(default_factory=list)
    failures: list[str] = field(default_factory=list)
    written: int = 0
    stopped: threading.Event = field(default_factory=threading.Event)

    def search(self, number: int) -> None:
        """Ask until it is stopped."""
        with asking(self.url, self.key) as client:
            while not self.stopped.is_set():
                number += 1
                words = QUERIES[number % len(QUERIES)]
                body = {"text": words, "filters": {"brand": [STILL]}, "lexical": False, "limit": 10}
                began = time.monotonic()
                answer = client.post("/v1/search", json=body)
                took_s = time.monotonic() - began
                if answer.status_code != 200:
                    self.failures.append(answer.text)
                    continue
                found = answer.json()
                hits = tuple(hit["product_id"] for hit in found["hits"])
                self.answers.append(Answer(began, took_s, found["generation"], words, hits))

    def write(self) -> None:
        """Put products until it is stopped."""
        with asking(self.url, self.key) as client:
            while not self.stopped.wait(0.2):
                self.written += 1
                product = {
                    "id": f"bench-{self.written % WRITTEN}",
                    "title": f"written {self.written}",
                    "brand": "Bench",
                }
                answer = client.put(f"/v1/products/{product['id']}", json=product)
                if answer.status_code != 200:
                    self.failures.append(answer.text)

    def differing(self) -> int:
        """Answers that are not the first one of their generation to their query."""
        first: dict[tuple[str, str], tuple[str, ...]] = {}
        return sum(first.setdefault((a.generation, a.words), a.hits) != a.hits for a in self.answers)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--feed", type=Path, required=True)
    parser.add_argument("--images", type=Path, required=True)
    parser.add_argument("--encoder", required=True)
    parser.add_argument("--rows", type=int, default=500)
    options = parser.parse_args()
    demo = f"local-dir:{DEMO_ENCODER}"  # by its directory, so that the demo shop does not move in
    with tempfile.TemporaryDirectory(prefix="ml-") as folder, stack(Path(folder), demo) as environment:
        feed = branded(options.feed, options.rows, Path(folder) / "feed.csv")
        command = [program("morelike"), "import", str(feed), "--images", str(options.images), "--allow-demo-encoder"]
        subprocess.run(command, env=environment, check=True)
        url = f"http://127.0.0.1:{environment['MORELIKE_PORT']}"
        stores = json.loads((Path(folder) / "run" / "stack.json").read_text())
        key = json.loads((Path(folder) / "keys.json").read_text())["admin"]
        wait_settled(stores)
        traffic = Traffic(url, key)
        threads = [threading.Thread(target=traffic.search, args=(n,)) for n in range(2)]
        threads.append(threading.Thread(target=traffic.write))
        for thread in threads:
            thread.start()
        time.sleep(15)
        began = time.monotonic()
        subprocess.run([program("morelike"), "encoder", "switch", options.encoder], env=environment, check=True)
        ended = time.monotonic()
        time.sleep(15)
        backs = [there_and_back(url, key) for _ in range(ROLLBACKS)]
        traffic.stopped.set()
        for thread in threads:
            thread.join()
        wait_settled(stores)
        agrees = audited(stores)
    show(traffic, began, ended, backs, agrees=agrees)
    sys.exit(bool(traffic.failures or traffic.differing() or max(backs) >= 1 or not agrees))


def branded(feed: Path, rows: int, to: Path) -> Path:
    """The first rows of ``feed``, all of the brand that is searched in."""
    with feed.open(encoding="utf-8", newline="") as file, to.open("w", encoding="utf-8", newline="") as out:
        read = csv.DictReader(file)
        write = csv.DictWriter(out, [*(read.fieldnames or []), "brand"])
        write.writeheader()
        for row in islice(read, rows):
            write.writerow(row | {"brand": STILL})
    return to


def asking(url: str, key: str) -> httpx.Client:
    """A client of the API."""
    return httpx.Client(base_url=url, timeout=30, headers={"Authorization": f"Bearer {key}"})


def there_and_back(url: str, key: str) -> float:
    """Seconds from a roll-back to the first search that it answers; the generation is promoted again behind it."""
    with asking(url, key) as client:

        def serving() -> str:
            return str(client.post("/v1/search", json={"text": QUERIES[0], "limit": 1}).json()["generation"])

        live = serving()
        began = time.monotonic()
        back = client.post(f"/v1/generations/{live}/rollback").json()["live"]
        while serving() != back:
            time.sleep(0.01)
        took_s = time.monotonic() - began
        client.post(f"/v1/generations/{live}/promote").raise_for_status()
        while serving() != live:
            time.sleep(0.01)
    return took_s


def wait_settled(stores: dict[str, str]) -> None:
    """Wait until nothing is due."""
    sessions = session_factory(connect(stores["database_url"]))
    while True:
        with session_scope(sessions) as session:
            if writable_builds(session) and not anything_due(session):
                return
        time.sleep(1)


def audited(stores: dict[str, str]) -> bool:
    """Whether catalogue and index agree in both builds."""
    index = VectorIndex(stores["milvus_uri"])
    with session_scope(session_factory(connect(stores["database_url"]))) as session:
        reports = [compare(session, index, build) for build in writable_builds(session)]
    for report in reports:
        Console().print(f"{report.products:,} products, {report.rows:,} rows: {report.disagreements}")
    return len(reports) == 2 and all(report.agrees for report in reports)


def show(traffic: Traffic, began: float, ended: float, backs: list[float], *, agrees: bool) -> None:
    """Print the table."""
    table = Table("", "searches", "p50 ms", "p95 ms", "slowest ms", "generations")
    spans = {"before": (0.0, began), "during the switch": (began, ended), "after": (ended, np.inf)}
    for name, (start, end) in spans.items():
        asked = [a for a in traffic.answers if start <= a.at < end]
        took = np.array([a.took_s for a in asked]) * 1000
        served = ", ".join(sorted({a.generation for a in asked}))
        cells = (np.percentile(took, 50), np.percentile(took, 95), took.max())
        table.add_row(name, f"{len(asked):,}", *(f"{cell:.0f}" for cell in cells), served)
    console = Console()
    console.print(table)
    console.print(
        f"switch {ended - began:.0f} s; {traffic.written:,} products written; failed: {len(traffic.failures)}"
    )
    console.print(f"answers that differ within their generation: {traffic.differing()}; rows agree: {agrees}")
    console.print(f"roll-back to the first answer: {', '.join(f'{took:.2f}' for took in backs)} s")


if __name__ == "__main__":
    main()
