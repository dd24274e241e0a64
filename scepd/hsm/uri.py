"""Names of keys: PKCS#11 URIs (RFC 7512)."""

from urllib.parse import quote, unquote_to_bytes

import attrs

from scepd.refusal import OperatorError

_EXAMPLE = 'key = "pkcs11:token=scepd;object=devices-ca"'
_SCHEME = "pkcs11:"
_TEXTS = {"token": "token", "serial": "serial", "object": "label", "manufacturer": "manufacturer", "model": "model"}


@attrs.frozen
class KeyName:
    """What a URI says of a private key: its own label and id, and, where given, the token it must be on."""

    label: str | None = None
    id: bytes | None = None
    token: str | None = None
    serial: str | None = None
    manufacturer: str | None = None
    model: str | None = None

    def __str__(self) -> str:
        """Write it as a URI, percent-encoded where RFC 7512 section 2.3 wants it."""
        parts = [
            f"{word}={quote(value, safe='')}"
            for word, field in _TEXTS.items()
            if (value := getattr(self, field)) is not None
        ]
        if self.id is not None:
            parts.append("id=" + "".join(f"%{octet:02X}" for octet in self.id))
        return _SCHEME + ";".join(parts)


def parse_uri(uri: str) -> KeyName:
    """Read a PKCS#11 URI that names one private key by object label, id or both.

    Raises `OperatorError` for anything that names no key, names it by something that moves (slots), or carries a PIN.
    """
    if not uri.startswith(_SCHEME):
        raise OperatorError(f"{uri!r} is no PKCS#11 URI", _EXAMPLE)
    path, _, query = uri.removeprefix(_SCHEME).partition("?")
    if query:
        # The value is not repeated: it may be a PIN.
        raise OperatorError("a key's URI takes no query attributes such as pin-value", _EXAMPLE)
    fields: dict[str, str | bytes] = {}
    for part in filter(None, path.split(";")):
        word, _, value = part.partition("=")
        _take(word.strip(), value.strip(), fields)
    if "label" not in fields and "id" not in fields:
        raise OperatorError(f"{uri!r} names no object: neither object= nor id=", _EXAMPLE)
    return KeyName(**fields)  # type: ignore[arg-type]  # _take keeps bytes under "id" only


def _take(word: str, value: str, fields: dict[str, str | bytes]) -> None:
    octets = unquote_to_bytes(value)
    field = _TEXTS.get(word, word)
    if field in fields:
        raise OperatorError(f"{word}= stands twice in a PKCS#11 URI", _EXAMPLE)
    if word == "type":
        if octets != b"private":
            raise OperatorError(f"type={value} is no private key", f"{_EXAMPLE} (type=private or no type at all)")
    elif word == "id":
        fields["id"] = octets
    elif word in _TEXTS:
        try:
            fields[field] = octets.decode()
        except UnicodeDecodeError as error:
            raise OperatorError(f"{word}= in a PKCS#11 URI is not UTF-8", _EXAMPLE) from error
    else:
        raise OperatorError(f"{word}= in a PKCS#11 URI is not supported here", f"{_EXAMPLE} (slots and libraries move)")
