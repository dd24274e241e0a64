"""The values of a configuration file, one reader for each kind; a reader raises `Refused`."""

import ipaddress
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from typing import Literal
from urllib.parse import unquote, urlsplit

from scepd.problems import Refused, suggest

_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d|w|y)")
_UNITS = {
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_OID = re.compile(r"[0-2](\.(0|[1-9][0-9]{0,38})){1,30}")
_LONGEST = timedelta(days=365 * 100)


def read_text(raw: object) -> str:
    """Return a text that is not empty and has no control characters."""
    if not isinstance(raw, str):
        raise Refused(f"must be a text, not {_kind(raw)}", "write it in quotation marks")
    if not raw.strip():
        raise Refused("is empty", "write a value, or leave the key out")
    if not raw.isprintable():
        raise Refused("has control characters", "write it on one line, without escapes such as \\n")
    return raw


def read_sha256(raw: object) -> str:
    """Return a SHA-256 digest as lower-case hex."""
    if not isinstance(raw, str) or not re.fullmatch(r"[0-9A-Fa-f]{64}", raw):
        raise Refused("must be a SHA-256 digest of 64 hex digits", "sha256sum FILE")
    return raw.lower()


def read_flag(raw: object) -> bool:
    """Return true or false."""
    if not isinstance(raw, bool):
        raise Refused(f"must be true or false, not {_kind(raw)}", "write true or false, without quotation marks")
    return raw


def whole(low: int, high: int) -> Callable[[object], int]:
    """Return a reader of whole numbers between two bounds, both included."""

    def read_whole(raw: object) -> int:
        if not isinstance(raw, int) or isinstance(raw, bool):
            raise Refused(f"must be a whole number, not {_kind(raw)}", f"write a number from {low} to {high}")
        if not low <= raw <= high:
            raise Refused(f"{raw} is out of bounds", f"write a number from {low} to {high}")
        return raw

    return read_whole


def one_of(*words: str) -> Callable[[object], str]:
    """Return a reader of one word of a closed list."""

    def read_word(raw: object) -> str:
        text = read_text(raw)
        if text not in words:
            raise Refused(f"{text!r} is not known here", suggest(text, words))
        return text

    return read_word


def read_off(raw: object) -> Literal[False]:
    """Return false, which stands in the place of a table for what is not wanted at all."""
    if raw is not False:
        raise Refused(
            f"must be a table or false, not {_kind(raw)}",
            "write false, or { } with what shall differ from the defaults",
        )
    return False


def read_duration(raw: object) -> timedelta:
    """Return a duration above zero written as number and unit: 30s, 15m, 12h, 90d, 4w, 2y (a year is 365 days)."""
    duration = read_delay(raw)
    if not duration:
        raise Refused(f"{raw!r} is out of bounds", 'write a duration above zero and up to "100y"')
    return duration


def read_delay(raw: object) -> timedelta:
    """Return a duration as `read_duration` does, or none at all: 0s."""
    if not isinstance(raw, str):
        raise Refused(f"must be a duration, not {_kind(raw)}", 'write number and unit, such as "90d", "12h" or "2y"')
    match = _DURATION.fullmatch(raw)
    if match is None:
        raise Refused(f"{raw!r} is no duration", 'write number and unit (s m h d w y), such as "90d", "12h" or "2y"')
    duration = int(match[1]) * _UNITS[match[2]]
    if duration > _LONGEST:
        raise Refused(f"{raw!r} is out of bounds", 'write a duration of up to "100y"')
    return duration


def read_skew(raw: object) -> timedelta | Literal[False]:
    """Return how far two clocks may differ; false: they are not compared."""
    if raw is False:
        return False
    return read_duration(raw)


def read_instant(raw: object) -> datetime:
    """Return a moment in UTC; a date-time without offset is UTC, a date alone its first moment."""
    example = "write it without quotation marks: 2031-03-01T06:00:00Z"
    if not isinstance(raw, date):  # a datetime is a date
        raise Refused(f"must be a date and time, not {_kind(raw)}", example)
    moment = raw if isinstance(raw, datetime) else datetime.combine(raw, time.min)
    if moment.tzinfo is None:
        return moment.replace(tzinfo=UTC)
    try:
        return moment.astimezone(UTC)
    except OverflowError:
        raise Refused(f"{raw} is out of bounds", example) from None


def read_fraction(raw: object) -> float:
    """Return a part of a whole: 0 or more, less than 1."""
    if not isinstance(raw, int | float) or isinstance(raw, bool):
        raise Refused(f"must be a number, not {_kind(raw)}", "write a part of the whole, such as 0.5")
    if not 0 <= raw < 1:
        raise Refused(f"{raw} is out of bounds", "write a number from 0 to less than 1, such as 0.5")
    return float(raw)


def read_name(raw: object) -> str:
    """Return a name for an issuer, a listener or a profile: it becomes a log field and a metric label."""
    text = read_text(raw)
    if not re.fullmatch(r"[a-z0-9][a-z0-9_-]{0,31}", text):
        raise Refused(f"{text!r} cannot be a name", "use up to 32 of a-z 0-9 - _, beginning with a letter or digit")
    return text


def read_address(raw: object) -> tuple[str, int]:
    """Return (host, port); the host is an IP address, so that nothing depends on a name service at start."""
    text = read_text(raw)
    host, colon, port = text.rpartition(":")
    example = 'write "0.0.0.0:80", "127.0.0.1:8080" or "[::]:443"'
    if not colon or not re.fullmatch(r"[0-9]{1,5}", port):
        raise Refused(f"{text!r} has no port", example)
    if int(port) > 65_535:
        raise Refused(f"port {port} does not exist", "use a port up to 65535")
    bracketed = host.startswith("[") and host.endswith("]")
    try:
        address = ipaddress.ip_address(host[1:-1] if bracketed else host)
    except ValueError:
        raise Refused(f"{host!r} is no IP address", example) from None
    if bracketed != (address.version == 6):
        raise Refused(f"{text!r}: an IPv6 address stands in brackets, an IPv4 address does not", example)
    return str(address), int(port)


def read_url(raw: object) -> str:
    """Return an absolute http or https URL without user, query and fragment."""
    text = read_text(raw)
    example = 'write it in full, such as "http://pki.example.net/crl/devices.crl"'
    try:
        parts = urlsplit(text)
        port_is_number = parts.port is None or parts.port > 0
    except ValueError:
        raise Refused(f"{text!r} is no URL", example) from None
    if parts.scheme not in {"http", "https"} or not parts.hostname or not port_is_number or re.search(r"\s", text):
        raise Refused(f"{text!r} is no http or https URL", example)
    if not text.isascii():
        raise Refused("has letters that a URL cannot carry", "use punycode for the host and %XX for the path")
    if parts.username is not None or parts.query or parts.fragment:
        raise Refused("has a user, a query or a fragment", "leave out everything but host, port and path")
    return text


def read_oid(raw: object) -> str:
    """Return a dotted object identifier."""
    text = read_text(raw)
    first, _, rest = text.partition(".")
    if not _OID.fullmatch(text) or (first != "2" and int(rest.partition(".")[0]) > 39):
        raise Refused(f"{text!r} is no object identifier", 'write digits and dots, such as "1.3.6.1.5.5.7.3.2"')
    return text


def read_key_uri(raw: object) -> str:
    """Return a PKCS#11 URI (RFC 7512) that names a key by object label or id, and carries no PIN."""
    text = read_text(raw)
    example = 'write "pkcs11:token=scepd;object=devices-ca"'
    if not text.startswith("pkcs11:"):
        raise Refused("is no PKCS#11 URI", example)
    path, _, query = text.removeprefix("pkcs11:").partition("?")
    if "pin-" in query:
        raise Refused("carries a PIN or the way to one", "name the PIN once, under [hsm] pin")
    attributes = [part.partition("=") for part in path.split(";") if part]
    names = [name for name, _, _ in attributes]
    unknown = set(names) - _URI_ATTRIBUTES
    if unknown:
        name = min(unknown)
        raise Refused(f"{name!r} is no attribute of a PKCS#11 URI", suggest(name, _URI_ATTRIBUTES))
    if len(set(names)) != len(names) or not all(value for _, _, value in attributes):
        raise Refused("has an attribute twice or without a value", example)
    if not {"object", "id"} & set(names):
        raise Refused("does not say which key", example)
    if {name: value for name, _, value in attributes}.get("type", "private") != "private":
        raise Refused("names something that is not a private key", "leave type out, or write type=private")
    return text


_URI_ATTRIBUTES = frozenset(
    {"token", "manufacturer", "serial", "model", "object", "type", "id", "slot-id", "slot-manufacturer",
     "slot-description", "library-manufacturer", "library-description", "library-version"},
)  # fmt: skip


def same_key(first: str, second: str) -> bool:
    """Return whether two PKCS#11 URIs name the same object, however they are spelled."""
    return _key_of(first) == _key_of(second)


def _key_of(uri: str) -> tuple[str | None, str | None]:
    path = uri.removeprefix("pkcs11:").partition("?")[0]
    attributes = {
        name: unquote(value, "latin-1") for name, _, value in (part.partition("=") for part in path.split(";"))
    }
    return attributes.get("object"), attributes.get("id")


def _kind(raw: object) -> str:
    # What TOML calls it, so that the words are those of the file.
    for kind, word in (
        (bool, "a boolean"),
        (int, "a number"),
        (float, "a number"),
        (str, "a text"),
        (list, "an array"),
        (dict, "a table"),
    ):
        if isinstance(raw, kind):
            return word
    return "a date or time"
