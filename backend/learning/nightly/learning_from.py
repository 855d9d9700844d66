"""What the steps of a night learn from, as they share it: read from artifacts, once a process."""

from dataclasses import dataclass

from backend.db import session_scope
from backend.errors import Conflict
from backend.generations.heads import read_query_heads
from backend.generations.models import EncoderRecord, Generation
from backend.generations.repository import Build, get_build
from backend.learning.click_logs.columns import load
from backend.learning.nightly.items import Catalogue, read_items
from backend.learning.nightly.night import ITEMS, LOG, Night
from backend.ml.click_training.problem import Problem
from backend.ml.clicks.click_log import ClickLog
from backend.ml.clicks.context_propensities import ContextPropensities
from backend.ml.heads import QueryHeads
from backend.ml.scoring import Calibration

PROPENSITIES = "propensities.json"


@dataclass(frozen=True)
class Production:
    """What was live when the night began.

    Args:
        generation: its number.
        encoder: whose vectors are learned from.
        build: that it searches.
        heads: of its queries.
        calibration: of its scores.
    """

    generation: int
    encoder: EncoderRecord
    build: Build
    heads: QueryHeads
    calibration: Calibration


def production_of(night: Night) -> Production:
    """What was live when ``night`` began.

    Raises:
        Conflict: it is gone.
    """
    with session_scope(night.works.sessions) as session:
        generation = session.get(Generation, night.row.production_id)
        if generation is None:
            raise Conflict("What was live when the night began is gone.", found=f"g{night.row.production_id}")
        build = get_build(session, generation.index_build_id)
        encoder = session.get_one(EncoderRecord, build.encoder_id)
        heads = read_query_heads(generation.query_heads, encoder.id)
        return Production(generation.id, encoder, build, heads, Calibration.from_json(generation.calibration))


def log_of(night: Night) -> ClickLog:
    """What shoppers did."""
    return night.once("log", lambda: load(night.folder / LOG))


def propensities_of(night: Night) -> ContextPropensities:
    """How likely each place is looked at."""
    return night.once("propensities", lambda: ContextPropensities.from_json(night.read_json(PROPENSITIES)))


def catalogue_of(night: Night) -> Catalogue:
    """The catalogue as vectors."""
    encoder = production_of(night).encoder
    return night.once("catalogue", lambda: read_items(night.works.sessions, encoder, night.folder / ITEMS, night.told))


def problem_of(night: Night) -> Problem:
    """All that an arm is trained with."""
    return night.once("problem", lambda: _problem(night))


def _problem(night: Night) -> Problem:
    production, log, catalogue = production_of(night), log_of(night), catalogue_of(night)
    items, heads = catalogue.items, production.build.heads
    adapted = production.build.item_heads is not None
    return Problem(
        log=log,
        theta=propensities_of(night).of_rows(log),
        items=items.through(heads) if adapted else items,
        calibration=production.calibration,
        production=production.heads,
        captions=catalogue.captions,
        raw=items if adapted else None,
        item_heads=heads,
    )
