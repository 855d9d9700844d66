"""One transaction a request: it is over, one way or the other, before the answer goes out."""

from sqlalchemy import func, select, text
from sqlalchemy.orm import Session
from starlette.testclient import TestClient

from backend.access.audit import read_entries, record
from backend.access.models import AuditEntry
from tests.fixtures.api import Keys


def test_an_error_that_is_answered_rolls_back(api: TestClient, session: Session) -> None:
    answer = api.post("/probe/conflict")
    assert answer.status_code == 409
    assert (answer.json()["found"], answer.json()["expected"]) == (1, 2)
    assert session.scalar(select(func.count()).select_from(AuditEntry)) == 0


def test_a_commit_that_fails_is_500_and_not_200(api: TestClient, session: Session) -> None:
    quiet = TestClient(api.app, base_url="http://api.example", raise_server_exceptions=False)
    answer = quiet.post("/probe/fails-at-commit")
    assert answer.status_code == 500
    assert answer.json()["type"] == "urn:morelike:problem:internal-error"
    assert session.scalar(text("SELECT to_regclass('once')")) is None


def test_the_audit_is_read_newest_first_and_page_by_page(session: Session) -> None:
    for number in range(5):
        record(session, actor="command line", action="key_created", subject=f"key {number}", details={"n": number})
    session.flush()
    first = read_entries(session, limit=2)
    assert [entry.subject for entry in first.entries] == ["key 4", "key 3"]
    second = read_entries(session, limit=2, before=first.cursor)
    third = read_entries(session, limit=2, before=second.cursor)
    assert [entry.subject for entry in second.entries + third.entries] == ["key 2", "key 1", "key 0"]
    assert third.cursor is None


def test_the_audit_is_for_admin_keys(api: TestClient, keys: Keys, session: Session) -> None:
    record(session, actor="command line", action="key_revoked", subject="key 1")
    session.commit()
    assert api.get("/v1/audit", headers=keys.server).status_code == 403
    answer = api.get("/v1/audit", headers=keys.admin)
    assert [entry["action"] for entry in answer.json()["entries"]] == ["key_revoked"]
    for wrong in ("limit=0", "limit=501", "cursor=0", "cursor=99999999999999999999", "cursor=x"):
        assert api.get(f"/v1/audit?{wrong}", headers=keys.admin).status_code == 422
