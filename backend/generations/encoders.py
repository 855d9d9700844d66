"""The encoder a process opens, and the record of it that features and builds are keyed by."""

import threading
from collections.abc import Collection
from pathlib import Path

from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session

from backend.errors import Conflict
from backend.generations.models import EncoderRecord
from backend.ml.encoder import Encoder, EncoderUnavailableError, load_encoder
from backend.settings import Settings

DEMO_ENCODER = Path(__file__).resolve().parent.parent / "demo" / "encoder"
"""Data folder of the demo encoder: read by path, because the demo stands above this room."""


class EncoderMismatch(Conflict):
    """The encoder asked for is not the one the catalogue was embedded with."""

    title = "Encoder does not match the catalogue"


def open_encoder(settings: Settings, source: str | None = None) -> Encoder:
    """The encoder of ``source``, else of ``settings.encoder``, on the device and in the arithmetic of ``settings``."""
    return load_encoder(
        source or settings.encoder,
        device=settings.device,
        precision=settings.precision,
        threads=settings.torch_threads,
        demo_dir=DEMO_ENCODER,
    )


def open_recorded(settings: Settings, encoder_id: str, source: str | None) -> Encoder:
    """The encoder known as ``encoder_id``: by its recorded source, or by ``settings.encoder`` where that is the same.

    The second way serves machines on which the weights lie elsewhere, and encoders whose source was never recorded.

    Raises:
        EncoderMismatch: neither opens it.
    """
    tried: list[str] = []
    for candidate in dict.fromkeys(one for one in (source, settings.encoder) if one):
        try:
            encoder = open_encoder(settings, candidate)
        except EncoderUnavailableError as error:
            tried.append(f"{candidate}: {error}")
            continue
        if encoder.id == encoder_id:
            return encoder
        tried.append(f"{candidate} is {encoder.id}")
    raise EncoderMismatch(
        f"{encoder_id} cannot be opened here. Put its weights where they were, or name them in MORELIKE_ENCODER.",
        found=tried,
        expected=encoder_id,
    )


def register_encoder(session: Session, encoder: Encoder) -> None:
    """Record ``encoder``, and what opened it last. The id holds 48 bits of the weights' hash: all of it is compared."""
    values = {
        "id": encoder.id,
        "name": encoder.name[:400],
        "weights_hash": encoder.weights_hash,
        "dim": encoder.dim,
        "source": encoder.source or None,
        "drawings_only": encoder.drawings_only,
    }
    newer = {"source": values["source"], "drawings_only": encoder.drawings_only}
    written = insert(EncoderRecord).values(values)
    session.execute(written.on_conflict_do_update(index_elements=["id"], set_=newer))
    known = session.get_one(EncoderRecord, encoder.id, populate_existing=True)
    if (known.weights_hash, known.dim) != (encoder.weights_hash, encoder.dim):
        raise EncoderMismatch(
            f"another encoder is already known as {encoder.id!r}",
            found={"weights_hash": encoder.weights_hash, "dim": encoder.dim},
            expected={"weights_hash": known.weights_hash, "dim": known.dim},
        )


class OpenEncoders:
    """The encoders that a worker has open, each opened once, whichever thread asks first.

    Args:
        settings: device and arithmetic, and the encoder of a new catalogue.

    Attributes:
        warned: sources that are set and not used, of which the log has been told.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._open: dict[str, Encoder] = {}
        self._opening = threading.Lock()
        self.warned: set[str] = set()

    def get(self, encoder_id: str, source: str | None) -> Encoder:
        """The encoder known as ``encoder_id``; see :func:`open_recorded`."""
        found = self._open.get(encoder_id)  # one that is open is not waited for while another is being opened
        if found is not None:
            return found
        with self._opening:
            if encoder_id not in self._open:
                self._open[encoder_id] = open_recorded(self._settings, encoder_id, source)
            return self._open[encoder_id]

    def open(self, source: str) -> Encoder:
        """The encoder that ``source`` opens now.

        Raises:
            EncoderUnavailableError: it cannot be had.
        """
        with self._opening:
            opened = open_encoder(self._settings, source)
            return self._open.setdefault(opened.id, opened)

    def keep(self, encoder_ids: Collection[str]) -> None:
        """Let go of all others."""
        for gone in self._open.keys() - set(encoder_ids):
            self._open.pop(gone, None)
