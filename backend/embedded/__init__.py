"""The one-machine stack: PostgreSQL, Redis, Milvus Lite, worker, beat and API as children of one supervisor."""

from urllib.parse import urlsplit

from backend.embedded.demo_gates import with_lighter_gates
from backend.embedded.home import Home, StackError
from backend.settings import Settings

STORES = ("database_url", "redis_url", "milvus_uri")


class StackNotRunning(StackError):
    """No stack runs on this home and the stores are not all named."""


def settings_of_running(settings: Settings) -> Settings:
    """``settings`` with the stores filled in from the stack that runs on this home, where they are not named.

    The address of its API is taken over too: a command need not be told the port that `morelike run` was told. So is
    whether it shows the demo: a night that a command works on is asked for what one of its worker is.

    Raises:
        StackNotRunning: a store is not named and no stack runs on this home.
    """
    missing = [name for name in STORES if getattr(settings, name) is None]
    home = Home(settings.home)
    known = home.known() if home.is_running() else {}
    if missing and not known:
        names = ", ".join(name.upper() for name in missing)
        raise StackNotRunning(f"No stack runs on {home.root}. Start it with `morelike run`, or set {names}.")
    found = {name: known[name] for name in missing}
    if known:
        address = urlsplit(known["url"])
        found |= {"host": address.hostname, "port": address.port, "demo": known.get("demo", settings.demo)}
    return with_lighter_gates(settings.model_copy(update=found))
