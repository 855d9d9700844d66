"""Checks of what is for sale: products, pictures and captions."""

from backend.admin.facts import Facts
from backend.admin.schemas import Check, State, Step


def catalogue(facts: Facts) -> Check:
    """A shop has products of its own."""
    own, drawn = facts.own_products, facts.catalogue.of_the_demo
    steps: list[Step] = []
    state: State = "todo"
    if not own:
        fact = (
            f"The catalogue holds {drawn:,} drawings of the demo shop and nothing of yours."
            if drawn
            else "It is empty."
        )
        steps = [
            Step(say="Pull a Shopify or WooCommerce shop", command="morelike import https://shop.example"),
            Step(
                say="Or import a feed: CSV, TSV, JSONL, Parquet, Google Merchant",
                command="morelike import products.csv",
            ),
        ]
    elif drawn:
        fact = f"{own:,} products of yours, among {drawn:,} drawings of the demo shop that are found as well."
        steps = [
            Step(
                say="Leave only what your feed names",
                command="morelike import products.csv --mode full-sync --delete-many",
            )
        ]
    else:
        state, fact = "done", f"{own:,} products."
    if facts.catalogue.waiting:
        fact += f" {facts.catalogue.waiting:,} wait to be embedded or indexed."
    return Check(
        id="catalogue", title="Products of your own", state=state, fact=fact, steps=steps, docs="docs/import.md"
    )


def pictures(facts: Facts) -> Check:
    """Pictures that could not be had are worth a look."""
    images = facts.catalogue.images
    steps: list[Step] = []
    state: State = "done"
    fact = f"{images.ready:,} pictures are kept" if images.ready else "No picture is kept yet"
    fact += f", {images.pending:,} are on their way." if images.pending else "."
    if images.parked:
        state = "todo"
        fact += f" {images.parked:,} were given up on; their products are found by their words only."
        steps = [
            Step(say="See why, here or in a terminal", command="morelike images parked"),
            Step(say="Try them again", command="morelike images retry"),
        ]
    return Check(id="pictures", title="Pictures", state=state, fact=fact, steps=steps, docs="docs/ingestion.md")


def captions(facts: Facts) -> Check:
    """What a model says of pictures lets dull titles be found."""
    captioner = facts.captioner
    steps: list[Step] = []
    state: State = "optional"
    if captioner is None:
        fact = "No model writes captions; products are found by their titles, their own captions and their pictures."
        start = "MORELIKE_CAPTIONER=openai:gpt-4o-mini MORELIKE_CAPTIONER_KEY=sk-… morelike run"
        steps = [Step(say="Let one describe the pictures; a CoCa of open_clip does without a server", command=start)]
    else:
        counts = captioner.counts
        fact = f"{captioner.model} has captioned {counts.ready:,} of {counts.ready + counts.pending:,} pictures."
        state = "done"
        if counts.parked:
            state, fact = "todo", f"{fact} {counts.parked:,} were given up on."
            steps = [
                Step(say="See why", command="morelike caption parked"),
                Step(say="Ask again", command="morelike caption retry"),
            ]
        if captioner.reason:
            state, fact = "problem", f"{fact} It pauses: {captioner.reason}"
            steps = [Step(say="Put it right, then ask again", command="morelike caption retry")]
    return Check(
        id="captions", title="Captions of pictures", state=state, fact=fact, steps=steps, docs="docs/captions.md"
    )
