"""What people are shown of entities, tokens and profiles: JSON values without secrets, the same for API and CLI."""

import re
from datetime import datetime, timedelta
from enum import Enum
from typing import Any

import attrs

from scepd.admin.register import Registered
from scepd.admin.switchboard import ProfileState
from scepd.message.algorithms import KeyTransport
from scepd.profile import access
from scepd.records import Attribute, Entity, Secret, Token
from scepd.x509.names import SHORT_NAMES

View = dict[str, Any]

METHOD_NAMES = {
    access.OneTimeRule: "one-time",
    access.StaticRule: "static",
    access.NoChallengeRule: "none",
    access.EntityRule: "entity",
    access.WebhookRule: "webhook",
    access.IntuneRule: "intune",
    access.SignedRule: "signed",
    access.ClientCertificateRule: "client-certificate",
}


def entity(row: Entity) -> View:
    """Show what is known of an entity."""
    return {
        "id": row.id,
        "profile": row.profile,
        "cn": row.username,
        "state": row.state.value,
        "attributes": dict(row.attributes),
        "names": list(row.names),
        "tries_left": row.tries_left,
        "expires": _time(row.expires),
        "created": _time(row.created),
        "created_by": row.created_by,
        "updated": _time(row.updated),
        "request": row.transaction,
    }


def registered(row: Registered) -> View:
    """Show an entity just entered, with the code that was made, the one time that it is shown."""
    return {"id": row.id, "cn": row.common_name, "code": None if row.code is None else row.code.reveal()}


def token(row: Token) -> View:
    """Show what is known of a token."""
    return {
        "id": row.id,
        "name": row.name,
        "profiles": list(row.profiles),
        "cn_pattern": row.pattern,
        "per_minute": row.per_minute,
        "left": row.left,
        "expires": _time(row.expires),
        "created": _time(row.created),
        "created_by": row.created_by,
        "revoked": _time(row.revoked),
    }


def new_token(row: Token, secret: Secret) -> View:
    """Show a token just made, with its text, the one time that it is shown."""
    return {**token(row), "token": secret.reveal()}


def profile(state: ProfileState, *, whole: bool = False) -> View:
    """Show a profile in a line, or with everything that it decides."""
    found = state.profile
    view: View = {
        "name": found.name,
        "enabled": state.enabled,
        "path": found.segment,
        "issuer": found.issuer,
        "challenge": [METHOD_NAMES[type(rule)] for rule in found.challenge],
        "default": found.default,
    }
    if whole:
        rest = (field.name for field in attrs.fields(type(found)) if field.name not in {*view, "challenge"})
        view |= {name: _plain(getattr(found, name)) for name in rest}
        view["challenge"] = [{"method": METHOD_NAMES[type(rule)], **_plain(rule)} for rule in found.challenge]
    return view


def _plain(value: Any) -> Any:
    """Return a compiled value as JSON has it, in the words of the configuration; secrets stay hidden."""
    if isinstance(value, Secret):
        return "***"
    if isinstance(value, Attribute):
        return f"{SHORT_NAMES.get(value.oid, value.oid)}={value.value}"
    if isinstance(value, KeyTransport):
        return str(value)
    if attrs.has(type(value)):
        hidden = {field.name for field in attrs.fields(type(value)) if not field.repr}
        fields = {field.name: getattr(value, field.name) for field in attrs.fields(type(value))}
        return {name: "..." if name in hidden else _plain(part) for name, part in fields.items()}
    if isinstance(value, tuple | list):
        return [_plain(part) for part in value]
    if isinstance(value, frozenset | set):
        return sorted(map(str, map(_plain, value)))
    if isinstance(value, Enum):
        return value.name
    if isinstance(value, re.Pattern):
        return value.pattern
    if isinstance(value, timedelta):
        return f"{value.total_seconds():.15g}s"
    return value if value is None or isinstance(value, bool | int | float | str) else _text(value)


def _text(value: Any) -> str:
    return str(value) if not isinstance(value, bytes) else value.hex()


def _time(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="seconds").replace("+00:00", "Z")
