"""A trained arm as files: heads of queries, heads of items where there are any, and what it came to as JSON."""

import json
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from backend.ml.click_training.plan import ClickEpoch, TrainedArm
from backend.ml.head_files import dump_item_heads, dump_query_heads, load_item_heads, load_query_heads


def save_arm(arm: TrainedArm, folder: Path, encoder_id: str) -> None:
    """Write ``<name>.safetensors``, ``<name>.items.safetensors`` and at last ``<name>.json``: with that it is whole."""
    folder.mkdir(parents=True, exist_ok=True)
    _write(folder / f"{arm.name}.safetensors", dump_query_heads(arm.heads, encoder_id))
    if arm.items is not None:
        _write(folder / f"{arm.name}.items.safetensors", dump_item_heads(arm.items, encoder_id))
    _write(folder / f"{arm.name}.json", json.dumps(described(arm), indent=1).encode())


def load_arm(folder: Path, name: str, encoder_id: str) -> TrainedArm | None:
    """What was written whole; None where it was not.

    Raises:
        ValueError: the heads are damaged or of another encoder.
    """
    path = folder / f"{name}.json"
    if not path.exists():
        return None
    told: dict[str, Any] = json.loads(path.read_bytes())
    heads = load_query_heads((folder / f"{name}.safetensors").read_bytes(), encoder_id)
    items = None
    if told["items"]:
        items = load_item_heads((folder / f"{name}.items.safetensors").read_bytes(), encoder_id)
    history = tuple(ClickEpoch(**epoch) for epoch in told["history"])
    return TrainedArm(name, heads, items, told["gamma"], history, told["report"])


def described(arm: TrainedArm) -> dict[str, Any]:
    """All but the weights, as JSON."""
    history: list[Mapping[str, Any]] = [asdict(epoch) for epoch in arm.history]
    told = {"name": arm.name, "gamma": arm.gamma, "items": arm.items is not None}
    return told | {"history": history, "report": arm.report}


def _write(path: Path, data: bytes) -> None:
    partial = path.with_suffix(path.suffix + ".partial")
    partial.write_bytes(data)
    partial.replace(path)
