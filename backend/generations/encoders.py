"""The encoder a process opens, and the record of it that features and builds are keyed by."""

from pathlib import Path

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.generations.models import EncoderRecord
from backend.ml.encoder import Encoder, load_encoder
from backend.settings import Settings

DEMO_ENCODER = Path(__file__).resolve().parent.parent / "demo" / "encoder"
"""Data folder of the demo encoder: read by path, because the demo stands above this room."""


class EncoderMismatch(Conflict):
    """The encoder asked for is not the one the catalogue was embedded with."""

    title = "Encoder does not match the catalogue"


def open_encoder(settings: Settings) -> Encoder:
    """The encoder that ``settings.encoder`` names, on the device and in the arithmetic asked for."""
    return load_encoder(
        settings.encoder,
        device=settings.device,
        precision=settings.precision,
        threads=settings.torch_threads,
        demo_dir=DEMO_ENCODER,
    )


def register_encoder(session: Session, encoder: Encoder) -> None:
    """Record ``encoder`` unless it is known. The id holds 48 bits of the weights' hash: all of it is compared."""
    values = {
        "id": encoder.id,
        "name": encoder.name[:400],
        "weights_hash": encoder.weights_hash,
        "dim": encoder.dim,
    }
    session.execute(insert(EncoderRecord).values(values).on_conflict_do_nothing())
    known = session.get_one(EncoderRecord, encoder.id)
    if (known.weights_hash, known.dim) != (encoder.weights_hash, encoder.dim):
        raise EncoderMismatch(
            f"another encoder is already known as {encoder.id!r}",
            found={"weights_hash": encoder.weights_hash, "dim": encoder.dim},
            expected={"weights_hash": known.weights_hash, "dim": known.dim},
        )
