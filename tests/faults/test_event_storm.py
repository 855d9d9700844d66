"""Nothing that was accepted is lost and nothing counts twice, whatever is killed and however often it is sent."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.faults.event_storm import Storm, database, kept
from tests.fixtures.stacks import RunningStack

pytestmark = [pytest.mark.faults, pytest.mark.slow, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, tiny_encoder_dir: Path) -> Iterator[RunningStack]:
    running = RunningStack(
        tmp_path_factory.mktemp("storm") / "home", tiny_encoder_dir, MORELIKE_RATE_LIMIT_PER_MINUTE="0"
    )
    try:
        running.start()
        yield running
    finally:
        running.finish()


def test_batches_sent_ten_times_while_api_and_database_are_killed_in_turns(stack: RunningStack) -> None:
    storm = Storm(stack, "long", batches=200, size=50)
    storm.run(["api", "postgres"] * 3)
    with database(stack) as sessions, sessions() as session:
        rows = kept(session, "long")
    assert len(rows) == len(set(rows)) == 10_000
    assert set(rows) == storm.ids
