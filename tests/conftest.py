"""Fixtures that every room's tests may use."""

from hypothesis import HealthCheck, settings

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

# a machine that is busy with other things is slow: that says nothing of what is tested
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")
