"""Which texts a certificate may carry, whatever field they stand in."""

import re
import unicodedata

# Controls, formatting (bidirectional marks, joiners), surrogates, private use, unassigned, line and paragraph ends.
REFUSED_CATEGORIES = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?"
_HOST_NAME = re.compile(rf"(?:{_LABEL}\.)*(?![0-9]+\Z){_LABEL}")
_LOCAL_PART = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+(?:\.[A-Za-z0-9!#$%&'*+/=?^_`{|}~-]+)*")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[A-Za-z0-9._~:/?#\[\]@!$&'()*+,;=%-]+")


def unsafe(text: str) -> str | None:
    """Return what makes a text unfit for a certificate, None for a fit one (threats S-56).

    Unfit are NUL and other controls, formatting characters (bidirectional marks, joiners), surrogates, private and
    unassigned code points, line separators, and a space at either end.
    """
    if not text:
        return "is empty"
    if text[0].isspace() or text[-1].isspace():
        return "begins or ends with a space"
    if text.isascii():
        return None if text.isprintable() else "holds a control character"
    for character in text:
        if unicodedata.category(character) in REFUSED_CATEGORIES:
            return f"holds U+{ord(character):04X}"
    return None


def is_host_name(text: str) -> bool:
    """Return whether a text is a name in the preferred syntax of RFC 1034 section 3.5 (C-281): no wildcard, no root dot."""
    return len(text) <= 253 and _HOST_NAME.fullmatch(text) is not None


def is_mailbox(text: str) -> bool:
    """Return whether a text is local part, at sign and host name (RFC 5280 section 4.2.1.6)."""
    local, at, host = text.rpartition("@")
    return bool(at) and len(local) <= 64 and _LOCAL_PART.fullmatch(local) is not None and is_host_name(host)


def is_absolute_uri(text: str) -> bool:
    """Return whether a text is a URI with a scheme and something after it, in RFC 3986's characters."""
    return len(text) <= 2_048 and _URI.fullmatch(text) is not None
