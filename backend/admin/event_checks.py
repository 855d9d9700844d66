"""Checks of what comes from shoppers: whether it does, whether it is understood, whether its lists are known."""

from backend.admin.facts import Facts
from backend.admin.schemas import Check, State, Step

ENOUGH = 20
"""Searches, or events, below which shares say nothing."""


def arriving_events(facts: Facts) -> Check:
    """Without what shoppers do there is nothing to learn from."""
    events = facts.events
    accepted, refused = (events.last_day.get(status, 0) for status in ("accepted", "rejected"))
    steps = [
        Step(say="Put morelike.js on a page of your shop: it collects what shoppers do, where they may be asked"),
        Step(
            say="Or send events, or those of Segment or OpenSearch, to POST /v1/events; …/validate says what is wrong"
        ),
    ]
    state: State = "todo"
    if events.last_at is None:
        fact = "Nothing that shoppers do has arrived yet."
    elif refused > accepted and refused >= ENOUGH:
        state = "problem"
        most = max(events.refused, key=lambda code: events.refused[code], default="invalid")
        fact = f"{refused:,} events of the last day were refused and {accepted:,} taken; most of them: {most}."
        steps = [Step(say="See below what was sent, and what was expected")]
    elif not accepted and events.searches >= ENOUGH:
        state = "problem"
        fact = f"{events.searches:,} searches in the last day, and nothing that was done with them."
    else:
        state, steps = "done", []
        fact = f"{accepted:,} events in the last day" + (f", {refused:,} refused." if refused else ".")
    return Check(
        id="events", title="What shoppers do arrives", state=state, fact=fact, steps=steps, docs="docs/events.md"
    )


def attributed(facts: Facts) -> Check | None:
    """An event whose list nobody knows is kept and teaches nothing."""
    share = facts.events.attributed
    if share is None or sum(facts.events.types.values()) < ENOUGH:
        return None
    state: State = "done" if share >= 0.8 else "todo" if share >= 0.5 else "problem"
    fact = f"Of {share:.0%} of the last day's events it is known on which list they were done."
    steps = [
        Step(say="Send the query_id of the search with each event; product pages carry it in their address"),
        Step(say="And shopper_id with every event: then a purchase finds the click that it came from"),
    ]
    return Check(
        id="attributed",
        title="Events know their lists",
        state=state,
        fact=fact,
        steps=[] if state == "done" else steps,
        docs="docs/events.md",
    )


def exploring(facts: Facts) -> Check:
    """Where a product stood and how good it is can be told apart only if some lists differ."""
    now = facts.exploration
    if now.share:
        state: State = "done"
        fact = f"{now.share:.1%} of sessions explore, which costs at most {now.of_all:.2%} of what pages are worth."
    else:
        state = "optional"
        fact = "No session explores, so a click for being good cannot be told from a click for standing first."
    steps = [Step(say="Let some sessions explore", command="morelike experiment explore --share 0.05")]
    return Check(
        id="exploration",
        title="A few lists explore",
        state=state,
        fact=fact,
        steps=[] if now.share else steps,
        docs="docs/exploration.md",
    )
