"""A token in SoftHSM, made without its PINs ever standing in a command line."""

import ctypes
from pathlib import Path
from typing import Any

from pkcs11 import TokenFlag, exceptions

from scepd.hsm.faults import describe, fault_of
from scepd.hsm.module import Module
from scepd.records import Secret
from scepd.refusal import OperatorError

# Where Debian, Fedora and FreeBSD put it.
MODULES = (
    Path("/usr/lib/softhsm/libsofthsm2.so"),
    Path("/usr/lib64/pkcs11/libsofthsm2.so"),
    Path("/usr/lib64/softhsm/libsofthsm2.so"),
    Path("/usr/lib/x86_64-linux-gnu/softhsm/libsofthsm2.so"),
    Path("/usr/local/lib/softhsm/libsofthsm2.so"),
)
_LABEL_OCTETS = 32
_OK = 0


def configuration(tokens: Path) -> str:
    """Return the text of a softhsm2.conf(5) that keeps its tokens in that directory."""
    return (
        f"directories.tokendir = {tokens}\n"
        "objectstore.backend = file\n"
        "objectstore.umask = 0077\n"
        "log.level = ERROR\n"
        "slots.removable = false\n"
    )


def initialise_token(module: Module, label: str, *, pin: Secret, so_pin: Secret) -> None:
    """Make a token of that label in the module's free slot and set both PINs (C_InitToken, C_InitPIN).

    Raises `OperatorError` where there is no free slot or the module refuses.
    """
    encoded = label.encode()
    if not 0 < len(encoded) <= _LABEL_OCTETS:
        raise OperatorError(f"a token's label has 1 to {_LABEL_OCTETS} octets", "--token scepd")
    module.guard()
    library = ctypes.CDLL(module.path)
    secret = so_pin.reveal().encode()
    outcome = library.C_InitToken(
        ctypes.c_ulong(_free_slot(module).slot_id),
        ctypes.c_char_p(secret),
        ctypes.c_ulong(len(secret)),
        ctypes.c_char_p(encoded.ljust(_LABEL_OCTETS)),
    )
    if outcome != _OK:
        raise OperatorError(f"the module made no token (C_InitToken: {outcome:#x})", "softhsm2-util --show-slots")
    module.reinitialise()  # SoftHSM numbers its slots anew
    _set_user_pin(module, label, pin, so_pin)


def _free_slot(module: Module) -> Any:
    try:
        for slot in module.library.get_slots(token_present=True):
            if not slot.get_token().flags & TokenFlag.TOKEN_INITIALIZED:
                return slot
    except exceptions.PKCS11Error as error:
        raise fault_of(error) from error
    raise OperatorError("the module has no slot for another token", "--token with the label of a token that exists")


def _set_user_pin(module: Module, label: str, pin: Secret, so_pin: Secret) -> None:
    try:
        token = next(token for token in module.library.get_tokens(token_label=label))
        with token.open(rw=True, so_pin=so_pin.reveal()) as session:
            session.init_pin(pin.reveal())
    except StopIteration:
        raise OperatorError(
            f"the token '{label}' is not there after it was made", "softhsm2-util --show-slots"
        ) from None
    except exceptions.PKCS11Error as error:
        raise OperatorError(f"the PIN of token '{label}' cannot be set ({describe(error)})", "--pin-file") from error
