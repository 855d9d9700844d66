"""Checks of what a shop sends: whether it can reach this server, whether it does, and whether it is understood."""

from datetime import UTC, datetime, timedelta
from urllib.parse import urlsplit

from backend.admin.facts import Facts
from backend.admin.schemas import Check, State, Step, WebhookState

SILENCE = timedelta(days=7)
"""After so long without a delivery a shop has probably given up: Shopify forgets who fails eight times."""

STALE = timedelta(days=2)
"""A comparison older than this missed a night."""

LOCAL = ("localhost", "127.0.0.1", "::1", "0.0.0.0")  # noqa: S104  a host that is compared with

SECRET_OF = {"shopify": "MORELIKE_SHOPIFY_SECRET", "woocommerce": "MORELIKE_WOOCOMMERCE_SECRET"}


def public_url(facts: Facts) -> Check:
    """A shop sends to an https address that it can reach."""
    url = facts.settings.public_url
    parts = urlsplit(url or "")
    state: State = "todo"
    tunnel = "cloudflared tunnel --url http://127.0.0.1:8000"
    steps = [
        Step(say="On one machine, a tunnel gives it a public name", command=tunnel),
        Step(say="Start with that name", command="MORELIKE_PUBLIC_URL=https://search.shop.example morelike run"),
    ]
    if not url:
        fact = "No public address is set, so no shop can send its changes here."
    elif parts.scheme != "https":
        fact = f"{url} is not https, and shops send to https only."
    elif parts.hostname in LOCAL:
        fact = f"{url} is this machine, which no shop can reach."
    else:
        state, fact, steps = "done", f"{url}", []
    return Check(
        id="public_url",
        title="An address the shop can reach",
        state=state,
        fact=fact,
        steps=steps,
        docs="docs/shopify-in-an-afternoon.md",
    )


def secrets(facts: Facts) -> Check:
    """What a shop sends is taken only when it is signed with a secret that is known here."""
    known = [one.source for one in facts.webhooks if one.has_secret]
    state: State = "done" if known else "todo"
    fact = (
        f"Deliveries of {', '.join(known)} can be verified." if known else "No secret is set, so no delivery is taken."
    )
    steps = [
        Step(
            say="Set the one your shop signs with: Shopify's client secret, or the one you give WooCommerce",
            command="MORELIKE_SHOPIFY_SECRET=… morelike run",
        ),
        Step(say="For any other shop, a secret of your choice", command="MORELIKE_WEBHOOK_SECRET=… morelike run"),
    ]
    return Check(
        id="webhook_secret",
        title="A secret to know the shop by",
        state=state,
        fact=fact,
        steps=[] if known else steps,
        docs="docs/webhooks.md",
    )


def arriving(facts: Facts) -> Check | None:
    """A shop that stopped sending is not noticed by anything else."""
    listening = [one for one in facts.webhooks if one.has_secret]
    if not listening:
        return None
    last = max((one.last_at for one in listening if one.last_at), default=None)
    register = [
        Step(say=f"Register this address for product events at {one.source}", command=one.url)
        for one in listening
        if one.url
    ]
    if register:
        register.insert(0, Step(say="Subscribe, where the shop's credentials are set", command="morelike shop connect"))
    else:
        register = [Step(say="Set a public address first: /v1/webhooks/… under it is what the shop is told")]
    state: State = "todo"
    if last is None:
        fact, steps = (
            "Nothing has arrived yet.",
            [*register, Step(say="Then change a product in the shop, or send a test.")],
        )
    elif datetime.now(UTC) - last > SILENCE:
        days = (datetime.now(UTC) - last).days
        state, fact = "problem", f"Nothing has arrived for {days} days. Shops stop sending to addresses that fail."
        steps = [*register, Step(say="Compare the shop's list of webhooks, and what its log says of them")]
    else:
        state, fact, steps = "done", f"The last delivery arrived {last:%Y-%m-%d %H:%M} UTC.", []
    return Check(
        id="deliveries", title="Deliveries arrive", state=state, fact=fact, steps=steps, docs="docs/webhooks.md"
    )


def understood(facts: Facts) -> Check | None:
    """Deliveries that were refused or given up on leave the catalogue behind the shop."""
    total = sum(sum(one.last_day.values()) for one in facts.webhooks)
    if not total:
        return None
    counts = {
        name: sum(one.last_day.get(name, 0) for one in facts.webhooks) for name in ("rejected", "failed", "parked")
    }
    said = [f"{counts[name]:,} {words}" for name, words in _TROUBLE.items() if counts[name]]
    strange = [one.source for one in facts.webhooks if _mostly_refused(one)]
    steps: list[Step] = []
    if strange:
        named = " and ".join(SECRET_OF.get(source, "MORELIKE_WEBHOOK_SECRET") for source in strange)
        steps.append(Step(say=f"Compare {named} with the shop's; a proxy that rewrites bodies breaks signatures, too"))
    if counts["parked"]:
        steps.append(Step(say="See why, here or in a terminal", command="morelike webhook list --verdict parked"))
        steps.append(Step(say="Apply them again", command="morelike webhook replay --verdict parked"))
    fact = f"{total:,} deliveries in the last day" + (f", {'; '.join(said)}." if said else ", all understood.")
    return Check(
        id="verdicts",
        title="Deliveries are understood",
        state="problem" if steps else "done",
        fact=fact,
        steps=steps,
        docs="docs/webhooks.md",
    )


_TROUBLE = {
    "rejected": "with a wrong signature",
    "failed": "that failed and will be tried again",
    "parked": "that were given up on",
}


def _mostly_refused(one: WebhookState) -> bool:
    """Whether the shop itself seems to be refused: a few wrong signatures beside many right ones are anybody's."""
    refused = one.last_day.get("rejected", 0)
    return refused > sum(one.last_day.values()) - refused


def compared(facts: Facts) -> Check:
    """Webhooks get lost; a comparison at night finds what they missed."""
    shop, can_miss = facts.shop, any(one.has_secret for one in facts.webhooks)
    again = [Step(say="Compare now", command="morelike shop reconcile")]
    state: State = "problem"
    if shop is None:
        state = "todo" if can_miss else "optional"
        fact = "No shop is named, so what a webhook missed is never found."
        again = [Step(say="Name it", command="MORELIKE_SHOP_URL=https://shop.example morelike run"), *again]
    elif shop.compared_at == "off":
        state = "todo"
        fact = f"{shop.url} is not compared at night (MORELIKE_RECONCILE_AT)."
    elif shop.last_at is None:
        state = "todo"
        fact = f"{shop.url} is compared with the catalogue at {shop.compared_at} UTC; it was not yet."
    elif shop.last_problem:
        fact = f"The comparison of {shop.last_at:%Y-%m-%d %H:%M} UTC did not end well: {shop.last_problem}"
    elif shop.last_finished and datetime.now(UTC) - shop.last_at > STALE:
        fact = f"{shop.url} was compared last at {shop.last_at:%Y-%m-%d %H:%M} UTC: is the beat running?"
    else:
        repaired = (
            ", ".join(f"{count:,} {name}" for name, count in sorted(shop.last_counts.items())) or "nothing to repair"
        )
        state, again = "done", []
        fact = f"{shop.url}, {shop.last_at:%Y-%m-%d %H:%M} UTC: {repaired if shop.last_finished else 'under way'}."
    return Check(
        id="compared",
        title="The shop is compared at night",
        state=state,
        fact=fact,
        steps=again,
        docs="docs/shopify-in-an-afternoon.md",
    )
