"""The admin API as a function: (method, path, JSON body) → (HTTP status, JSON value); the desk adds HTTP."""

import re
from collections.abc import Mapping
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from scepd.admin import views
from scepd.admin.actions import Actions, Ending, NotFound
from scepd.admin.binding import Binding
from scepd.admin.call import Call, Route
from scepd.admin.enrolment_api import ENROLMENT_ROUTES
from scepd.records import RevocationReason, TransactionState
from scepd.refusal import OperatorError, Unavailable

MOST_CHALLENGES = 1000  # made by one call

Reply = tuple[int, Any]


def handle(
    actions: Actions,
    method: str,
    path: str,
    body: Mapping[str, Any] | None = None,
    *,
    who: str = "desk",
    profiles: frozenset[str] | None = None,
) -> Reply:
    """Answer one call: 200 with a value; 400, 403, 404, 405 or 503 with {"problem", "hint"}.

    `who` is the person as the desk knows it (the user of the Unix socket's peer): it goes into the audit rows.
    `profiles` are those that this person administers, None for all.
    """
    parts = urlsplit(path)
    matches = [(route, route.pattern.fullmatch(parts.path)) for route in ROUTES]
    found = [(route, match) for route, match in matches if match is not None]
    if not found:
        return 404, _problem(f"there is nothing at {parts.path}", "GET /api/v1/challenges")
    chosen = next(((route, match) for route, match in found if route.method == method), None)
    if chosen is None:
        return 405, _problem(f"{method} is not for {parts.path}", " or ".join(route.method for route, _ in found))
    route, match = chosen
    if profiles is not None:
        if not route.tenants:
            return 403, _problem("not for the administrator of a tenant", "ask somebody who runs the service")
        actions = actions.within(profiles)
    names = {name: unquote(value) for name, value in match.groupdict().items()}
    query = {name: values[-1] for name, values in parse_qs(parts.query).items()}
    return _answer(actions, route, Call(who, names, query, body or {}))


def _answer(actions: Actions, route: Route, call: Call) -> Reply:
    try:
        return 200, route.answer(actions, call)
    except NotFound as error:
        return 404, _problem(error.problem, error.hint)
    except OperatorError as error:
        return 400, _problem(error.problem, error.hint)
    except Unavailable as error:
        return 503, _problem(error.cause, "scepd status")


def _problem(problem: str, hint: str) -> dict[str, str]:
    return {"problem": problem, "hint": hint}


def _make_challenges(actions: Actions, call: Call) -> Any:
    count = call.number("count", 1)
    if not 1 <= count <= MOST_CHALLENGES:
        raise OperatorError(f"{count} challenges cannot be made at once", f"--count 1 (at most {MOST_CHALLENGES})")
    seconds = call.number("valid_seconds", 0)
    binding = Binding(
        common_name=call.text("cn"),
        names=call.texts("names"),
        valid=timedelta(seconds=min(seconds, 10**9)) if "valid_seconds" in call.body else None,
        uses=call.number("uses", 1),
        subject=call.text("subject"),
        key_type=call.text("key_type"),
    )
    profile = call.text("profile") or ""
    return [views.new_challenge(actions.new_challenge(call.who, profile, binding)) for _ in range(count)]


def _list_challenges(actions: Actions, call: Call) -> Any:
    return [views.challenge(row) for row in actions.challenges(call.query.get("profile"), call.limit)]


def _cancel_challenge(actions: Actions, call: Call) -> Any:
    actions.cancel_challenge(call.who, int(call.parts["id"]))
    return {"id": int(call.parts["id"]), "state": "cancelled"}


def _list_certificates(actions: Actions, call: Call) -> Any:
    return [views.certificate(row) for row in actions.certificates(call.query.get("subject"), call.limit)]


def _show_certificate(actions: Actions, call: Call) -> Any:
    row = actions.certificate(int(call.parts["serial"], 16), call.query.get("issuer"))
    return views.certificate(row, with_pem=True)


def _revoke_certificate(actions: Actions, call: Call) -> Any:
    word = call.text("reason") or RevocationReason.unspecified.name
    if word not in RevocationReason.__members__:
        raise OperatorError(f"{word!r} is no reason", f"one of: {', '.join(RevocationReason.__members__)}")
    ending = Ending(RevocationReason[word], call.text("issuer"), call.moment("invalid_since"))
    return views.certificate(actions.revoke_certificate(call.who, int(call.parts["serial"], 16), ending))


def _release_certificate(actions: Actions, call: Call) -> Any:
    return views.certificate(actions.release_certificate(call.who, int(call.parts["serial"], 16), call.text("issuer")))


def _approve_request(actions: Actions, call: Call) -> Any:
    return views.transaction(actions.decide(call.who, int(call.parts["id"]), approve=True))


def _reject_request(actions: Actions, call: Call) -> Any:
    detail = call.text("detail") or ""
    return views.transaction(actions.decide(call.who, int(call.parts["id"]), approve=False, detail=detail))


def _adopt_requests(actions: Actions, call: Call) -> Any:
    return views.requests(actions.adopt(call.who, call.text("node") or ""), ())


def _list_requests(actions: Actions, call: Call) -> Any:
    profile, limit = call.query.get("profile"), call.limit
    word = call.query.get("state", "").upper()
    if word in TransactionState.__members__:
        return views.requests(actions.transactions(profile, limit, TransactionState[word]), ())
    if word == views.REFUSED:
        return views.requests((), actions.refusals(profile, limit))
    if word:
        states = (*TransactionState.__members__, views.REFUSED)
        raise OperatorError(f"{word.lower()!r} is no state", f"one of: {', '.join(states).lower()}")
    return views.requests(actions.transactions(profile, limit), actions.refusals(profile, limit))[:limit]


def _show_request(actions: Actions, call: Call) -> Any:
    transactions, refusals = actions.request(call.parts["id"])
    return views.requests(transactions, refusals, with_trail=True)


ROUTES: tuple[Route, ...] = (
    Route("POST", re.compile("/api/v1/challenges"), _make_challenges, tenants=True),
    Route("GET", re.compile("/api/v1/challenges"), _list_challenges, tenants=True),
    Route("DELETE", re.compile("/api/v1/challenges/(?P<id>[0-9]{1,12})"), _cancel_challenge, tenants=True),
    Route("GET", re.compile("/api/v1/certificates"), _list_certificates, tenants=True),
    Route("GET", re.compile("/api/v1/certificates/(?P<serial>[0-9A-Fa-f]{1,64})"), _show_certificate, tenants=True),
    Route("POST", re.compile("/api/v1/certificates/(?P<serial>[0-9A-Fa-f]{1,64})/revoke"), _revoke_certificate, tenants=True),
    Route("POST", re.compile("/api/v1/certificates/(?P<serial>[0-9A-Fa-f]{1,64})/release"), _release_certificate, tenants=True),
    Route("POST", re.compile("/api/v1/requests/(?P<id>[0-9]{1,12})/approve"), _approve_request, tenants=True),
    Route("POST", re.compile("/api/v1/requests/(?P<id>[0-9]{1,12})/reject"), _reject_request, tenants=True),
    Route("POST", re.compile("/api/v1/requests/adopt"), _adopt_requests),
    Route("GET", re.compile("/api/v1/requests"), _list_requests, tenants=True),
    Route("GET", re.compile("/api/v1/requests/(?P<id>[^/]{1,1024})"), _show_request, tenants=True),
    *ENROLMENT_ROUTES,
)
