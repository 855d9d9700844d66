"""What a night costs: minutes and memory of each of its steps, and how both grow with what was shown.

    python -m benchmarks.nightly [--impressions 100000 1000000] [--products 100000] [--dim 128]

An impression is a product shown in a list; lists have ten, and one in twenty explores. For each number of impressions:
starts PostgreSQL, writes the catalogue, two weeks of lists and what shoppers did with them by COPY, and lets the real
night work on it in a process of its own. Prints a table of each step: seconds by the clock and of the processors, the
night's and PostgreSQL's, which other work on the machine lengthens less; and the largest memory: what the process held
by itself (anonymous pages) and with the pages of files it had mapped, which the kernel takes back when they are needed
elsewhere, and what all processes of PostgreSQL held. With several numbers, prints how many times the time of the least
the most took, step by step, and exits with 1 when the night took more than proportionally longer, or held more than
twice as much. Exits with 1, too, when a night did not end.
"""

import argparse
import json
import multiprocessing
import os
import sys
import tempfile
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from backend.db import connect, session_factory, session_scope
from benchmarks.clicked_shop import PAGE, shop_for, stock
from benchmarks.search import Stack, stack

MOST_GROWTH = 1.15
"""How much longer than in proportion the whole night may take: both runs are measured once."""

MOST_HELD = 2.0
COLUMNS = ("seconds", "cpu", "postgres_cpu", "held_mb", "peak_mb", "postgres_mb")
QUERIES_A_LIST = 1 / 50
MOST_QUERIES = 10_000


