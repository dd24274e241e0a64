"""The module of `faulty_token.c`: compiled for the run, told on its board what to break, asked what it has seen."""

import contextlib
import mmap
import os
import struct
import subprocess
import time
from pathlib import Path

SOFTHSM = "/usr/lib/softhsm/libsofthsm2.so"
SOURCE = Path(__file__).with_suffix(".c")

# CK_FUNCTION_LIST (PKCS#11 2.40, section 3.6), from C_Initialize.
FUNCTIONS = ["Initialize", "Finalize", "GetInfo", "GetFunctionList", "GetSlotList", "GetSlotInfo", "GetTokenInfo", "GetMechanismList", "GetMechanismInfo", "InitToken", "InitPIN", "SetPIN", "OpenSession", "CloseSession", "CloseAllSessions", "GetSessionInfo", "GetOperationState", "SetOperationState", "Login", "Logout", "CreateObject", "CopyObject", "DestroyObject", "GetObjectSize", "GetAttributeValue", "SetAttributeValue", "FindObjectsInit", "FindObjects", "FindObjectsFinal", "EncryptInit", "Encrypt", "EncryptUpdate", "EncryptFinal", "DecryptInit", "Decrypt", "DecryptUpdate", "DecryptFinal", "DigestInit", "Digest", "DigestUpdate", "DigestKey", "DigestFinal", "SignInit", "Sign", "SignUpdate", "SignFinal", "SignRecoverInit", "SignRecover", "VerifyInit", "Verify", "VerifyUpdate", "VerifyFinal", "VerifyRecoverInit", "VerifyRecover", "DigestEncryptUpdate", "DecryptDigestUpdate", "SignEncryptUpdate", "DecryptVerifyUpdate", "GenerateKey", "GenerateKeyPair", "WrapKey", "UnwrapKey", "DeriveKey", "SeedRandom", "GenerateRandom", "GetFunctionStatus", "CancelFunction", "WaitForSlotEvent"]
_ACTIONS = ["forward", "fail", "hang", "delay", "lose-session", "lose-sessions", "flip", "fail-after", "reverse"]

# Return codes (PKCS#11 2.40, appendix B.1): those that a token in trouble gives to any call, whatever the call.
CODES = {
    "HOST_MEMORY": 0x02,
    "SLOT_ID_INVALID": 0x03,
    "GENERAL_ERROR": 0x05,
    "FUNCTION_FAILED": 0x06,
    "ARGUMENTS_BAD": 0x07,
    "DEVICE_ERROR": 0x30,
    "DEVICE_MEMORY": 0x31,
    "DEVICE_REMOVED": 0x32,
    "FUNCTION_CANCELED": 0x50,
    "FUNCTION_NOT_SUPPORTED": 0x54,
    "KEY_HANDLE_INVALID": 0x60,
    "KEY_FUNCTION_NOT_PERMITTED": 0x68,
    "MECHANISM_INVALID": 0x70,
    "OBJECT_HANDLE_INVALID": 0x82,
    "OPERATION_ACTIVE": 0x90,
    "OPERATION_NOT_INITIALIZED": 0x91,
    "SESSION_CLOSED": 0xB0,
    "SESSION_COUNT": 0xB1,
    "SESSION_HANDLE_INVALID": 0xB3,
    "TOKEN_NOT_PRESENT": 0xE0,
    "TOKEN_NOT_RECOGNIZED": 0xE1,
    "USER_NOT_LOGGED_IN": 0x101,
    "CRYPTOKI_NOT_INITIALIZED": 0x190,
    "VENDOR_DEFINED": 0x80000001,
}
OK, PIN_INCORRECT = 0x00, 0xA0

_FIELDS = ("calls", "main", "action", "skip", "left", "value", "struck", "hanging")
_WORD = 8  # octets
_HEAD = 2  # words: logins, overlaps
_LOGINS = 4096
_SIZE = _WORD * (_HEAD + len(FUNCTIONS) * len(_FIELDS) + _LOGINS)
_MANY = 1 << 62


class Board:
    """The board of one server or test; every change is seen by the next call of every process."""

    def __init__(self, path):
        """Make it, or look at the one that is there."""
        self.path = Path(path)
        if not self.path.exists():
            self.path.write_bytes(bytes(_SIZE))
        with self.path.open("r+b") as file:
            self._map = mmap.mmap(file.fileno(), _SIZE)

    def strike(self, function, action, *, value=0, skip=0, times=1):
        """Let it happen to the next `times` calls of a function, after `skip` more; times=None: until `heal`."""
        self._set(function, "action", 0)
        self._set(function, "skip", skip)
        self._set(function, "left", _MANY if times is None else times)
        self._set(function, "value", value)
        self._set(function, "action", _ACTIONS.index(action))  # last: the calls that come meanwhile pass

    def fail(self, function, code, *, skip=0, times=1):
        """Let calls fail with CKR_`code` (a name of `CODES`, or a number) without reaching the token."""
        self.strike(function, "fail", value=CODES.get(code, code), skip=skip, times=times)

    def heal(self, *functions):
        """Let calls pass again; those that hang go on."""
        for function in functions or FUNCTIONS:
            self._set(function, "action", 0)
            self._set(function, "left", 0)

    def waits(self, function):
        """Whether what was ordered has not happened to as many calls as it should."""
        return self._get(function, "action") != 0 and self._get(function, "left") > 0

    def calls(self, function):
        """How often a function was called."""
        return self._get(function, "calls")

    def struck(self, function):
        """To how many calls something has happened."""
        return self._get(function, "struck")

    def hanging(self, function):
        """How many calls hang in it now; calls of processes that were killed meanwhile stay."""
        return self._get(function, "hanging")

    @property
    def by_first_threads(self):
        """How many calls were made by the first thread of a process, where its reactor runs."""
        return sum(self._get(function, "main") for function in FUNCTIONS)

    @property
    def overlaps(self):
        """How often two threads were in one session at once."""
        return self._word(1)

    @property
    def logins(self):
        """The answers to every C_Login, oldest first."""
        begin = _HEAD + len(FUNCTIONS) * len(_FIELDS)
        return [self._word(begin + number) for number in range(self._word(0))]

    def _place(self, function, field):
        return _HEAD + FUNCTIONS.index(function) * len(_FIELDS) + _FIELDS.index(field)

    def _word(self, place):
        return struct.unpack_from("=Q", self._map, place * _WORD)[0]

    def _get(self, function, field):
        return self._word(self._place(function, field))

    def _set(self, function, field, value):
        struct.pack_into("=Q", self._map, self._place(function, field) * _WORD, value)


def compile_module(directory):
    """Compile the module into a directory that others cannot write; returns its path."""
    path = Path(directory) / "faulty_token.so"
    warnings = ("-Wall", "-Wextra", "-Werror", "-Wno-cast-function-type")
    subprocess.run(["cc", *warnings, "-O1", "-shared", "-fPIC", "-o", path, SOURCE, "-ldl"], check=True, timeout=60)
    path.chmod(0o755)
    return path


@contextlib.contextmanager
def surrounding(board, module=SOFTHSM):
    """Let modules that this process and its children load find the board and the token behind it."""
    wanted = {"FAULTY_TOKEN_MODULE": str(module), "FAULTY_TOKEN_BOARD": str(board.path)}
    before = {name: os.environ.get(name) for name in wanted}
    os.environ.update(wanted)
    try:
        yield board
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


def wait_for(is_so, *, patience=10.0, what=""):
    """Wait for a condition."""
    deadline = time.monotonic() + patience
    while not is_so():
        assert time.monotonic() < deadline, f"not in {patience} s: {what}"
        time.sleep(0.005)
