"""Fixtures that every room's tests may use."""

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
