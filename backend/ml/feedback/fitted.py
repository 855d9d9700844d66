"""What relevance feedback needs to know of one generation, measured on its catalogue."""

import base64
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from backend.ml.feedback.inputs import Matrix, Vector
from backend.ml.feedback.policy import Likes


@dataclass(frozen=True)
class Gate:
    """Expected gain in reciprocal rank of a refinement from the list alone, linear in its confidence features.

    Args:
        margin: per unit of the cosine between the first and the second product.
        entropy: per unit of the entropy of the weights, 0 to 1.
        similarity: per unit of cos(q, q').
        bias: added.
    """

    margin: float
    entropy: float
    similarity: float
    bias: float


@dataclass(frozen=True, eq=False)
class Fitted:
    """Calibration of feedback. Everything unknown is None, and sensible defaults take its place.

    Args:
        likes: weights of likes and dislikes.
        image_mean: (d,) mean of the catalogue's image vectors, not normalised.
        caption_mean: (d,) likewise of its captions.
        words_mean: (d,) likewise of its captions as they ask; None where queries by words lie as captions do.
        gates: by strategy, when a refinement from the list alone promises a gain.
        references: (n, d) queries for nearest-neighbour normalisation.
    """

    likes: Likes | None = None
    image_mean: Vector | None = None
    caption_mean: Vector | None = None
    gates: dict[str, Gate] | None = None
    references: Matrix | None = None
    words_mean: Vector | None = None

    def with_gates_of(self, other: "Fitted") -> "Fitted":
        """These values, and the gates of ``other`` for strategies that have none here."""
        gates = (other.gates or {}) | (self.gates or {})
        return replace(self, gates=gates or None)

    def to_json(self) -> dict[str, Any]:
        """JSON object that ``from_json`` turns back into equal values; references at half precision."""
        return {
            "likes": asdict(self.likes) if self.likes else None,
            "image_mean": _encode(self.image_mean, "<f4"),
            "caption_mean": _encode(self.caption_mean, "<f4"),
            "gates": {name: asdict(gate) for name, gate in self.gates.items()} if self.gates else None,
            "references": _encode(self.references, "<f2"),
            "words_mean": _encode(self.words_mean, "<f4"),
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Fitted":
        """Inverse of ``to_json``; what is absent is unknown."""
        likes, gates = data.get("likes"), data.get("gates")
        return cls(
            Likes(**likes) if likes else None,
            _decode(data.get("image_mean"), "<f4"),
            _decode(data.get("caption_mean"), "<f4"),
            {name: Gate(**gate) for name, gate in gates.items()} if gates else None,
            _decode(data.get("references"), "<f2"),
            _decode(data.get("words_mean"), "<f4"),
        )


UNFITTED = Fitted()
"""A generation that nothing was measured on."""


def _encode(values: Matrix | None, form: str) -> dict[str, Any] | None:
    if values is None:
        return None
    data = base64.b64encode(np.ascontiguousarray(values, dtype=form).tobytes()).decode()
    return {"shape": list(values.shape), "data": data}


def _decode(kept: dict[str, Any] | None, form: str) -> Matrix | None:
    if kept is None:
        return None
    values = np.frombuffer(base64.b64decode(kept["data"]), dtype=form)
    return values.reshape(kept["shape"]).astype(np.float32)
