"""A PKCS#11 module loaded with operating-system locking, and its re-initialisation."""

import contextlib
import ctypes
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import attrs
import pkcs11
from pkcs11 import exceptions

from scepd.hsm.calls import Calls
from scepd.hsm.faults import TokenFault, describe
from scepd.refusal import OperatorError

_OS_LOCKING = 0x02  # CKF_OS_LOCKING_OK
_OK = 0x00  # CKR_OK
_ARGUMENTS_BAD = 0x07  # CKR_ARGUMENTS_BAD
_CANNOT_LOCK = 0x0A  # CKR_CANT_LOCK
_NOT_INITIALISED = 0x190  # CKR_CRYPTOKI_NOT_INITIALIZED


class _InitializeArguments(ctypes.Structure):
    """CK_C_INITIALIZE_ARGS (PKCS#11 section 3.7)."""

    _fields_ = (
        ("create_mutex", ctypes.c_void_p),
        ("destroy_mutex", ctypes.c_void_p),
        ("lock_mutex", ctypes.c_void_p),
        ("unlock_mutex", ctypes.c_void_p),
        ("flags", ctypes.c_ulong),
        ("reserved", ctypes.c_void_p),
    )


class _FunctionList(ctypes.Structure):
    """The head of CK_FUNCTION_LIST (PKCS#11 section 3.6), as far as needed."""

    _fields_ = (
        ("version", ctypes.c_ubyte * 2),
        ("initialize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
        ("finalize", ctypes.CFUNCTYPE(ctypes.c_ulong, ctypes.c_void_p)),
    )


@attrs.define(eq=False)
class Module:
    """A loaded module; `generation` counts its initialisations, so that a stale session is known as such.

    One process has one Module, and no process forks after loading it: `guard` refuses in a child.
    """

    path: str
    library: Any  # pkcs11.lib
    functions: Any  # _FunctionList; None where only python-pkcs11's own table counts
    generation: int = 0
    threads: bool = False  # operating-system locking granted: several threads may work at once
    process: int = attrs.field(factory=os.getpid)
    calls: Calls = attrs.field(factory=Calls)

    def guard(self) -> None:
        """Refuse use in a forked child, whose copy of the module's state is worthless."""
        if os.getpid() != self.process:
            raise TokenFault("device", "the process was forked after the PKCS#11 module was loaded")

    def reinitialise(self) -> None:
        """Finalise and initialise the module: every session, key and login of this process is gone.

        No other thread may be inside the module. Raises `TokenFault` (device) where C_Initialize refuses.
        """
        self.guard()
        self.generation += 1
        if self.functions is None:
            self._reinitialise_plainly()
            return
        # python-pkcs11 initialises with NULL, which promises the module a single thread; SoftHSM then
        # works without its mutexes and crashes under two threads.
        with self.calls.of("C_Finalize"):
            finalised = self.functions.finalize(None)
        arguments = _InitializeArguments(flags=_OS_LOCKING)
        with self.calls.of("C_Initialize"):
            outcome = self.functions.initialize(ctypes.cast(ctypes.pointer(arguments), ctypes.c_void_p))
            self.threads = outcome == _OK
            if outcome in (_CANNOT_LOCK, _ARGUMENTS_BAD):
                outcome = self.functions.initialize(None)
        if outcome != _OK:
            # Whether C_Finalize worked is told by C_Initialize: it refuses where the module is initialised still.
            before = "" if finalised in (_OK, _NOT_INITIALISED) else f", after C_Finalize: {finalised:#x}"
            raise TokenFault("device", f"C_Initialize: {outcome:#x}{before}")

    def finalise(self) -> None:
        """Let go of the module, at the end of the process: logs out and closes every session."""
        self.generation += 1
        if self.functions is None:
            with contextlib.suppress(exceptions.PKCS11Error):  # the far side may be gone
                self.library.finalize()
        else:
            self.functions.finalize(None)

    def _reinitialise_plainly(self) -> None:
        """Let python-pkcs11 do it, with C_Initialize(NULL): p11-kit's client has locks of its own."""
        with contextlib.suppress(exceptions.PKCS11Error), self.calls.of("C_Finalize"):
            self.library.finalize()  # a connection that is gone needs no farewell
        try:
            with self.calls.of("C_Initialize"):
                self.library.initialize()
        except exceptions.PKCS11Error as error:
            raise TokenFault("device", f"C_Initialize: {describe(error)}") from error
        self.threads = True

    @property
    def description(self) -> str:
        """The library's own name and version (C_GetInfo)."""
        major, minor = self.library.library_version
        return f"{self.library.library_description} {major}.{minor}".strip()


def load_module(path: str, calls: Calls | None = None, *, sha256: str | None = None) -> Module:
    """Load the module, initialised with CKF_OS_LOCKING_OK; `calls` is where its calls are noted.

    `sha256`: hex, of the file that alone may be loaded (threats S-121).

    Loading it again in the same process re-initialises it; sessions of the earlier Module are gone then.
    Raises `OperatorError` where the path is unsafe or the module refuses, `TokenFault` where it cannot work now: a
    volume that is not mounted yet, a daemon that has not started.
    """
    _check_path(Path(path))
    if sha256 is not None:
        _check_content(Path(path), sha256)
    calls = calls or Calls()
    try:
        with calls.of("C_Initialize"):
            library = pkcs11.lib(path)
    except (exceptions.GeneralError, exceptions.FunctionFailed, exceptions.DeviceError) as error:
        raise TokenFault(
            "device", f"{path} does not initialise: {describe(error)}; is its token store there?"
        ) from error
    except exceptions.PKCS11Error as error:
        raise OperatorError(f"PKCS#11 module {path} does not load ({describe(error)})", _hint_for(error)) from error
    module = Module(path=path, library=library, functions=_function_list(path), calls=calls)
    try:
        module.reinitialise()
    except TokenFault as fault:
        problem = f"PKCS#11 module {path} does not initialise ({fault.cause})"
        raise OperatorError(problem, f"pkcs11-tool --module {path} --list-slots") from fault
    return module


def _function_list(path: str) -> Any:
    """Return the module's function table; some modules export nothing but C_GetFunctionList.

    None where each call gives another table: p11-kit's client opens a connection for each, so that what is done through
    ours would not reach python-pkcs11's.
    """
    library, pointers = ctypes.CDLL(path), [ctypes.POINTER(_FunctionList)() for _ in range(2)]
    for pointer in pointers:
        outcome = library.C_GetFunctionList(ctypes.byref(pointer))
        if outcome != _OK:
            raise OperatorError(f"{path} is no PKCS#11 module (C_GetFunctionList: {outcome:#x})", f"nm -D {path}")
    first, second = (ctypes.addressof(pointer.contents) for pointer in pointers)
    return pointers[0].contents if first == second else None


def _hint_for(error: exceptions.PKCS11Error) -> str:
    if isinstance(error, exceptions.ArgumentsBad):  # the module demands arguments that python-pkcs11 does not give
        return 'module = "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so", with this module configured in p11-kit'
    return 'name the vendor\'s PKCS#11 library, for example module = "/usr/lib/softhsm/libsofthsm2.so"'


def _check_content(path: Path, sha256: str) -> None:
    """Refuse a module that is not the one that was pinned; nobody else can write it, so what is loaded is what was read."""
    found = hashlib.sha256(path.read_bytes()).hexdigest()
    if found != sha256.lower():
        problem = f"PKCS#11 module {path} is not the one that is pinned: its SHA-256 is {found}"
        raise OperatorError(problem, f'find out who changed it; if it was you: module_sha256 = "{found}"')


def _check_path(path: Path) -> None:
    """Refuse a module that somebody else could swap: whoever writes it owns our keys."""
    if not path.is_absolute():
        raise OperatorError(f"PKCS#11 module {path} is no absolute path", f'module = "{path.absolute()}"')
    if not path.is_file():
        raise OperatorError(f"PKCS#11 module {path} is not there", "apt install softhsm2, or name the vendor's library")
    real = path.resolve()
    for part in (real, real.parent):
        found = part.stat()
        shared = found.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not found.st_mode & stat.S_ISVTX
        if shared or found.st_uid not in (0, os.geteuid()):
            raise OperatorError(f"{part} can be changed by others", f"chown root {part} && chmod go-w {part}")
