"""The values of a plan's fields: one reader for each kind, which notes at its place what it cannot take."""

import difflib
import re
from collections.abc import Callable, Iterable
from typing import Any

import attrs

from scepd.ca.drafting import read_general_name
from scepd.ca.plan import read_moment
from scepd.hsm.keys import parse_uri
from scepd.refusal import OperatorError
from scepd.x509.names import from_text

_LEVELS = 9  # of CAs below one another
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_KIND = re.compile(r"rsa:[0-9]{3,5}|ec:[A-Za-z0-9-]{1,40}", re.ASCII)  # a key that is there already may be of any
_URL = re.compile(r"http://[!-~]+", re.ASCII)


@attrs.frozen
class PlanFault:
    """One thing that is wrong with a plan: where ("$.steps[0].key.role"), why, and what to write instead."""

    path: str
    reason: str
    hint: str


@attrs.frozen
class PlanPlace:
    """A place in a plan, and the list that collects what is wrong there and below."""

    path: str
    found: list[PlanFault]

    def __truediv__(self, step: str | int) -> "PlanPlace":
        """Return the place one key or index further down."""
        return PlanPlace(f"{self.path}[{step}]" if isinstance(step, int) else f"{self.path}.{step}", self.found)

    def refuse(self, reason: str, hint: str) -> None:
        """Note what is wrong at this place."""
        self.found.append(PlanFault(self.path, reason, hint))

    def refusal(self, reason: str, hint: str) -> "PlanRefusal":
        """Return what a reader raises for a value at this place that it cannot take."""
        return PlanRefusal(PlanFault(self.path, reason, hint))

    def take(self, read: "Reader", raw: object) -> Any:
        """Return what the reader makes of the value at this place; None where it refuses, which is noted."""
        try:
            return read(raw, self)
        except PlanRefusal as refusal:
            self.found.append(refusal.fault)
            return None


class PlanRefusal(Exception):  # noqa: N818 - a value is refused
    """A reader cannot take a value."""

    def __init__(self, fault: PlanFault) -> None:
        """Keep what is wrong."""
        super().__init__(fault.reason)
        self.fault = fault


# Returns the value, or raises `PlanRefusal`.
Reader = Callable[[object, PlanPlace], Any]


def kind_of_json(raw: object) -> str:
    """Return what JSON calls a value."""
    kinds = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list, "an array"), (dict, "an object"))
    return next((word for kind, word in kinds if isinstance(raw, kind)), "null")


def known(words: Iterable[str], word: str) -> str:
    """Return a hint that names the nearest known word, or all of them."""
    listed = ", ".join(words)
    near = difflib.get_close_matches(word, listed.split(", "), 1, 0.6)
    return f"did you mean {near[0]}? (known: {listed})" if near else f"known: {listed}"


def text(raw: object, place: PlanPlace) -> str:
    """Read a text on one line."""
    if not isinstance(raw, str):
        raise place.refusal(f"must be a string, not {kind_of_json(raw)}", "write it in quotation marks")
    if not raw.strip():
        raise place.refusal("is empty", "write a value, or leave the key out")
    return _printable(raw, place)


def line(raw: object, place: PlanPlace) -> str:
    """Read a line to be shown, which may be empty."""
    return "" if raw == "" else text(raw, place)


def _printable(raw: str, place: PlanPlace) -> str:
    # Plans are shown on a terminal, to somebody who is to believe what stands there.
    if not raw.isprintable():
        raise place.refusal("has control or formatting characters", "write it on one line, without escapes")
    return raw


def pem(raw: object, place: PlanPlace) -> str:
    """Read a request, a certificate or a public key in PEM."""
    if not isinstance(raw, str):
        raise place.refusal(f"must be a string, not {kind_of_json(raw)}", "the whole PEM, \\n at the end of each line")
    if "-----BEGIN " not in raw or not raw.isascii() or not raw.replace("\r", "").replace("\n", "").isprintable():
        raise place.refusal("is no PEM", "-----BEGIN CERTIFICATE REQUEST-----, and what follows")
    return raw


def file(raw: object, place: PlanPlace) -> str:
    """Read the path of a file: absolute, since a plan may be carried out from elsewhere."""
    path = text(raw, place)
    if not path.startswith("/"):
        raise place.refusal(f"{path!r} is no absolute path", f"realpath -m {path}")
    return path


def flag(raw: object, place: PlanPlace) -> bool:
    """Read true or false."""
    if not isinstance(raw, bool):
        raise place.refusal(f"must be true or false, not {kind_of_json(raw)}", "true or false, without quotation marks")
    return raw


def levels(raw: object, place: PlanPlace) -> int | None:
    """Read a number of levels, or null for any number."""
    if raw is None:
        return None
    hint = f"a number from 0 to {_LEVELS}; null: any number of CAs below it"
    if type(raw) is not int:
        raise place.refusal(f"must be a whole number or null, not {kind_of_json(raw)}", hint)
    if not 0 <= raw <= _LEVELS:
        raise place.refusal(f"{raw} is out of bounds", hint)
    return raw


def word_of(*words: str) -> Reader:
    """Return a reader of one word of a closed list."""

    def read(raw: object, place: PlanPlace) -> str:
        word = text(raw, place)
        if word not in words:
            raise place.refusal(f"{word!r} is not known", known(words, word))
        return word

    return read


def kind(raw: object, place: PlanPlace) -> str:
    """Read a kind of key."""
    word = text(raw, place)
    if not _KIND.fullmatch(word):
        raise place.refusal(f"{word!r} is no kind of key", "rsa:3072, ec:P-256, ...")
    return word


def name(raw: object, place: PlanPlace) -> str:
    """Read the name of an issuer."""
    word = text(raw, place)
    if not _NAME.fullmatch(word):
        raise place.refusal(f"{word!r} is no name of an issuer", "as in [issuer.NAME]")
    return word


def url(raw: object, place: PlanPlace) -> str:
    """Read a URL for a certificate."""
    word = text(raw, place)
    if not _URL.fullmatch(word):
        raise place.refusal(f"{word!r} is no http URL", '"http://pki.example.net/crl/devices.crl"')
    return word


def list_of(read: Reader) -> Reader:
    """Return a reader of an array."""

    def read_list(raw: object, place: PlanPlace) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise place.refusal(f"must be an array, not {kind_of_json(raw)}", "[...], each in quotation marks")
        return tuple((place / index).take(read, one) for index, one in enumerate(raw))

    return read_list


def _checked(check: Callable[[str], object]) -> Reader:
    def read(raw: object, place: PlanPlace) -> str:
        word = text(raw, place)
        try:
            check(word)
        except OperatorError as error:
            raise place.refusal(error.problem, error.hint) from None
        return word

    return read


uri = _checked(parse_uri)
moment = _checked(read_moment)
general_name = _checked(read_general_name)
subject = _checked(from_text)
