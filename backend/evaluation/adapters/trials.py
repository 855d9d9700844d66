"""A random search over hyper-parameters (Bergstra and Bengio 2012), every trial of it on record."""

import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np

from backend.errors import Conflict
from backend.evaluation.adapters.experiment import Advance, Outcome, Protocol, ask, cross_validate
from backend.evaluation.adapters.methods import ZERO_SHOT, Adapted, residual
from backend.evaluation.adapters.paired import alone, groups
from backend.evaluation.adapters.report import Row, Searched, row_of
from backend.ml.adapter_plan import AdapterPlan
from backend.ml.metrics import hits, reciprocal_rank
from backend.ml.pairs import Pairs, Rows, split

HELD_OUT = 0.2
"""Share of the products that no trial sees: the chosen one is judged there."""

SPACE: dict[str, Callable[[np.random.Generator], Any]] = {
    "alpha": lambda rng: float(rng.choice([0.1, 0.2, 0.3, 0.4, 0.6])),
    "rate": lambda rng: float(10 ** rng.uniform(-4.5, -2.5)),
    "scale": lambda rng: float(10 ** rng.uniform(1.15, 2.0)),
    "batch": lambda rng: int(rng.choice([64, 128, 256, 512])),
    "dropout": lambda rng: float(rng.choice([0.0, 0.1, 0.3])),
    "weight_decay": lambda rng: float(10 ** rng.uniform(-3, -0.5)),
    "identity": lambda rng: float(rng.choice([0.0, 0.1, 0.3, 1.0])),
    "hard_negatives": lambda rng: int(rng.choice([0, 0, 4])),
}
"""What is drawn, and from what."""


def search(
    pairs: Pairs, plan: AdapterPlan, protocol: Protocol, count: int, record: Path, *, advance: Advance
) -> Searched:
    """Draw ``count`` plans around ``plan``, measure each by folds within four fifths of the products, judge the best.

    Trial i is always the same draw: a search that was interrupted goes on, and a longer one begins with a shorter.

    Args:
        pairs: all of them.
        plan: what is not drawn.
        protocol: folds and the first seed; trials are measured with one seed.
        count: trials in all.
        record: JSON lines, one a trial.
        advance: told how far it is.

    Raises:
        Conflict: the record is of other pairs or of another plan.
    """
    apart = _groups_apart(pairs, protocol.first)
    seen, unseen = (pairs.only(pairs.rows[rows]) for rows in apart)
    inner = replace(protocol, seeds=1)
    within = alone(seen)
    done = _read(record, key := _key(pairs, plan, inner))
    plain = _score(cross_validate(within, ZERO_SHOT, inner, advance=lambda *_: None))
    for number in range(len(done), count):
        advance("hyper-parameters", number, count)
        drawn = draw(protocol.first, number)
        began = time.perf_counter()
        outcome = cross_validate(within, residual("", replace(plan, **drawn)), inner, advance=lambda *_: None)
        trial = {"key": key, "number": number, "drawn": drawn, **_numbers(outcome), "before": plain}
        trial["seconds"] = round(time.perf_counter() - began, 2)
        with record.open("a", encoding="utf-8") as lines:
            lines.write(json.dumps(trial) + "\n")
        done.append(trial)
    advance("hyper-parameters", count, count)
    best = max(done[:count], key=lambda trial: trial["score"])
    chosen, default = (
        _judged(name, tried, seen, unseen, protocol)
        for name, tried in (("chosen", replace(plan, **best["drawn"])), ("as given", plan))
    )
    return Searched(len(done[:count]), best["drawn"], best["score"], plain, chosen, default)


def draw(seed: int, number: int) -> dict[str, Any]:
    """What trial ``number`` tries."""
    rng = np.random.default_rng((seed, number))
    return {name: drawn(rng) for name, drawn in SPACE.items()}


def _groups_apart(pairs: Pairs, seed: int) -> tuple[Rows, Rows]:
    """Places (k,) of pairs that trials see, and of those that they do not."""
    group_of = groups(pairs)
    order = np.random.default_rng((seed, 3)).permutation(np.unique(group_of))
    hidden = np.isin(group_of, order[: max(1, round(HELD_OUT * len(order)))])
    return np.flatnonzero(~hidden), np.flatnonzero(hidden)


def _judged(name: str, plan: AdapterPlan, seen: Pairs, unseen: Pairs, protocol: Protocol) -> Row:
    """A plan learned from what trials saw, on what they did not, over all pictures."""
    learned, chosen_by = split(alone(seen), (1 - protocol.chosen_by, protocol.chosen_by), seed=protocol.first)
    seeds = range(protocol.first, protocol.first + protocol.seeds)
    fits = [residual(name, plan).fit(learned, chosen_by, seed) for seed in seeds]
    asked, plain = (
        ask(one, unseen, some, seed=protocol.first) for one, some in ((name, fits), ("", [Adapted()] * len(fits)))
    )
    return row_of(asked, plain, unseen.products)


def _numbers(outcome: Outcome) -> dict[str, float]:
    return {
        "score": _score(outcome),
        "recall_10": float(hits(outcome.ranks, 10).mean()),
        "mrr": float(reciprocal_rank(outcome.ranks).mean()),
        "drift_text": outcome.drift_text,
        "drift_image": outcome.drift_image,
    }


def _score(outcome: Outcome) -> float:
    return float(hits(outcome.ranks, 10).mean() + reciprocal_rank(outcome.ranks).mean())


def _read(record: Path, key: str) -> list[dict[str, Any]]:
    """Whole trials of the record; a line that a killed run left unfinished is dropped."""
    if not record.exists():
        return []
    trials = []
    for line in record.read_text(encoding="utf-8").splitlines(keepends=True):
        if not line.endswith("\n"):
            break
        trials.append(json.loads(line))
    if any(trial["key"] != key for trial in trials):
        raise Conflict(f"{record} records other pairs or another plan.", expected="the same, or no such file")
    record.write_text("".join(json.dumps(trial) + "\n" for trial in trials), encoding="utf-8")
    return trials


def _key(pairs: Pairs, plan: AdapterPlan, protocol: Protocol) -> str:
    digest = hashlib.sha256(json.dumps([asdict(plan), asdict(protocol)], sort_keys=True).encode())
    for array in (pairs.texts, pairs.images, pairs.image_of, pairs.product_of, pairs.rows):
        digest.update(np.ascontiguousarray(array).data)
    return digest.hexdigest()[:16]
