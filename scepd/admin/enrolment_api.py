"""The admin API about who may enrol: entities, tokens of the generator, profiles."""

import re
from datetime import timedelta
from typing import Any

from scepd.admin import enrolment_views as views
from scepd.admin import generator, register, switchboard
from scepd.admin.actions import Actions
from scepd.admin.call import Call, Route
from scepd.records import Secret
from scepd.refusal import OperatorError

_EXAMPLE = '{"entities": [{"cn": "r1.example.net", "attributes": {"O": "Example"}, "names": ["dns:r1.example.net"]}]}'
_ENTITY_FIELDS = frozenset({"cn", "code", "attributes", "names", "line"})


def _add_entities(actions: Actions, call: Call) -> Any:
    written = call.body.get("entities")
    if not isinstance(written, list):
        raise OperatorError("entities is no list", _EXAMPLE)
    registrations = [_registration(one) for one in written]
    return [
        views.registered(one) for one in register.register(actions, call.who, call.text("profile") or "", registrations)
    ]


def _registration(written: Any) -> register.Registration:
    if not isinstance(written, dict) or not written.keys() <= _ENTITY_FIELDS:
        raise OperatorError(f"an entity is an object of {', '.join(sorted(_ENTITY_FIELDS))}", _EXAMPLE)
    entry = Call("", {}, {}, written)
    code, attributes = entry.text("code"), written.get("attributes", {})
    if not isinstance(attributes, dict) or not all(isinstance(value, str) for value in attributes.values()):
        raise OperatorError("attributes is no object of texts", _EXAMPLE)
    return register.Registration(
        entry.text("cn") or "",
        None if code is None else Secret(code),
        register.attributes_of(attributes),
        entry.texts("names"),
        entry.number("line", 0),
    )


def _list_entities(actions: Actions, call: Call) -> Any:
    found = register.entities(actions, call.query.get("profile"), call.query.get("state"), call.limit)
    return [views.entity(row) for row in found]


def _show_entity(actions: Actions, call: Call) -> Any:
    return views.entity(register.entity(actions, int(call.parts["id"])))


def _reset_entity(actions: Actions, call: Call) -> Any:
    code = call.text("code")
    given = None if code is None else Secret(code)
    return views.registered(register.reset(actions, call.who, int(call.parts["id"]), given))


def _remove_entity(actions: Actions, call: Call) -> Any:
    removed = register.remove(actions, call.who, int(call.parts["id"]))
    return {**views.entity(removed), "state": "removed"}


def _make_token(actions: Actions, call: Call) -> Any:
    grant = generator.Grant(
        profiles=call.texts("profiles"),
        pattern=call.text("cn_pattern"),
        per_minute=call.number("per_minute", 60),
        most=call.number("most", 0) if "most" in call.body else None,
        valid=timedelta(seconds=min(call.number("valid_seconds", 0), 10**9)) if "valid_seconds" in call.body else None,
    )
    return views.new_token(*generator.new_token(actions, call.who, call.text("name") or "", grant))


def _list_tokens(actions: Actions, call: Call) -> Any:
    return [views.token(row) for row in generator.tokens(actions, call.limit)]


def _revoke_token(actions: Actions, call: Call) -> Any:
    generator.revoke_token(actions, call.who, call.parts["name"])
    return {"name": call.parts["name"], "state": "revoked"}


def _list_profiles(actions: Actions, _call: Call) -> Any:
    return [views.profile(state) for state in switchboard.profiles(actions)]


def _show_profile(actions: Actions, call: Call) -> Any:
    return views.profile(switchboard.profile(actions, call.parts["name"]), whole=True)


def _enable_profile(actions: Actions, call: Call) -> Any:
    return views.profile(switchboard.switch(actions, call.who, call.parts["name"], enabled=True))


def _disable_profile(actions: Actions, call: Call) -> Any:
    return views.profile(switchboard.switch(actions, call.who, call.parts["name"], enabled=False))


_NUMBER = "(?P<id>[0-9]{1,12})"
_NAME = "(?P<name>[^/]{1,128})"

ENROLMENT_ROUTES: tuple[Route, ...] = (
    Route("POST", re.compile("/api/v1/entities"), _add_entities, tenants=True),
    Route("GET", re.compile("/api/v1/entities"), _list_entities, tenants=True),
    Route("GET", re.compile(f"/api/v1/entities/{_NUMBER}"), _show_entity, tenants=True),
    Route("POST", re.compile(f"/api/v1/entities/{_NUMBER}/reset"), _reset_entity, tenants=True),
    Route("DELETE", re.compile(f"/api/v1/entities/{_NUMBER}"), _remove_entity, tenants=True),
    Route("POST", re.compile("/api/v1/tokens"), _make_token, tenants=True),
    Route("GET", re.compile("/api/v1/tokens"), _list_tokens, tenants=True),
    Route("DELETE", re.compile(f"/api/v1/tokens/{_NAME}"), _revoke_token, tenants=True),
    Route("GET", re.compile("/api/v1/profiles"), _list_profiles, tenants=True),
    Route("GET", re.compile(f"/api/v1/profiles/{_NAME}"), _show_profile, tenants=True),
    Route("POST", re.compile(f"/api/v1/profiles/{_NAME}/enable"), _enable_profile, tenants=True),
    Route("POST", re.compile(f"/api/v1/profiles/{_NAME}/disable"), _disable_profile, tenants=True),
)
