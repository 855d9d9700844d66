"""What the gates ask for in this installation."""

from dataclasses import fields

from backend.ml.gates.thresholds import Thresholds
from backend.settings import Settings


def thresholds_of(settings: Settings) -> Thresholds:
    """``MORELIKE_GATE_…`` as the gates read them."""
    return Thresholds(**{one.name: getattr(settings, f"gate_{one.name}") for one in fields(Thresholds)})
