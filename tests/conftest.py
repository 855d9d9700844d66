"""Fixtures that every room's tests may use."""

import os

import pytest
from hypothesis import HealthCheck, settings
from xdist.scheduler import LoadScopeScheduling

pytest_plugins = [
    "tests.fixtures.database",
    "tests.fixtures.components",
    "tests.fixtures.milvus_server",
    "tests.fixtures.stacks",
    "tests.fixtures.api",
    "tests.fixtures.encoders",
    "tests.fixtures.captioners",
    "tests.fixtures.hostile",
    "tests.fixtures.shop_server",
    "tests.fixtures.openai_server",
]

# A machine that is busy with other things is slow: that says nothing of what is tested. Examples are the same in every
# run, so that a red run is red again; who looks for new ones asks for them: MORELIKE_FUZZ_EXAMPLES=2000.
settings.register_profile(
    "repeatable",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize="MORELIKE_FUZZ_EXAMPLES" not in os.environ,
)
settings.load_profile("repeatable")

# what a test asks for is what it sees, unless it is a test of those who see something else
os.environ |= {f"MORELIKE_{of}_SHARE": "0" for of in ("HOLDOUT", "EXPLORATION", "GUARD")}


class Together(LoadScopeScheduling):
    """Tests of a file stay together where several processes run them, and so do all that share the browser's shop."""

    def _split_scope(self, nodeid: str) -> str:
        return "tests/browser" if nodeid.startswith("tests/browser/") else nodeid.partition("::")[0]


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Together:
    """The one above, for any ``-n``; by itself it would begin with the files of the most tests, not the longest."""
    config.option.loadscopereorder = False
    return Together(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """What takes minutes comes first: at the end one process would wait for the other."""
    items.sort(key=lambda item: not any(item.get_closest_marker(name) for name in ("faults", "browser")))
