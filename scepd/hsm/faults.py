"""What the token's errors mean: a lost session, a lost device, a failed signature, or a ciphertext it will not take."""

from typing import Literal

from pkcs11 import exceptions

Kind = Literal["session", "device", "sign"]

# The session or its handles are gone; a new session with its keys looked up again may do.
_SESSION = (
    exceptions.SessionHandleInvalid,
    exceptions.SessionClosed,
    exceptions.ObjectHandleInvalid,
    exceptions.KeyHandleInvalid,
    exceptions.OperationActive,
    exceptions.OperationNotInitialized,
)
# The token or the login is gone; only a fresh C_Initialize and C_Login help.
_DEVICE = (
    exceptions.DeviceError,
    exceptions.DeviceMemory,
    exceptions.DeviceRemoved,
    exceptions.TokenNotPresent,
    exceptions.TokenNotRecognised,
    exceptions.SlotIDInvalid,
    exceptions.HostMemory,
    exceptions.UserNotLoggedIn,
)
# python-pkcs11 has no class for CKR_CRYPTOKI_NOT_INITIALIZED, only this text.
_NOT_INITIALISED = "not initialized"


class TokenFault(Exception):  # noqa: N818 - a state of the token, not an error of the caller
    """The token failed us: `kind` says how much must be rebuilt, `cause` is for the privileged log only."""

    def __init__(self, kind: Kind, cause: str) -> None:
        """Keep the kind and the PKCS#11 error's name."""
        super().__init__(f"{kind}: {cause}")
        self.kind: Kind = kind
        self.cause = cause


class WrongSignature(TokenFault):
    """A signature that does not verify: the token or its module miscalculates."""

    def __init__(self) -> None:
        """Say so."""
        super().__init__("sign", "C_Sign gave a signature that does not verify")


def describe(error: exceptions.PKCS11Error) -> str:
    """Return the error's name, with its text where there is one."""
    text = str(error)
    return f"{type(error).__name__}: {text}" if text else type(error).__name__


def fault_of(error: exceptions.PKCS11Error) -> TokenFault:
    """Return the fault of a call that reads, searches or opens: whatever is no lost session is a lost device."""
    return TokenFault("session" if isinstance(error, _SESSION) else "device", describe(error))


def signing_fault(error: exceptions.PKCS11Error) -> TokenFault:
    """Return the fault of a signature: a code that blames neither session nor device gets one try on a new session."""
    if isinstance(error, _SESSION):
        return TokenFault("session", describe(error))
    return TokenFault("device" if is_device(error) else "sign", describe(error))


def decryption_fault(error: exceptions.PKCS11Error) -> TokenFault | None:
    """Return the fault of a decryption, or None for a code that may speak of the ciphertext (implicit rejection)."""
    if isinstance(error, _SESSION):
        return TokenFault("session", describe(error))
    return TokenFault("device", describe(error)) if is_device(error) else None


def is_device(error: exceptions.PKCS11Error) -> bool:
    """Return whether the error says that the token itself is away or not initialised."""
    return isinstance(error, _DEVICE) or _NOT_INITIALISED in str(error)
