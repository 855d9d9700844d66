"""The nightly job, as a worker does it."""

import threading
from collections.abc import Sequence
from datetime import UTC, datetime

from backend.db import session_scope
from backend.generations.models import EncoderRecord
from backend.learning.adapter_data import Encode
from backend.learning.nightly.begin import SCHEDULE, NightAsked, NightRunning, begin_night, due_night, is_work_due
from backend.learning.nightly.night import Works, deeds_left
from backend.learning.nightly.runs import running_night
from backend.learning.nightly.steps import NIGHT
from backend.learning.nightly.work import take_up
from backend.logs import get_logger
from backend.ml.pairs import Vectors
from workers.components import Components

log = get_logger(__name__)


def nights_due(made: Components) -> bool:
    """Whether a night's time has come, nobody works on the one under way, or one that ended left what shoppers did."""
    with session_scope(made.sessions) as session:
        if is_work_due(session, made.settings.nightly_at, datetime.now(UTC)):
            return True
        return running_night(session) is None and bool(deeds_left(made.settings.home))


def work_on_nights(made: Components, stopping: threading.Event) -> None:
    """Begin the night whose time has come, and work on the one that is under way."""
    now = datetime.now(UTC)
    with session_scope(made.sessions) as session:
        night = due_night(session, made.settings.nightly_at, now)
    if night is not None:
        try:
            with session_scope(made.sessions) as session:
                begin_night(session, made.settings, NightAsked(SCHEDULE, night), now)
        except NightRunning as error:  # somebody else was quicker, or one that was asked for goes on
            log.info("night_not_begun", why=error.sentence())
    run = take_up(_works(made, stopping), NIGHT)
    if run is not None:
        log.info("night_left", night=run.id, state=run.state, outcome=run.outcome, reason=run.reason)


def _works(made: Components, stopping: threading.Event) -> Works:
    def encoder(record: EncoderRecord) -> Encode:
        opened = made.encoders.get(record.id, record.source)

        def encode(texts: Sequence[str]) -> Vectors:
            with made.turn_beside():
                return opened.encode_texts(texts)

        return encode

    return Works(made.sessions, made.queue, made.settings, encoder, stop=stopping.is_set)
