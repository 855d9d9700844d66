"""Whether nights learn, and what their gates still wait for."""

from math import ceil

from backend.admin.facts import Facts
from backend.admin.learning_schemas import GateWait
from backend.admin.schemas import Check, State, Step

_MOST = 3
"""Things waited for that are told on one line."""


def learning(facts: Facts) -> Check:
    """Clicks make the ranking better at night, or the night says why not."""
    now, steps = facts.learning, [Step(say="Work on a night now", command="morelike nightly run")]
    if now.last is not None and now.last.state == "failed":
        state: State = "problem"
        fact = f"The last night failed: {now.last.sentence}"
        steps = [Step(say="See at which step", command=f"morelike nightly report {now.last.id}"), *steps]
    elif now.at == "off":
        state, fact = "optional", "Nobody learns at night."
        steps = [Step(say="Let nights learn", command="MORELIKE_NIGHTLY_AT=02:00 morelike run")]
    elif now.last is None:
        state, fact = "optional", f"There was no night yet; the first begins at {now.at} UTC."
    elif now.waits:
        waits = "; ".join(_said(one) for one in now.waits[:_MOST])
        more = len(now.waits) - _MOST
        state, fact = (
            "todo",
            f"{now.last.sentence} The gates wait for {waits}{f'; and {more} more' if more > 0 else ''}.",
        )
        steps = [Step(say="Nothing needs to be done: it comes with what shoppers do. /admin/learning shows all of it")]
    else:
        state, fact, steps = "done", now.last.sentence, []
    return Check(
        id="learning", title="Nights that learn", state=state, fact=fact, steps=steps, docs="docs/learning-pages.md"
    )


def _said(wait: GateWait) -> str:
    """As ``312 of 2,000 satisfied clicks, about 41 days at this rate``."""
    said = f"{wait.found:,.0f} of {wait.needed:,.0f} {wait.what}"
    if wait.days is None:
        return said
    days = ceil(wait.days)
    return f"{said}, about {days:,} day{'' if days == 1 else 's'} at this rate"
