"""The checklist: what each fact means for a shop, and the exact next step. Nothing is read here."""

from collections import Counter
from collections.abc import Callable
from urllib.parse import urlsplit

from backend.admin.catalogue_checks import captions, catalogue, pictures
from backend.admin.event_checks import arriving_events, attributed, exploring
from backend.admin.facts import Facts
from backend.admin.learning_checks import learning
from backend.admin.schemas import Check, State, Step
from backend.admin.webhook_checks import arriving, compared, public_url, secrets, understood

MODEL = "ViT-B-32:laion2b_s34b_b79k"
"""The model that the pages of docs/ begin with."""

NEAR_LIMIT = 0.7
"""Share of what Milvus Lite serves well from which moving on is advised."""

WORKER = "celery -A workers.app worker --pool threads --concurrency 6 --queues embed,train"


def checklist(facts: Facts) -> list[Check]:
    """Every check that applies, in the order in which a shop is set up."""
    found = (check(facts) for check in CHECKS)
    return [check for check in found if check is not None]


def count_states(checks: list[Check]) -> dict[State, int]:
    """How many checks are in each state."""
    counted = Counter(check.state for check in checks)
    return {state: counted[state] for state in ("done", "todo", "problem", "optional")}


def worker(facts: Facts) -> Check:
    """Somebody has to download, embed and index."""
    steps = []
    if facts.worker:
        state: State = "done"
        fact = "A worker answers."
    elif facts.worker is None:
        state, fact = "problem", "Redis does not answer, so nobody can be asked to work."
        steps = [Step(say="See which component is down", command="morelike doctor")]
    else:
        state, fact = "problem", "No worker answers: nothing is downloaded, embedded or indexed."
        steps = [
            Step(say="Start one where the stores are named, or start the whole stack with morelike run", command=WORKER)
        ]
    return Check(id="worker", title="A worker", state=state, fact=fact, steps=steps, docs="docs/ingestion.md")


def encoder(facts: Facts) -> Check:
    """A real catalogue needs a model that has seen photographs."""
    serving, switch, steps = facts.serving, facts.switch, [Step(say="See what it waits for", command="morelike doctor")]
    if serving is None:
        state: State = "problem"
        fact = "No generation is live, so no search is answered."
    elif not serving.drawings_only:
        state, fact, steps = "done", f"{serving.encoder} is live.", []
    else:
        state = "problem" if facts.own_products else "todo"
        fact = "The demo encoder is live. It knows only drawings, so photographs would not be found."
        steps = [
            Step(say="Fetch a model; the command says where it puts it", command=f"morelike encoder fetch {MODEL}"),
            Step(
                say="Switch to it: the shop goes on meanwhile, and you can go back",
                command="morelike encoder switch local-dir:PATH",
            ),
        ]
    if switch is not None:
        what = "The index build of an adapter" if switch.adapted else f"A switch to {switch.source}"
        fact += f" {what} is under way: {switch.products:,} of {switch.total:,} products."
        steps = [Step(say="Watch it", command="morelike encoder status")]
        if switch.error:
            state, fact = "problem", f"{fact} {switch.error}"
        elif state == "problem":
            state = "todo"
    return Check(
        id="encoder",
        title="A model that knows photographs",
        state=state,
        fact=fact,
        steps=steps,
        docs="docs/encoders.md",
    )


def index(facts: Facts) -> Check:
    """Milvus Lite is for the first steps."""
    held, most = facts.index.vectors, facts.index.serves_well
    steps: list[Step] = []
    if most is None:
        state: State = "done"
        fact = f"A Milvus server; the catalogue needs {held:,} vectors."
    else:
        fact = f"Milvus Lite, which serves some {most:,} vectors well; the catalogue needs {held:,}."
        state = "problem" if held > most else "todo" if held > NEAR_LIMIT * most else "done"
        if state != "done":
            steps = [
                Step(
                    say="Start a Milvus server and name it: the worker fills it from PostgreSQL, encoding nothing anew",
                    command="MILVUS_URI=http://milvus:19530 morelike run",
                )
            ]
    return Check(id="index", title="Room for the vectors", state=state, fact=fact, steps=steps, docs="docs/milvus.md")


def page_key(facts: Facts) -> Check:
    """A page of the shop needs a key that lists its origin."""
    origins = sorted(facts.page_origins)
    if origins:
        named = ", ".join(origins[:3]) + (" and others" if len(origins) > 3 else "")
        state: State = "done"
        fact, steps = f"Pages of {named} may search.", []
    else:
        state, fact = "todo", "No storefront key lists the origin of a page of yours."
        make = 'morelike key create --scope storefront --name "my shop" --origin https://shop.example'
        steps = [
            Step(say="Make a key for the origin of your shop; it is shown once", command=make),
            Step(say="Put the search on a page of your shop with it, as docs/storefront.md shows"),
        ]
    return Check(
        id="page_key", title="A key for your pages", state=state, fact=fact, steps=steps, docs="docs/storefront.md"
    )


def voice(facts: Facts) -> Check:
    """Browsers without speech input of their own can record for a transcriber."""
    url = facts.settings.transcriber_url
    if url:
        state: State = "done"
        fact, steps = f"Recordings go to {urlsplit(url).hostname}.", []
    else:
        state, fact = "optional", "Only browsers with speech input of their own take spoken searches."
        command = "MORELIKE_TRANSCRIBER_URL=https://api.openai.com/v1 MORELIKE_TRANSCRIBER_KEY=sk-… morelike run"
        steps = [Step(say="Name a transcription server for the others", command=command)]
    return Check(id="voice", title="Spoken searches", state=state, fact=fact, steps=steps, docs="docs/voice.md")


def demo(facts: Facts) -> Check | None:
    """What is reached from outside asks for keys."""
    if not (facts.settings.demo and facts.settings.public_url):
        return None
    return Check(
        id="demo",
        title="The demo's open door",
        state="problem",
        fact="The demo is on, which asks callers from this machine for no key, and this server has a public address.",
        steps=[Step(say="Turn it off", command="MORELIKE_DEMO=false morelike run")],
        docs="docs/access.md",
    )


CHECKS: tuple[Callable[[Facts], Check | None], ...] = (
    worker,
    encoder,
    catalogue,
    public_url,
    secrets,
    arriving,
    understood,
    compared,
    pictures,
    index,
    page_key,
    arriving_events,
    attributed,
    exploring,
    learning,
    captions,
    voice,
    demo,
)