def main() -> None:
    """Measure, print, judge."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--impressions", type=int, nargs="+", default=[100_000, 1_000_000])
    arguments.add_argument("--products", type=int, default=100_000)
    arguments.add_argument("--dim", type=int, default=128)
    given = arguments.parse_args()
    found = {}
    for impressions in sorted(given.impressions):
        with tempfile.TemporaryDirectory(prefix="bench") as folder, stack(Path(folder)) as started:
            found[impressions] = measured(started, Path(folder), impressions, given.products, given.dim)
        print(table(impressions, given.products, given.dim, found[impressions]), flush=True)
    sys.exit(0 if len(found) < 2 or held(found) else 1)


def held(found: dict[int, list[dict[str, Any]]]) -> bool:
    """Whether time grew at most in proportion, and memory stayed; printed, step by step."""
    least, most = min(found), max(found)
    growth = most / least
    print(f"\n{growth:g} times the impressions:\n\n| step | times the CPU | times the memory held |")
    print("|------|--------------:|----------------------:|")
    many = {step["name"]: step for step in found[most]}
    for few in found[least]:
        if (step := many.get(few["name"])) is not None:
            print(f"| {few['name']} | {worked(step) / worked(few):.1f} | {step['held_mb'] / few['held_mb']:.2f} |")
    seconds = sum(map(worked, found[most])) / sum(map(worked, found[least]))
    memory = max(step["held_mb"] for step in found[most]) / max(step["held_mb"] for step in found[least])
    print(f"| all | {seconds:.1f} | {memory:.2f} |")
    return bool(seconds <= MOST_GROWTH * growth and memory <= MOST_HELD)


def worked(step: dict[str, Any]) -> float:
    """CPU seconds of a step, with those of PostgreSQL; a hundredth, the clock of the kernel, at least."""
    return float(max(step["cpu"] + step["postgres_cpu"], 0.01))


def table(impressions: int, products: int, dim: int, steps: list[dict[str, Any]]) -> str:
    """Steps as lines of a table."""
    lists = impressions // PAGE
    lines = [
        f"\n{impressions:,} impressions in {lists:,} lists, {products:,} products, {dim} dimensions\n",
        "| step | seconds | CPU s | of PostgreSQL | held MB | with maps MB | PostgreSQL MB | |",
        "|------|--------:|------:|--------------:|--------:|-------------:|--------------:|-|",
    ]
    for step in steps:
        numbers = " | ".join(f"{step[name]:,.1f}" for name in COLUMNS)
        lines.append(f"| {step['name']} | {numbers} | {step['said']} |")
    sums = " | ".join(f"{sum(step[name] for step in steps):,.1f}" for name in COLUMNS[:3])
    lines.append(f"| all | {sums} | | | | |")
    return "\n".join(lines)


def measured(started: Stack, folder: Path, impressions: int, products: int, dim: int) -> list[dict[str, Any]]:
    """What each step of a night of this shop cost."""
    engine = connect(started.database)
    with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        for setting in ("fsync", "full_page_writes"):  # of the writing of the shop: the night writes next to nothing
            connection.exec_driver_sql(f"ALTER SYSTEM SET {setting} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    sessions = session_factory(engine)
    lists = impressions // PAGE
    queries = min(max(int(lists * QUERIES_A_LIST), 100), MOST_QUERIES)
    shop = stock(sessions, products, queries, dim)
    shop_for(sessions, shop, lists)
    np.save(folder / "queries.npy", shop.queries)
    del shop
    engine.dispose()
    arguments = (started.environment, folder)
    night = multiprocessing.get_context("spawn").Process(target=work, args=arguments)
    night.start()
    night.join()
    if night.exitcode:
        sys.exit(f"The night ended with {night.exitcode}; expected 0.")
    return list(json.loads((folder / "steps.json").read_bytes()))


def work(environment: dict[str, str], folder: Path) -> None:
    """Do a night in this process, and leave what its steps cost."""
    os.environ.update(environment)
    from backend.learning.nightly.begin import NightAsked, begin_night
    from backend.learning.nightly.night import Works
    from backend.learning.nightly.runs import steps_of
    from backend.learning.nightly.steps import NIGHT
    from backend.learning.nightly.work import take_up
    from backend.queue import Queue
    from backend.settings import Settings

    settings = Settings()
    sessions = session_factory(connect(settings.database_url))
    vectors = np.load(folder / "queries.npy", mmap_mode="r")

    def encode(texts: Sequence[str]) -> Any:
        return np.asarray(vectors[[int(one.split()[-1]) for one in texts]])

    with session_scope(sessions) as session:
        night = begin_night(session, settings, NightAsked("benchmark", item_heads=False)).id
    meter = Meter(folder)
    works = Works(sessions, Queue(settings.redis_url), settings, lambda _: encode, moment=meter.moment)
    take_up(works, NIGHT, night)
    with session_scope(sessions) as session:
        said = {row.name: row.result for row in steps_of(session, night)}
    meter.write(folder / "steps.json", said)


class Meter:
    """Seconds and memory of what lies between two moments."""

    def __init__(self, folder: Path) -> None:
        self._postmaster = int((folder / "pg" / "postmaster.pid").read_text().split()[0])
        self._steps: list[dict[str, Any]] = []
        self._began = (0.0, 0.0, 0.0)
        self._held = self._postgres = 0.0
        threading.Thread(target=self._watch, daemon=True).start()

    def moment(self, step: str, moment: str) -> None:
        """A step has begun, or is made."""
        if moment == "begun":
            Path("/proc/self/clear_refs").write_text("5")  # the largest resident memory counts from here
            self._held = self._postgres = 0.0
            self._began = self._clocks()
        elif moment == "made":
            self._look()  # steps may be shorter than the time between two looks
            spent = dict(zip(COLUMNS, np.subtract(self._clocks(), self._began).tolist(), strict=False))
            memory = {"held_mb": self._held, "peak_mb": status("self", "VmHWM"), "postgres_mb": self._postgres}
            self._steps.append({"name": step} | spent | memory)

    def _clocks(self) -> tuple[float, float, float]:
        """Seconds by the clock, of this process, and of PostgreSQL with those of its processes that ended."""
        served = psutil.Process(self._postmaster)
        times = served.cpu_times()
        spent = times.children_user + times.children_system
        for one in served.children():
            own = one.cpu_times()
            spent += own.user + own.system
        return time.perf_counter(), time.process_time(), spent

    def write(self, path: Path, said: dict[str, dict[str, Any]]) -> None:
        """Leave everything, with what the steps say of themselves."""
        for one in self._steps:
            one["said"] = ", ".join(f"{name} {value}" for name, value in said[one["name"]].items())[:160]
        path.write_text(json.dumps(self._steps))

    def _watch(self) -> None:
        while True:
            self._look()
            time.sleep(0.05)

    def _look(self) -> None:
        self._held = max(self._held, status("self", "RssAnon"))
        self._postgres = max(self._postgres, self._postgres_now())

    def _postgres_now(self) -> float:
        try:
            served = psutil.Process(self._postmaster).children()
        except psutil.Error:
            return 0.0
        return sum(status(one.pid, "RssAnon") for one in served)


def status(process: int | str, name: str) -> float:
    """A line of what the kernel knows of a process, in MB; 0 where it has ended."""
    try:
        lines = Path(f"/proc/{process}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return next((int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:")), 0.0)


if __name__ == "__main__":
    main()
