"""Reading a plan: every field has a type, and what is wrong is told all at once, each with its place, reason and hint."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, TypeVar, get_args

import attrs

from scepd.ca import plan_values as values
from scepd.ca.plan import KINDS, PURPOSES, VERSION, Plan, PlannedKey, PlannedSigner, Purpose, Step
from scepd.ca.plan_values import Reader, kind_of_json
from scepd.hsm.attributes import Roles
from scepd.problems import Place, Problem, Refused, suggest
from scepd.refusal import OperatorError

T = TypeVar("T", bound=attrs.AttrsInstance)
_HINT = "scepd ca create ... --plan > FILE"


class PlanError(OperatorError):
    """What was read is no plan: `problems` has everything that was found, never only the first."""

    def __init__(self, where: str, problems: Sequence[Problem]) -> None:
        """Keep the problems in the order in which they were found."""
        told = "; ".join(f"{problem.path} {problem.reason}" for problem in problems)
        super().__init__(f"{where} is no plan of a ceremony: {told}", problems[0].hint)
        self.problems = tuple(problems)


def read_plan(text: str, where: str) -> Plan:
    """Read a plan that `Plan.to_mapping` wrote as JSON. Raises `PlanError` for anything else in it."""
    place = Place()
    plan: Plan | None = place.take(_read, text)
    if plan is None:
        raise PlanError(where, place.problems({}))
    return plan


def _read(text: object, place: Place) -> Plan | None:
    try:
        raw = json.loads(str(text), object_pairs_hook=_Object, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise Refused(f"cannot be read as JSON: {error}", _HINT) from None
    if not isinstance(raw, dict):
        raise Refused(f"must be an object, not {kind_of_json(raw)}", _HINT)
    version = raw.pop("scepd_plan", None)
    if type(version) is not int or version != VERSION:
        # Of another version nothing else can be judged.
        (place / "scepd_plan").problem(f"must be {VERSION}", f'"scepd_plan": {VERSION}; {_HINT}')
        return None
    return _build(Plan, _PLAN, raw, place)


class _Object(dict[str, Any]):
    """An object of JSON that remembers keys that stand in it twice: what people read is not what is carried out."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        keys = [key for key, _ in pairs]
        self.twice = sorted({key for key in keys if keys.count(key) > 1})


def _refuse_constant(word: str) -> None:
    raise ValueError(f"{word} is no JSON")


def _object_of(build: type[T], fields: Mapping[str, Reader]) -> Reader:
    return lambda raw, place: _build(build, fields, raw, place)


def _build(build: type[T], fields: Mapping[str, Reader], raw: object, place: Place) -> T | None:
    """Return what an object says, None where anything in it was refused."""
    if not isinstance(raw, dict):
        raise Refused(f"must be an object, not {kind_of_json(raw)}", f"{{...}} with {', '.join(fields)}")
    before = len(place.found)
    for key in raw:
        if key not in fields:
            (place / key).problem("is not a key here", suggest(key, fields))
    for key in getattr(raw, "twice", ()):
        (place / key).problem("stands there twice", "leave one out")
    required = {field.name for field in attrs.fields(build) if field.default is attrs.NOTHING}
    for key in sorted(required - raw.keys()):
        (place / key).problem("is missing", suggest(key, fields))
    read = {key: (place / key).take(fields[key], value) for key, value in raw.items() if key in fields}
    return build(**read) if len(place.found) == before else None


def _read_key(raw: object, place: Place) -> PlannedKey | None:
    key = _build(PlannedKey, _KEY, raw, place)
    if key is not None and key.fresh and key.kind not in KINDS:
        (place / "kind").problem(f"no key of kind {key.kind} is made", suggest(key.kind, KINDS))
        return None
    return key


