"""``morelike simulate``: shoppers with planted wishes in the demo shop, over its HTTP API."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from backend.errors import Unprocessable

if TYPE_CHECKING:
    import httpx

    from backend.demo.shoppers.traffic import Crowd


def register(app: typer.Typer) -> None:
    """Add ``simulate`` to ``app``."""
    app.command("simulate")(simulate)


def simulate(
    shoppers: Annotated[int, typer.Option(min=1, help="How many come, each for one session.")] = 200,
    world: Annotated[str, typer.Option(help="Who comes, and how they look; --worlds lists them.")] = "pastel",
    worlds: Annotated[bool, typer.Option("--worlds", help="List the worlds, and nothing else.")] = False,
    seed: Annotated[int, typer.Option(min=0, help="The same seed brings the same shoppers.")] = 1,
    watch: Annotated[bool, typer.Option("--watch", help="Show what they look at and click.")] = False,
    pause: Annotated[float, typer.Option(min=0, help="With --watch: seconds that each list stays.")] = 0.6,
    wishes: Annotated[int, typer.Option(min=1, help="Different searches among which they choose.")] = 200,
    at_once: Annotated[int, typer.Option(min=1, max=64, help="How many shop at the same time.")] = 4,
    url: Annotated[str | None, typer.Option(help="Address of the API; by default the one that runs here.")] = None,
    key: Annotated[str | None, typer.Option(help="API key; the demo on this machine needs none.")] = None,
    report: Annotated[Path | None, typer.Option(dir_okay=False, help="Write what was planted and done there.")] = None,
) -> None:
    """Let simulated shoppers search, look, click and buy in the demo shop."""
    from backend.demo.shoppers.traffic import Crowd
    from backend.ml.clicks.worlds import WORLDS

    if worlds:
        _show_worlds()
        return
    if world not in WORLDS:
        raise Unprocessable("There is no such world.", found=world, expected=f"one of {', '.join(WORLDS)}")
    if report is not None and not report.parent.is_dir():
        raise Unprocessable("The report cannot be written there.", found=str(report), expected="a file in a folder")
    crowd = Crowd(WORLDS[world], shoppers, seed=seed, wishes=wishes, at_once=at_once)
    found = _shop(crowd, url or _running(), key, pause if watch else None)
    _tell(found)
    if report is not None:
        report.write_text(json.dumps(found, indent=1) + "\n", encoding="utf-8")


def _show_worlds() -> None:
    from rich.console import Console
    from rich.table import Table

    from backend.ml.clicks.worlds import WORLDS

    table = Table("world", "who comes", "shoppers")
    for one in WORLDS.values():
        shares = zip(one.populations, one.shares(), strict=True)
        table.add_row(one.name, one.about, "\n".join(f"{share:.0%} {population.name}" for population, share in shares))
    Console().print(table)


def _running() -> str:
    """Address of the API of the stack that runs on this home."""
    from backend.embedded import settings_of_running
    from backend.settings import Settings

    settings = settings_of_running(Settings())
    return f"http://{f'[{settings.host}]' if ':' in settings.host else settings.host}:{settings.port}"


def _shop(crowd: "Crowd", url: str, key: str | None, pause_s: float | None) -> dict[str, Any]:
    from backend.commands.bars import bars
    from backend.demo.shoppers.traffic import simulate as run

    with _client(url) as client:
        if pause_s is not None:
            return _watched(crowd, client, key, pause_s)
        with bars() as told:
            return run(crowd, client, key=key, on_session=lambda done: told("Shoppers", done, crowd.shoppers))


def _client(url: str) -> "httpx.Client":
    import httpx

    try:
        client = httpx.Client(base_url=url, timeout=60.0)
    except httpx.InvalidURL as error:
        raise Unprocessable("This is no address.", found=url, expected="http://HOST:PORT") from error
    if client.base_url.scheme not in ("http", "https") or not client.base_url.host:
        raise Unprocessable("This is no address.", found=url, expected="http://HOST:PORT")
    return client


def _watched(crowd: "Crowd", client: "httpx.Client", key: str | None, pause_s: float) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    from backend.demo.catalogue import products
    from backend.demo.shoppers.traffic import DEMO_SEED
    from backend.demo.shoppers.traffic import simulate as run
    from backend.demo.shoppers.watch import Watch

    by_id = {one.id: one for one in products(crowd.products, DEMO_SEED)}
    with Live(console=Console(stderr=True), auto_refresh=False) as live:
        return run(crowd, client, key=key, on_list=Watch(live, by_id, pause_s).show)


def _tell(found: dict[str, Any]) -> None:
    """What was done, as a few sentences."""
    done, verdicts = found["done"], found["events"]["verdicts"]
    typer.echo(
        f"{found['shoppers']:,} shoppers of the world {found['world']} made {done['lists']:,} lists: "
        f"shown {done['shown']:,}, seen {done['viewed']:,}, clicked {done['clicked']:,}, "
        f"satisfied {done['satisfied']:,}, in the cart {done['carted']:,}, bought {done['bought']:,}."
    )
    said = ", ".join(f"{count:,} {status}" for status, count in sorted(verdicts.items())) or "none"
    typer.echo(f"Events: {said}. NDCG@10 by planted truth: {done['ndcg_at_10']:.3f}.")
