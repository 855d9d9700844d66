"""Events in other products' shapes, told apart by what they hold and said again in the native shape."""

from collections.abc import Mapping
from typing import Any

from backend.events.dialects import segment, ubi
from backend.events.dialects.understood import Dialect, Understood

FIELDS: Mapping[Dialect, Mapping[str, str]] = {"native": {}, "ubi": ubi.FIELDS, "segment": segment.FIELDS}
"""What each native field is called in a dialect, for whoever wrote the event."""


def understand(sent: Any) -> Understood:
    """What one element of a batch says. Nothing is checked here: the native schema judges what comes of it."""
    if isinstance(sent, dict):
        if "action_name" in sent or "user_query" in sent:
            return ubi.understand(sent)
        call = sent.get("type")
        if isinstance(call, str) and call in segment.CALLS:
            return segment.understand(sent)
    return Understood("native", sent)
