"""What clicks and lingering say of a product, as a grade: less than a like, and never a dislike."""

from dataclasses import dataclass
from typing import ClassVar


@dataclass(frozen=True)
class SignalGrades:
    """How what a shopper did in this session becomes grades.

    Args:
        click: grade of a product that was opened, of whose visible time nothing is known or next to nothing.
        satisfied: grade of one that was looked at for ``satisfied_ms`` or longer; between, the grade grows evenly.
        satisfied_ms: visible milliseconds that are taken for interest; 30 s is the usual rule of the field.
        quick_ms: who is back among the results sooner has said nothing: closing is no dislike.
    """

    __pydantic_config__: ClassVar[dict[str, str | bool]] = {"extra": "forbid", "allow_inf_nan": False}

    click: float = 0.1
    satisfied: float = 0.5
    satisfied_ms: int = 30_000
    quick_ms: int = 3_000

    def __post_init__(self) -> None:
        if not 0 <= self.click <= self.satisfied <= 1:
            raise ValueError(f"0 <= click <= satisfied <= 1, found {self.click} and {self.satisfied}")
        if not 0 <= self.quick_ms <= self.satisfied_ms or self.satisfied_ms == 0:
            raise ValueError(f"0 <= quick_ms <= satisfied_ms, found {self.quick_ms} and {self.satisfied_ms}")


@dataclass(frozen=True)
class Signals:
    """What one shopper did with one product of a list.

    Args:
        clicks: how often it was opened.
        returns: how often the shopper came back from it.
        dwell_ms: visible milliseconds in all, or None where nothing measured them.
        judgement: in [-1, 1], said outright outside of a refinement, or None.
    """

    clicks: int = 0
    returns: int = 0
    dwell_ms: int | None = None
    judgement: float | None = None


def grade(signals: Signals, grades: SignalGrades) -> float | None:
    """The grade in [-1, 1] that ``signals`` amount to, or None where they say nothing."""
    if signals.judgement is not None:
        return signals.judgement
    if signals.dwell_ms is None:
        return grades.click if signals.clicks > 0 else None
    if signals.returns > 0 and signals.dwell_ms < grades.quick_ms:
        return None
    if signals.clicks == 0 and signals.dwell_ms == 0:
        return None
    share = min(1.0, signals.dwell_ms / grades.satisfied_ms)
    return grades.click + share * (grades.satisfied - grades.click)
