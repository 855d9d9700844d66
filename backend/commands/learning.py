"""What every training from the catalogue begins with: the live encoder, a place to compute, a file to go on from."""

from pathlib import Path
from typing import TYPE_CHECKING

from backend.commands.stores import Stores

if TYPE_CHECKING:
    from backend.generations.models import EncoderRecord


def require_live_encoder(stores: Stores) -> "EncoderRecord":
    """The encoder whose features are learned from.

    Raises:
        Conflict: nothing is live.
    """
    from backend.db import session_scope
    from backend.errors import Conflict
    from backend.generations.repository import live_encoder

    with session_scope(stores.sessions) as session:
        encoder = live_encoder(session)
    if encoder is None:
        raise Conflict("Nothing is live yet.", expected="a catalogue: `morelike import`")
    return encoder


def place(device: str) -> str:
    """Where is computed: ``auto`` is the GPU where there is one."""
    import torch

    return ("cuda" if torch.cuda.is_available() else "cpu") if device == "auto" else device


def state_file(home: Path, kind: str, *decided_by: object) -> Path:
    """Where an interrupted run leaves its state: another file for whatever would make it another run."""
    from hashlib import sha256

    folder = home / "training"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / f"{kind}-{sha256(repr(decided_by).encode()).hexdigest()[:12]}.pt"
