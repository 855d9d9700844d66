"""A catalogue with pictures, and captioning over the real PostgreSQL and a server that speaks OpenAI's API."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.orm import Session, sessionmaker

from backend.blobs import BlobStore
from backend.catalog.captioning.budget import Budget
from backend.catalog.captioning.captioners import CaptionerSpec, spec_of
from backend.catalog.captioning.endpoint import Endpoint
from backend.catalog.captioning.generate import Captioning, CaptionReport
from backend.catalog.captioning.repository import make_current
from backend.db import session_scope
from tests.fixtures.hostile import picture_bytes
from tests.fixtures.openai_server import KEY, VISION_MODEL, OpenAIServer
from tests.generations.conftest import Shop

SPEC = spec_of(f"openai:{VISION_MODEL}")
assert SPEC is not None


def coloured(red: int) -> bytes:
    """A picture of one colour, of which there are 32."""
    return picture_bytes(colour=(red * 8, 80, 40), size=(32, 32))


@dataclass
class Desk:
    """Captioning as a worker does it, and looks at what it left."""

    sessions: sessionmaker[Session]
    blobs: BlobStore
    server: OpenAIServer
    shop: Shop

    def captioning(
        self,
        spec: CaptionerSpec | None = SPEC,
        *,
        pictures: int = 1,
        threads: int = 1,
        timeout_s: float = 5.0,
        key: str | None = KEY,
        budget: Budget | None = None,
    ) -> Captioning:
        with session_scope(self.sessions) as session:
            plan = make_current(session, spec, pictures)
        assert plan is not None

        def opened() -> Endpoint:
            assert spec is not None
            return Endpoint(spec, url=self.server.url, key=key, timeout_s=timeout_s, threads=threads)

        return Captioning(
            sessions=self.sessions,
            blobs=self.blobs,
            plan=plan,
            open_captioner=opened,
            budget=budget or Budget(backoff_s=0.0),
            attempts=3,
        )

    def run(self, spec: CaptionerSpec | None = SPEC, **how: object) -> CaptionReport:
        return self.captioning(spec, **how).run_due()  # type: ignore[arg-type]

    def captions(self, product_id: str) -> list[tuple[str, str]]:
        """(captioner, text) of a product's generated captions."""
        with session_scope(self.sessions) as session:
            rows = session.execute(
                text(
                    "SELECT c.source, c.text FROM captions c JOIN products p ON p.number = c.product"
                    " WHERE p.id = :id AND strpos(c.source, '@') > 0 ORDER BY c.text"
                ),
                {"id": product_id},
            )
            return [(row.source, row.text) for row in rows]

    def texts(self, product_id: str) -> list[str]:
        return [words for _, words in self.captions(product_id)]

    def rows(self, columns: str) -> list[tuple[object, ...]]:
        with session_scope(self.sessions) as session:
            found = session.execute(text(f"SELECT {columns} FROM generated_captions ORDER BY content_hash"))
            return [tuple(row) for row in found]

    def execute(self, statement: str) -> None:
        with session_scope(self.sessions) as session:
            session.execute(text(statement))

    def revision(self, product_id: str) -> int:
        with session_scope(self.sessions) as session:
            found = session.execute(text("SELECT revision FROM products WHERE id = :id"), {"id": product_id})
            return int(found.scalar_one())

    def asked(self) -> int:
        return len(self.server.asked)


@pytest.fixture
def blobs(tmp_path: Path) -> BlobStore:
    return BlobStore(tmp_path / "blobs")


@pytest.fixture
def desk(sessions: sessionmaker[Session], blobs: BlobStore, openai_server: OpenAIServer) -> Desk:
    return Desk(sessions, blobs, openai_server, Shop(sessions, blobs))


@pytest.fixture
def other_spec() -> Callable[[str], CaptionerSpec]:
    """The same model under another prompt."""

    def made(prompt: str) -> CaptionerSpec:
        assert SPEC is not None
        return replace(SPEC, prompts={"first": [prompt], "second": "Shorter."})

    return made
