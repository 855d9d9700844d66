"""The night from its first step to its last."""

from backend.learning.nightly.judging import gates
from backend.learning.nightly.keeping import build, flip
from backend.learning.nightly.learned import ARM_LIST, propensities, sessions, training
from backend.learning.nightly.learning_from import PROPENSITIES
from backend.learning.nightly.night import LOG
from backend.learning.nightly.report import report
from backend.learning.nightly.work import Step

NIGHT: tuple[Step, ...] = (
    Step("sessions", sessions, makes=(LOG,)),
    Step("propensities", propensities, makes=(PROPENSITIES,)),
    Step("training", training, makes=(ARM_LIST,)),
    Step("gates", gates, makes=("gates.json",)),
    Step("build", build),
    Step("flip", flip),
    Step("report", report),
)
