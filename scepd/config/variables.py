"""Environment variables that a PKCS#11 module reads: the only way in which most modules learn where their token is."""

import re
from collections.abc import Mapping

from scepd.config.scalars import read_text
from scepd.problems import Refused

Variables = tuple[tuple[str, str], ...]

# What changes the programs themselves instead of the module.
_OURS = re.compile(r"(LD|PYTHON|GCONV|MALLOC|OPENSSL|SCEPD)_?.*|PATH|HOME|IFS|ENV|BASH_ENV|LISTEN_.*|NOTIFY_SOCKET")
_SECRET = re.compile(r"PIN|PASSW|PASSPHRASE|SECRET", re.IGNORECASE)
_EXAMPLE = 'environment = { P11_KIT_SERVER_ADDRESS = "unix:path=/run/hsm/pkcs11" }'


def read_variables(raw: object) -> Variables:
    """Return the variables of a table by name; raises `Refused`."""
    if not isinstance(raw, Mapping):
        raise Refused("must be a table", _EXAMPLE)
    return tuple(sorted((_read_variable_name(name), read_text(value)) for name, value in raw.items()))


def read_assignment(text: str) -> tuple[str, str]:
    """Return the variable of NAME=VALUE; raises `Refused`."""
    name, equals, value = text.partition("=")
    if not equals:
        raise Refused(f"{text!r} is no NAME=VALUE", "--environment P11_KIT_SERVER_ADDRESS=unix:path=/run/hsm/pkcs11")
    return _read_variable_name(name), read_text(value)


def _read_variable_name(name: str) -> str:
    if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,63}", name):
        raise Refused(f"{name!r} is no name of a variable", _EXAMPLE)
    if _OURS.fullmatch(name):
        raise Refused(f"{name} is not the module's to read", "set it where the service is started, if it must be")
    if _SECRET.search(name):
        # Every process of the same user can read an environment (threats S-113).
        raise Refused(f"{name} looks like a secret, and an environment keeps none", 'pin = { file = "hsm-pin" }')
    return name
