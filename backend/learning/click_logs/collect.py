"""The log of a window of days: read out of PostgreSQL in one snapshot, joined in blocks, labelled, kept as columns."""

import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.adapter_data import Encode, Told
from backend.learning.click_logs.arms import arms_of
from backend.learning.click_logs.beside import write_judgements
from backend.learning.click_logs.chosen import Window, choose
from backend.learning.click_logs.columns import load, replace_folder, write_about
from backend.learning.click_logs.gallery import read_shelf
from backend.learning.click_logs.grading import grade
from backend.learning.click_logs.joining import blocks
from backend.learning.click_logs.questions import Questions, read_questions
from backend.learning.click_logs.reading import set_aside
from backend.learning.click_logs.spool import BLOCK
from backend.learning.click_logs.tossed import write_coins
from backend.learning.click_logs.writing import Writer
from backend.ml.clicks.click_log import ClickLog, Context


@dataclass(frozen=True)
class CollectOptions:
    """How a log is collected.

    Args:
        block: lists that are put together at a time: memory is in proportion to it, and to nothing else but the
            distinct queries, the shoppers and 4 bytes a list.
    """

    block: int = BLOCK


def collect(
    sessions: sessionmaker[Session],
    encoder: EncoderRecord,
    encode: Encode,
    folder: Path,
    window: Window,
    told: Told,
    options: CollectOptions | None = None,
) -> ClickLog:
    """Make the log of ``window`` in ``folder``, which is whole when it is there; its columns are memory maps.

    Args:
        sessions: PostgreSQL.
        encoder: whose raw vectors queries and products are known by.
        encode: texts to unit rows of that encoder.
        folder: of the log; one that is there is replaced.
        window: lists served, and events that came, from the one until just before the other.
        told: what is under way.
        options: how.
    """
    made = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(made, ignore_errors=True)
    made.mkdir(parents=True)
    with session_scope(sessions) as session:
        # everything is read as it is at one moment
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        questions, about = _collected(session, encoder, made, window, told, options or CollectOptions())
    questions.write_vectors(made / "asked.vectors.npy", encode, told)
    asked = questions.asked
    write_about(made, keys=tuple(one.key for one in asked), kinds=tuple(one.kind for one in asked), **about)
    replace_folder(made, folder)
    return load(folder)


def _collected(
    session: Session, encoder: EncoderRecord, made: Path, window: Window, told: Told, options: CollectOptions
) -> tuple[Questions, dict[str, Any]]:
    """Write everything but the vectors of queries."""
    chosen = choose(session, window)
    lists = chosen.pop("lists")
    shelf = read_shelf(session, encoder.id)
    np.save(made / "products.npy", shelf.products)
    questions = read_questions(session, encoder.id, encoder.dim)
    units = session.scalars(text("SELECT count(*) FROM night_units")).one()
    writer = Writer(made, shelf, _contexts(session), questions.number, units, lists)
    aside = set_aside(session, window, made / "aside", lists, options.block, told)
    for number, block in enumerate(blocks(aside, lists, shelf, size=options.block)):
        writer.add(block, number * options.block)
        told("Lists joined", writer.counts.lists, lists)
    writer.close()
    shutil.rmtree(made / "aside")
    cuts = writer.dwell.cuts()
    satisfied = grade(made, cuts)
    coins = write_coins(session, made, shelf, writer.kept, window, told)
    judgements = write_judgements(session, made, shelf, questions.number, window)
    notes = _noted(writer, chosen) | {
        "satisfied": satisfied,
        "randomised": coins,
        "judgements": judgements,
        "cuts": cuts.to_json(writer.devices, shelf.categories),
        "events": dict(aside.events),
        "arms": arms_of(session, window),
        "window": {"from": window[0].isoformat(), "to": window[1].isoformat()},
    }
    cohorts = tuple(session.scalars(text("SELECT name FROM night_cohorts ORDER BY cohort")))
    return questions, {"contexts": writer.contexts, "cohorts": cohorts, "notes": notes}


def _noted(writer: Writer, chosen: Mapping[str, int]) -> dict[str, Any]:
    counts = writer.counts
    left_out = {**chosen, "unseen": counts.unseen, "query_unknown": counts.unasked}
    acted, lost = sum(counts.acted.values()), sum(counts.lost.values())
    return {
        "lists": counts.lists,
        "rows": counts.rows,
        "viewed": counts.viewed,
        "clicked": counts.clicked,
        "units": writer.units,
        "products_gone": counts.gone,
        "left_out": {reason: count for reason, count in left_out.items() if count},
        "viewport_loss": {
            "all": lost / acted if acted else 0.0,
            "by_device": {name: counts.lost[name] / n for name, n in counts.acted.items() if n},
        },
    }


def _contexts(session: Session) -> tuple[Context, ...]:
    rows = session.execute(text("SELECT device, layout, columns, query_type FROM night_contexts ORDER BY context"))
    return tuple(Context(row.device, row.layout, row.columns, row.query_type) for row in rows)