def _read_step(raw: object, place: Place) -> Step | None:
    step = _build(Step, _STEP, raw, place)
    if step is None or not isinstance(raw, dict):
        return None
    before = len(place.found)
    _judge_fields(step, raw, place)
    _judge_subject(step, place)
    roles = _ROLES[step.makes]
    if step.key is not None and step.key.role not in roles:
        (place / "key" / "role").problem(f"{step.key.role} is not the role of such a key", " or ".join(roles))
    return step if len(place.found) == before else None


def _judge_fields(step: Step, raw: Mapping[str, Any], place: Place) -> None:
    """Note what a step of its purpose lacks, and what it has that would mean nothing there."""
    need, may = _FIELDS[step.makes]
    for field in sorted(need - raw.keys()):
        (place / field).problem(f"is missing: {step.makes} needs it", f"needed: {', '.join(sorted(need))}")
    said = {field for field in raw if field != "path_length" or raw[field] is not None}
    for field in sorted(said - need - may - {"makes"}):
        (place / field).problem(f"means nothing where {step.makes} is made", "leave it out")
    if {"key", "request"} <= may and len({"key", "request"} & raw.keys()) != 1:
        place.problem("certifies one key: that of the token, or that of a request", '"key" or "request"')


def _judge_subject(step: Step, place: Place) -> None:
    # The name of another CA's certificate is copied, whatever it is; the text is compared with it.
    if step.subject and "BEGIN CERTIFICATE-----" not in step.request:
        (place / "subject").take(values.subject, step.subject)


_KEY: Mapping[str, Reader] = {
    "uri": values.uri,
    "kind": values.kind,
    "role": values.word_of(*get_args(Roles)),
    "fresh": values.flag,
}
_SIGNER: Mapping[str, Reader] = {
    "uri": values.uri,
    "certificate": values.file,
    "kind": values.kind,
    "both_roles": values.flag,
}
_STEP: Mapping[str, Reader] = {
    "makes": values.word_of(*PURPOSES),
    "output": values.file,
    "key": _read_key,
    "request": values.pem,
    "subject": values.text,
    "names": values.list_of(values.general_name),
    "not_after": values.moment,
    "path_length": values.levels,
    "signer": _object_of(PlannedSigner, _SIGNER),
    "issuer": values.name,
    "crl_urls": values.list_of(values.url),
    "ocsp_urls": values.list_of(values.url),
    "issuer_urls": values.list_of(values.url),
    "chain": values.file,
}


def _read_steps(raw: object, place: Place) -> tuple[Step, ...] | None:
    if raw == []:
        raise Refused("is empty", "at least one step")
    read: tuple[Step, ...] | None = values.list_of(_read_step)(raw, place)
    return read


_PLAN: Mapping[str, Reader] = {"title": values.text, "steps": _read_steps, "then": values.list_of(values.line)}

_URLS = {"crl_urls", "ocsp_urls", "issuer_urls"}
_CERTIFIED, _EITHER = {"not_after", "signer", "output"}, {"key", "request", "issuer"}
_RA = (_CERTIFIED | {"subject"}, _EITHER | _URLS)
# What a step has, and what it may have beside.
_FIELDS: Mapping[Purpose, tuple[set[str], set[str]]] = {
    "key": ({"key"}, set()),
    "root": ({"key", "subject", "not_after", "path_length", "output"}, set()),
    "request": ({"key", "subject", "output"}, set()),
    "ca": (_CERTIFIED | {"subject", "path_length"}, _EITHER | _URLS),
    "ra": _RA,
    "ra-sign": _RA,
    "ra-decrypt": _RA,
    "ocsp": (_CERTIFIED | {"subject"}, _EITHER),
    "tls": (_CERTIFIED | {"names"}, _EITHER | _URLS),
    "install": ({"key", "request", "subject", "chain", "output"}, set()),
}
_ROLES: Mapping[Purpose, tuple[Roles, ...]] = {
    "key": get_args(Roles),
    **dict.fromkeys(("root", "request", "ca", "install"), ("sign", "both")),
    "ra": ("both",),
    "ra-sign": ("sign",),
    "ra-decrypt": ("decrypt",),
    "ocsp": ("sign",),
    "tls": ("sign",),
}
