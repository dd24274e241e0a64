"""The register of end entities as people keep it: entering many at once, new codes, removing."""

import unicodedata
from collections.abc import Iterator, Mapping, Sequence

import attrs

from scepd.admin.actions import Actions, NotFound
from scepd.admin.vouching import refusal_hint, refused_names
from scepd.challenge.digest import keyed_digest, new_challenge
from scepd.profile.access import EntityRule
from scepd.records import Attribute, Entity, EntityState, Secret
from scepd.records.credentials import MOST_TRIES
from scepd.refusal import OperatorError, Reject
from scepd.store.entities import Code, EntityExists, NewEntity
from scepd.x509.general_names import general_name_from_text
from scepd.x509.names import COMMON_NAME, OIDS, check_attribute

MOST_ENTITIES = 20_000  # entered by one call
SHORTEST_CODE = 8  # characters of a code that a person chose; wrong ones are counted

_LIST = "scepd entity list"


@attrs.frozen
class Registration:
    """What is to be entered: the common name, a code (None: one is made), attributes by short name, names ("dns:host").

    `line` is where it stood in a file, 0 for one that was in none.
    """

    common_name: str
    code: Secret | None = None
    attributes: tuple[tuple[str, str], ...] = ()
    names: tuple[str, ...] = ()
    line: int = 0


@attrs.frozen
class Registered:
    """An entity just entered; `code` is the one that was made, which nobody can see again."""

    id: int
    common_name: str
    code: Secret | None


def register(actions: Actions, who: str, profile: str, registrations: Sequence[Registration]) -> Sequence[Registered]:
    """Enter entities, all or none; raises `OperatorError` with every problem, a line each."""
    rule = _rule(actions, profile)
    if not 0 < len(registrations) <= MOST_ENTITIES:
        raise OperatorError(f"{len(registrations)} entities cannot be entered at once", f"1 to {MOST_ENTITIES}")
    checked = [_normal(one) for one in registrations]
    problems = list(_problems(checked, actions.repository.entity_names(profile)))
    refused = [] if problems else list(_refused(actions, profile, checked))
    if problems or refused:
        found = [*problems, *refused]
        count = "one problem" if len(found) == 1 else f"{len(found)} problems"
        hint = refusal_hint(actions.profile(profile)) if refused else "mend them and try again"
        raise OperatorError("\n  ".join((f"{count}, nothing was entered:", *found)), hint)
    made = [None if one.code is not None else new_challenge(actions.random) for one in checked]
    entities = [
        NewEntity(one.common_name, _code(actions, rule, one.code, code), one.attributes, _canonical(one.names))
        for one, code in zip(checked, made, strict=True)
    ]
    try:
        numbers = actions.repository.add_entities(profile, entities, who=who)
    except EntityExists as error:  # entered by somebody else since they were looked at
        raise OperatorError(f"{error.problem}; nothing was entered", error.hint) from error
    return [Registered(number, one.common_name, code) for number, one, code in zip(numbers, checked, made, strict=True)]


def entities(actions: Actions, profile: str | None, state: str | None, limit: int) -> Sequence[Entity]:
    """Return entities, newest first."""
    if state is not None and state.upper() not in EntityState.__members__:
        raise OperatorError(f"{state!r} is no state", f"one of: {', '.join(EntityState.__members__).lower()}")
    wanted = None if state is None else EntityState[state.upper()]
    found = actions.repository.entities
    return actions.scope.newest(lambda of: found(profile=of, state=wanted, limit=limit), profile, limit)


def entity(actions: Actions, number: int) -> Entity:
    """Return one entity; raises `NotFound`."""
    found = actions.repository.entity(number)
    if found is None or not actions.scope.has(found.profile):
        raise NotFound(f"there is no entity {number}", _LIST)
    return found


