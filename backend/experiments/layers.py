"""Layers as administrators see them, and the hash that each uses."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import select
from sqlalchemy.orm import Session

from backend.access.audit import record
from backend.errors import Conflict
from backend.experiments.bucketing import BUCKETS, Hashing
from backend.experiments.models import Experiment, Layer
from backend.experiments.plan import LAYERS, LayerName
from backend.experiments.registry import make_layers, new_salt
from backend.experiments.schemas import Strict
from backend.experiments.slices import width
from backend.generations.repository import lock_generations

_EXAMPLE: dict[str, Any] = {
    "name": "ranker",
    "salt": "8d1f2c7a90b3e654",
    "salt_version": 4,
    "hashing": "sha256",
    "free": 0.8,
    "running": ["e3"],
}


class LayerRead(BaseModel):
    """A layer."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE]})

    name: str
    salt: str
    salt_version: int = Field(description="Grows with each new salt; lists are kept with the version they went by.")
    hashing: Literal["sha256", "fnv_v2"]
    free: float = Field(description="Share of its buckets that no running experiment has.")
    running: list[str]


class LayerList(BaseModel):
    """The layers."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"layers": [_EXAMPLE]}]})

    layers: list[LayerRead]


class LayerChange(Strict):
    """The hash that a layer is to use from now on."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"hashing": "fnv_v2"}]})

    hashing: Hashing


def list_layers(session: Session) -> list[LayerRead]:
    """All layers, in their order."""
    make_layers(session)
    layers = {layer.name: layer for layer in session.scalars(select(Layer))}
    return [_read(session, layers[name]) for name in LAYERS]


def change_layer(session: Session, name: LayerName, hashing: Hashing, *, actor: str) -> LayerRead:
    """Let a layer use another hash, under a new salt.

    Raises:
        Conflict: experiments run in it, whose units would all change arms; or it is the holdout's.
    """
    lock_generations(session)
    make_layers(session)
    layer = session.get_one(Layer, name, populate_existing=True)
    shown = _read(session, layer)
    if layer.hashing == hashing:
        return shown
    if name == "holdout":
        raise Conflict("the holdout stays who it is for good, and another hash would choose others", found=hashing)
    if shown.running:
        raise Conflict("experiments run in this layer, and their units would change arms", found=shown.running)
    layer.hashing, layer.salt, layer.salt_version = hashing, new_salt(), layer.salt_version + 1
    session.flush()
    record(session, actor=actor, action="layer.changed", subject=name, details={"hashing": hashing})
    return _read(session, layer)


def _read(session: Session, layer: Layer) -> LayerRead:
    running = select(Experiment.id, Experiment.slices).where(
        Experiment.layer == layer.name, Experiment.status == "running"
    )
    rows = session.execute(running.order_by(Experiment.id)).all()
    taken = sum(width(row.slices) for row in rows)
    return LayerRead(
        name=layer.name,
        salt=layer.salt,
        salt_version=layer.salt_version,
        hashing=layer.hashing,
        free=(BUCKETS - taken) / BUCKETS,
        running=[f"e{row.id}" for row in rows],
    )
