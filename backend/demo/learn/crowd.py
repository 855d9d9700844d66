"""The crowd as a program of its own: it shops over HTTP and prints a line of JSON for each list, its report last.

A process, not a thread of the API: a crowd that computes must not slow down what it is served.
"""

import argparse
import json
import sys
from threading import Lock
from typing import Any

import httpx
import numpy as np

from backend.demo.learn.scenarios import scenario
from backend.demo.shoppers.session import ListDone
from backend.demo.shoppers.tally import Tally
from backend.demo.shoppers.traffic import DEMO_PRODUCTS, simulate
from backend.errors import AppError


def line_of(done: ListDone) -> dict[str, Any]:
    """A list as the page draws it: places, counted from 0, and the counts that it adds."""
    acts = done.acts
    return {
        "text": done.wish.text,
        "who": done.population.name,
        "columns": done.population.context.columns,
        "shown": len(done.product_ids),
        "looked": np.flatnonzero(acts.examined[0]).tolist(),
        "clicked": np.flatnonzero(acts.clicked[0]).tolist(),
        "satisfied": np.flatnonzero(acts.satisfied[0]).tolist(),
        "seen": int(acts.viewed[0].sum()),
    }


def main(arguments: list[str] | None = None) -> int:
    """Let the crowd of a night shop; 1 where the shop refused or did not answer, with the reason as the last line."""
    parser = argparse.ArgumentParser(prog="backend.demo.learn.crowd", description=__doc__)
    parser.add_argument("url", help="address of the API")
    parser.add_argument("scenario")
    parser.add_argument("night", type=int)
    parser.add_argument("--shoppers", type=int)
    parser.add_argument("--products", type=int, default=DEMO_PRODUCTS)
    given = parser.parse_args(arguments)
    crowd = scenario(given.scenario).crowd(given.night, given.shoppers, given.products)
    printing = Lock()

    def say(said: dict[str, Any]) -> None:
        with printing:
            sys.stdout.write(f"{json.dumps(said)}\n")
            sys.stdout.flush()

    def on_list(done: ListDone, _tally: Tally) -> None:
        say({"list": line_of(done)})

    try:
        with httpx.Client(base_url=given.url, timeout=60.0, trust_env=False) as client:
            report = simulate(crowd, client, on_list=on_list, on_session=lambda done: say({"shoppers": done}))
    except AppError as error:
        say({"error": error.sentence()})
        return 1
    say({"report": report})
    return 0


if __name__ == "__main__":
    sys.exit(main())
