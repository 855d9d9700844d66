"""The worlds and seeds that the statistics of experiments are tested in."""

import tomllib
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("known_truth.toml")

TRUTH: dict[str, Any] = tomllib.loads(_FILE.read_text())