def reset(actions: Actions, who: str, number: int, given: Secret | None = None) -> Registered:
    """Let an entity enrol (again) with a new code; raises `OperatorError` while a request of it is under way."""
    found = entity(actions, number)
    if given is not None:
        for problem in _code_problems(given):
            raise OperatorError(problem, "leave --code out: a good one is made")
    made = new_challenge(actions.random) if given is None else None
    code = _code(actions, _rule(actions, found.profile), given, made)
    if not actions.repository.reset_entity(number, code, who=who):
        raise OperatorError(f"entity {number} is in use by request {found.transaction}", "scepd request list")
    return Registered(number, found.username, made)


def remove(actions: Actions, who: str, number: int) -> Entity:
    """Take an entity out of the register; its certificates stay valid. Raises `OperatorError` as `reset` does."""
    found = entity(actions, number)
    if not actions.repository.remove_entity(number, who=who):
        raise OperatorError(f"entity {number} is in use by request {found.transaction}", "scepd request list")
    return found


def _rule(actions: Actions, profile: str) -> EntityRule:
    for rule in actions.profile(profile).challenge:
        if isinstance(rule, EntityRule):
            return rule
    raise OperatorError(
        f"profile {profile!r} has no register of entities", f'[profile.{profile}] challenge = [{{ method = "entity" }}]'
    )


def _code(actions: Actions, rule: EntityRule, given: Secret | None, made: Secret | None) -> Code:
    secret = given if made is None else made
    assert secret is not None  # one of them is there
    digest = keyed_digest(actions.store_key, secret.reveal())
    return Code(digest, actions.clock.now() + rule.valid, None if given is None else MOST_TRIES)


def _normal(registration: Registration) -> Registration:
    return attrs.evolve(registration, common_name=unicodedata.normalize("NFC", registration.common_name))


def _problems(registrations: Sequence[Registration], taken: frozenset[str]) -> Iterator[str]:
    first: dict[str, Registration] = {}
    for one in registrations:
        where = f"line {one.line}: " if one.line else ""
        for problem in _problems_of(one):
            yield f"{where}{problem}"
        if one.common_name in taken:
            yield f"{where}{one.common_name!r} is in the register already"
        earlier = first.setdefault(one.common_name, one)
        if earlier is not one:
            yield f"{where}{one.common_name!r} stands in line {earlier.line} already"


def _refused(actions: Actions, profile: str, registrations: Sequence[Registration]) -> Iterator[str]:
    for one in registrations:
        where = f"line {one.line}: " if one.line else ""
        names = _canonical(one.names)
        for problem in refused_names(actions.scope, actions.profile(profile), names, one.common_name):
            yield f"{where}{problem}"


def _problems_of(registration: Registration) -> Iterator[str]:
    yield from _attribute_problems("CN", registration.common_name)
    for word, value in registration.attributes:
        yield from _attribute_problems(word, value)
    for name in registration.names:
        if general_name_from_text(name) is None:
            yield f"{name!r} is no alternative name"
    if registration.code is not None:
        yield from _code_problems(registration.code)


def _attribute_problems(word: str, value: str) -> Iterator[str]:
    if word not in OIDS:
        yield f"{word} is no attribute of a subject"
        return
    if not value:
        yield f"{word} is empty"
        return
    try:
        check_attribute(Attribute(OIDS.get(word, COMMON_NAME), value))
    except Reject as refusal:
        yield refusal.detail


def _code_problems(code: Secret) -> Iterator[str]:
    text = code.reveal()
    if len(text) < SHORTEST_CODE or not text.isprintable() or text != text.strip():
        yield f"the code is shorter than {SHORTEST_CODE} characters, or has blanks at its ends or control characters"


def _canonical(names: Sequence[str]) -> tuple[str, ...]:
    read = map(general_name_from_text, names)
    return tuple(sorted({f"{name.kind}:{name.value}" for name in read if name is not None}))


def attributes_of(written: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    """Return attributes in the order of their words, so that equal registrations are equal."""
    return tuple(sorted(written.items()))
