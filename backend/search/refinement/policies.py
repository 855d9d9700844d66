"""Refine policies by name: those that are built in, and those that were added. None ever changes."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError
from sqlalchemy import select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.orm import Session, sessionmaker

from backend.access.audit import record
from backend.catalog.schemas import problems
from backend.db import session_scope
from backend.errors import Conflict, NotFound, Unprocessable
from backend.ml.feedback.policy import BUILT_IN, Policy
from backend.search.refinement.models import RefinePolicyRecord

POLICY: TypeAdapter[Policy] = TypeAdapter(Policy)
"""Reads and writes policies as JSON."""

NAME = r"^[a-z0-9][a-z0-9_.-]{0,63}$"
"""Names of policies."""


class PolicyUnknown(NotFound):
    """No refine policy has this name."""

    title = "No such refine policy"


class PolicyTaken(Conflict):
    """A refine policy keeps its name for good: what was tested under it must stay what it was."""

    title = "Refine policy exists"


class PolicyWrong(Unprocessable):
    """These are not the parameters of a refine policy."""

    title = "Not a refine policy"


@dataclass(frozen=True)
class NamedPolicy:
    """A policy with its name. ``actor`` added it at ``created_at``; both are None where it is built in."""

    name: str
    policy: Policy
    actor: str | None = None
    created_at: datetime | None = None


def policy_with(base: Policy, changes: Mapping[str, Any]) -> Policy:
    """``base`` with ``changes``; those of a part (``{"likes": {"c": 0.2}}``) leave the rest of that part as it is.

    Raises:
        PolicyWrong: names each parameter that does not fit, with the value found and what was expected.
    """
    try:
        return POLICY.validate_python(_merged(POLICY.dump_python(base, mode="json"), changes))
    except ValidationError as error:
        found = problems(error)
        said = "; ".join(f"{one.field or 'policy'}: found {one.found!r}, expected {one.expected}" for one in found)
        raise PolicyWrong(f"this is no refine policy: {said}") from error


def find_policy(session: Session, name: str) -> NamedPolicy:
    """The policy called ``name``.

    Raises:
        PolicyUnknown: there is none.
        Conflict: it was added by a version of Morelike whose parameters this one does not know.
    """
    if name in BUILT_IN:
        return NamedPolicy(name, BUILT_IN[name])
    row = session.get(RefinePolicyRecord, name)
    if row is None:
        raise PolicyUnknown("no refine policy has this name: `morelike policy list` shows them", found=name)
    return _read(row)


def list_policies(session: Session) -> list[NamedPolicy]:
    """Those that are built in, then those that were added, oldest first."""
    rows = session.scalars(select(RefinePolicyRecord).order_by(RefinePolicyRecord.created_at, RefinePolicyRecord.name))
    return [*(NamedPolicy(name, policy) for name, policy in BUILT_IN.items()), *map(_read, rows)]


def add_policy(
    session: Session, name: str, changes: Mapping[str, Any], *, base: str | None = None, actor: str
) -> NamedPolicy:
    """Keep a policy under a new name.

    All of its parameters are kept, also those that were left out: other defaults of a later version do not change it.

    Args:
        session: the transaction that keeps it.
        name: as ``NAME`` says.
        changes: parameters, in place of those of ``base``.
        base: name of the policy that it starts from; without one, the defaults.
        actor: who adds it.

    Raises:
        PolicyTaken: the name is taken by another policy. The same one again is not an error.
        PolicyWrong: the name or the parameters do not fit.
    """
    if not re.fullmatch(NAME, name):
        raise PolicyWrong("this cannot be the name of a policy", found=name, expected=NAME)
    policy = policy_with(find_policy(session, base).policy if base else Policy(), changes)
    if name in BUILT_IN:
        raise PolicyTaken("this name is that of a built-in policy", found=name, expected="a name that is free")
    values = {"name": name, "config": POLICY.dump_python(policy, mode="json"), "actor": actor[:120]}
    added = session.scalars(
        insert(RefinePolicyRecord).values(values).on_conflict_do_nothing().returning(RefinePolicyRecord)
    ).one_or_none()
    if added is not None:
        record(session, actor=actor, action="policy_added", subject=f"refine policy {name}", details=added.config)
        return _read(added)
    there = find_policy(session, name)
    if there.policy != policy:
        raise PolicyTaken(
            "a policy never changes, and another one has this name: add it under a new one",
            found=name,
            expected="a name that is free",
        )
    return there


class Policies:
    """Policies by name for those who refine. What was found is remembered: a policy never changes."""

    def __init__(self, sessions: sessionmaker[Session]) -> None:
        self._sessions = sessions
        self._known: dict[str, Policy] = {}

    def named(self, name: str) -> Policy:
        """The policy called ``name``. Raises as :func:`find_policy` does."""
        policy = BUILT_IN.get(name) or self._known.get(name)
        if policy is None:
            with session_scope(self._sessions) as session:
                policy = self._known[name] = find_policy(session, name).policy
        return policy


def _merged(base: dict[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    return base | {
        name: _merged(base[name], value) if isinstance(value, Mapping) and isinstance(base.get(name), dict) else value
        for name, value in changes.items()
    }


def _read(row: RefinePolicyRecord) -> NamedPolicy:
    try:
        policy = POLICY.validate_python(row.config)
    except ValidationError as error:
        raise Conflict(
            f"the refine policy {row.name} was added by another version of Morelike",
            found=", ".join(one.field for one in problems(error)),
            expected="parameters that this version knows",
        ) from error
    return NamedPolicy(row.name, policy, row.actor, row.created_at)
