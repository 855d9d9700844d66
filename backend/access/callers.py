"""Who is asking: the scopes of keys, and the caller a request was found to come from."""

from dataclasses import dataclass
from enum import StrEnum


class Scope(StrEnum):
    """What a key may do. Each scope may do what the ones before it may."""

    STOREFRONT = "storefront"
    SERVER = "server"
    ADMIN = "admin"

    @property
    def prefix(self) -> str:
        """Middle of the key's text: pub, srv or adm."""
        return {Scope.STOREFRONT: "pub", Scope.SERVER: "srv", Scope.ADMIN: "adm"}[self]

    def covers(self, needed: "Scope") -> bool:
        """Whether a key of this scope may do what ``needed`` asks for."""
        ranks = list(Scope)
        return ranks.index(self) >= ranks.index(needed)


@dataclass(frozen=True)
class Caller:
    """A key that was shown, or the visitor of the demo on this machine.

    Args:
        scope: what the caller may do.
        key_id: row of the key; None for the visitor of the demo.
        name: the key's name, for logs and the audit.
        rate_limit: requests a minute; 0 is without limit.
        origins: web origins a storefront key may be used from; empty where the key is not for browsers.
        reads: what the caller may look at beyond ``scope``, and not change; None is nothing.
    """

    scope: Scope
    key_id: int | None
    name: str
    rate_limit: int
    origins: frozenset[str] = frozenset()
    reads: Scope | None = None

    def may(self, needed: Scope, method: str) -> bool:
        """Whether an operation that asks for ``needed`` may be called with the HTTP method ``method``."""
        looks = method in ("GET", "HEAD")
        return self.scope.covers(needed) or (looks and self.reads is not None and self.reads.covers(needed))
