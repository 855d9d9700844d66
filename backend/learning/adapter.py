"""Training an adapter from a shop, what it gains and what it forgets, and the generation that comes of it."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.generations.adapters import keep_adapter
from backend.generations.repository import live_encoder
from backend.learning.adapter_parts import Parts
from backend.ml.adapter_gate import GateReport, Scaling, judge, scaled_best
from backend.ml.adapter_plan import AdapterEpoch, AdapterPlan, AdapterRun
from backend.ml.exact_ranks import pair_ranks
from backend.ml.head_files import dump_item_heads, dump_query_heads
from backend.ml.heads import Head, ItemHeads, QueryHeads, drift
from backend.ml.pairs import Pairs
from backend.ml.training import train_adapter

_DRIFT_OF = 2000
"""Vectors of each side that drift is measured on."""


@dataclass(frozen=True)
class Drift:
    """Mean of 1 - cos(h(x), x) over texts that were learned, over those that must not be forgotten, and pictures."""

    learned: float
    remembered: float
    pictures: float


@dataclass(frozen=True)
class TrainedAdapter:
    """Trained heads and everything that was measured.

    Args:
        query_heads: as `dump_query_heads` writes them.
        item_heads: as `dump_item_heads` writes them; None where the index stays as it is.
        run: how training went.
        scaling: the scales tried, and the best.
        gate: the verdict.
        drift: how far vectors move.
        data_range: what it was learned from.
    """

    query_heads: bytes
    item_heads: bytes | None
    run: AdapterRun
    scaling: Scaling
    gate: GateReport
    drift: Drift
    data_range: dict[str, Any]

    @property
    def report(self) -> dict[str, Any]:
        """What generations keep of it."""
        return self.gate.to_json() | {
            "plan": asdict(self.run.plan),
            "epochs": self.run.history[-1].number,
            "stopped": self.run.stopped,
            "seconds": round(self.run.seconds, 1),
            "drift": asdict(self.drift),
            "scales": [asdict(one) for one in self.scaling.tried],
        }


def train_on_parts(
    parts: Parts,
    encoder_id: str,
    plans: Sequence[AdapterPlan],
    *,
    data_range: dict[str, Any],
    device: torch.device | str = "cpu",
    checkpoint: Callable[[AdapterPlan], Path | None] = lambda _: None,
    on_step: Callable[[int, int], None] | None = None,
    on_epoch: Callable[[AdapterEpoch], None] | None = None,
) -> TrainedAdapter:
    """Train heads, scale them to what forgets nothing, and judge the best on products that had no part in any of it.

    Args:
        parts: of the catalogue.
        encoder_id: whose vectors they are.
        plans: how; of several, what does best on the deciding part at its best scale is judged, and nothing else is.
        data_range: what they come from.
        device: where.
        checkpoint: where a plan goes on, if it is there; written after each epoch.
        on_step: told how many of how many steps of an epoch are done.
        on_epoch: told what each epoch came to.
    """
    tried = list[tuple[AdapterRun, Scaling]]()
    for plan in plans:
        run = train_adapter(
            parts.training,
            parts.validation,
            plan,
            replay=parts.replay,
            device=device,
            checkpoint=checkpoint(plan),
            on_step=on_step,
            on_epoch=on_epoch,
        )
        tried.append((run, scaled_best(run.text, run.image, parts.validation, parts.kept)))
    return _judged(parts, encoder_id, *max(tried, key=lambda one: one[1].best.merit), data_range)


def _judged(
    parts: Parts, encoder_id: str, run: AdapterRun, scaling: Scaling, data_range: dict[str, Any]
) -> TrainedAdapter:
    text, image = scaling.text, scaling.image
    gate = judge(
        pair_ranks(parts.judged),
        pair_ranks(parts.judged, text=text, image=image),
        pair_ranks(parts.remembered),
        pair_ranks(parts.remembered, text=text, image=image),
        gamma=scaling.best.gamma,
        products=parts.judged.products,
    )
    query, item = QueryHeads(text, image), ItemHeads(image, None if image is None else text)
    return TrainedAdapter(
        query_heads=dump_query_heads(query, encoder_id),
        item_heads=None if image is None else dump_item_heads(item, encoder_id),
        run=run,
        scaling=scaling,
        gate=gate,
        drift=_drift(parts, text, image),
        data_range=data_range | {"retention": parts.retention_of, "seed": run.plan.seed} | _sizes(parts),
    )


def keep(session: Session, encoder_id: str, trained: TrainedAdapter, *, promote: bool, actor: str) -> int:
    """Make a generation of a trained adapter; its number. Where the gate refused it, it can never go live.

    Raises:
        Conflict: another encoder is live by now.
    """
    encoder = live_encoder(session)
    if encoder is None or encoder.id != encoder_id:
        detail = "The encoder changed while the adapter was trained."
        raise Conflict(detail, found=encoder and encoder.id, expected=encoder_id)
    return keep_adapter(
        session,
        query_heads=trained.query_heads,
        item_heads=trained.item_heads,
        gate_report=trained.report,
        data_range=trained.data_range,
        promote=promote,
        actor=actor,
    )


def _drift(parts: Parts, text: Head, image: Head | None) -> Drift:
    some = parts.judged.images[:_DRIFT_OF]
    return Drift(
        _moved(parts.judged, text),
        _moved(parts.remembered, text),
        0.0 if image is None else drift(some, image(np.asarray(some))),
    )


def _moved(pairs: Pairs, head: Head) -> float:
    raw = np.asarray(pairs.texts[pairs.rows[:_DRIFT_OF]])
    return drift(raw, head(raw))


def _sizes(parts: Parts) -> dict[str, int]:
    """How many texts and products each part has."""
    return {
        "pictures": len(parts.training.images),
        "pairs": len(parts.training),
        "products": len(np.unique(parts.training.products)),
        "validation": len(parts.validation),
        "judged": len(parts.judged),
        "remembered": len(parts.remembered),
        "replayed": 0 if parts.replay is None else len(parts.replay),
    }
