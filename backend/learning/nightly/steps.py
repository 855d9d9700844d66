"""The night from its first step to its last."""

from backend.learning.nightly.keeping import build, flip
from backend.learning.nightly.report import report
from backend.learning.nightly.work import Step

NIGHT: tuple[Step, ...] = (
    Step("build", build),
    Step("flip", flip),
    Step("report", report),
)
