"""Which arms a night trains."""

from backend.learning.models import NightlyRun
from backend.ml.click_training.plan import ARMS


def arms_tonight(run: NightlyRun) -> list[str]:
    """Names of the arms: those that begin from what is live, or, where that must be forgotten, the others."""
    if run.options.get("identity"):
        return [name for name, arm in ARMS.items() if arm.fresh]
    chosen = [name for name, arm in ARMS.items() if not (arm.fresh or arm.items)]
    chosen += [name for name, arm in ARMS.items() if arm.fresh and run.options.get("challenger")]
    return chosen + [name for name, arm in ARMS.items() if arm.items and run.item_heads]
