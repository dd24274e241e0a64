"""The values of a plan's fields: one reader for each kind, which notes at its place what it cannot take."""

import re
from collections.abc import Callable
from typing import Any

from scepd.ca.drafting import read_general_name
from scepd.ca.plan import read_moment
from scepd.hsm.keys import parse_uri
from scepd.problems import Place, Refused, suggest
from scepd.refusal import OperatorError
from scepd.x509.names import from_text

_LEVELS = 9  # of CAs below one another
_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,31}")
_KIND = re.compile(r"rsa:[0-9]{3,5}|ec:[A-Za-z0-9-]{1,40}", re.ASCII)  # a key that is there already may be of any
_URL = re.compile(r"http://[!-~]+", re.ASCII)


# Returns the value, or raises `Refused`; what is wrong further down is noted at its place.
Reader = Callable[[object, Place], Any]


def kind_of_json(raw: object) -> str:
    """Return what JSON calls a value."""
    kinds = ((bool, "a boolean"), (int | float, "a number"), (str, "a string"), (list, "an array"), (dict, "an object"))
    return next((word for kind, word in kinds if isinstance(raw, kind)), "null")


def text(raw: object, _place: Place) -> str:
    """Read a text on one line."""
    if not isinstance(raw, str):
        raise Refused(f"must be a string, not {kind_of_json(raw)}", "write it in quotation marks")
    if not raw.strip():
        raise Refused("is empty", "write a value, or leave the key out")
    return _printable(raw)


def line(raw: object, place: Place) -> str:
    """Read a line to be shown, which may be empty."""
    return "" if raw == "" else text(raw, place)


def _printable(raw: str) -> str:
    # Plans are shown on a terminal, to somebody who is to believe what stands there.
    if not raw.isprintable():
        raise Refused("has control or formatting characters", "write it on one line, without escapes")
    return raw


def pem(raw: object, _place: Place) -> str:
    """Read a request, a certificate or a public key in PEM."""
    if not isinstance(raw, str):
        raise Refused(f"must be a string, not {kind_of_json(raw)}", "the whole PEM, \\n at the end of each line")
    if "-----BEGIN " not in raw or not raw.isascii() or not raw.replace("\r", "").replace("\n", "").isprintable():
        raise Refused("is no PEM", "-----BEGIN CERTIFICATE REQUEST-----, and what follows")
    return raw


def file(raw: object, place: Place) -> str:
    """Read the path of a file: absolute, since a plan may be carried out from elsewhere."""
    path = text(raw, place)
    if not path.startswith("/"):
        raise Refused(f"{path!r} is no absolute path", f"realpath -m {path}")
    return path


def flag(raw: object, _place: Place) -> bool:
    """Read true or false."""
    if not isinstance(raw, bool):
        raise Refused(f"must be true or false, not {kind_of_json(raw)}", "true or false, without quotation marks")
    return raw


def levels(raw: object, _place: Place) -> int | None:
    """Read a number of levels, or null for any number."""
    if raw is None:
        return None
    hint = f"a number from 0 to {_LEVELS}; null: any number of CAs below it"
    if type(raw) is not int:
        raise Refused(f"must be a whole number or null, not {kind_of_json(raw)}", hint)
    if not 0 <= raw <= _LEVELS:
        raise Refused(f"{raw} is out of bounds", hint)
    return raw


def word_of(*words: str) -> Reader:
    """Return a reader of one word of a closed list."""

    def read(raw: object, place: Place) -> str:
        word = text(raw, place)
        if word not in words:
            raise Refused(f"{word!r} is not known", suggest(word, words))
        return word

    return read


def kind(raw: object, place: Place) -> str:
    """Read a kind of key."""
    word = text(raw, place)
    if not _KIND.fullmatch(word):
        raise Refused(f"{word!r} is no kind of key", "rsa:3072, ec:P-256, ...")
    return word


def name(raw: object, place: Place) -> str:
    """Read the name of an issuer."""
    word = text(raw, place)
    if not _NAME.fullmatch(word):
        raise Refused(f"{word!r} is no name of an issuer", "as in [issuer.NAME]")
    return word


def url(raw: object, place: Place) -> str:
    """Read a URL for a certificate."""
    word = text(raw, place)
    if not _URL.fullmatch(word):
        raise Refused(f"{word!r} is no http URL", '"http://pki.example.net/crl/devices.crl"')
    return word


def list_of(read: Reader) -> Reader:
    """Return a reader of an array."""

    def read_list(raw: object, place: Place) -> tuple[Any, ...]:
        if not isinstance(raw, list):
            raise Refused(f"must be an array, not {kind_of_json(raw)}", "[...], each in quotation marks")
        return tuple((place / index).take(read, one) for index, one in enumerate(raw))

    return read_list


def _checked(check: Callable[[str], object]) -> Reader:
    def read(raw: object, place: Place) -> str:
        word = text(raw, place)
        try:
            check(word)
        except OperatorError as error:
            raise Refused(error.problem, error.hint) from None
        return word

    return read


uri = _checked(parse_uri)
moment = _checked(read_moment)
general_name = _checked(read_general_name)
subject = _checked(from_text)
