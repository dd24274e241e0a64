"""Loading a module: operating-system locking, safe paths, one process, no fork."""

import hashlib
import json
import shutil

import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.hsm.faults import TokenFault
from scepd.hsm.module import load_module
from scepd.refusal import OperatorError

from .run import finish, start
from .tokens import SOFTHSM


def test_S114_the_module_is_initialised_for_threads(bench):
    assert bench.module.threads is True
    assert "PKCS11" in bench.module.description


def test_S114_two_threads_sign_and_decrypt_200_times_each(prepared, bench):
    certificates = {label: der.hex() for label, der in prepared.certificates.items()}
    assert finish(start("threads", json.dumps(certificates))).strip() == "400"


def test_S118_a_forked_child_is_refused(prepared, bench):
    assert "forked" in finish(start("fork", prepared.certificates["ca"].hex()))


def test_S116_sessions_of_before_a_reinitialisation_are_refused_and_closing_them_harms_nobody(bench):
    key, stale = bench.signing("ca"), bench.token.session()
    bench.token.recover()
    fresh = [bench.token.session() for _ in range(4)]  # their handles have the numbers of the old ones
    with pytest.raises(TokenFault) as caught:
        key.sign(b"data", ec.ECDSA(hashes.SHA256()))
    assert caught.value.kind == "session"
    assert "re-initialised" in caught.value.cause
    assert stale.handle.handle in {session.handle.handle for session in fresh}
    stale.close()
    for session in fresh:
        assert session.find({})


@pytest.mark.parametrize(
    ("path", "word"),
    [("libsofthsm2.so", "absolute"), ("/nowhere/module.so", "not there"), ("/etc/hostname", "does not load")],
)
def test_S121_bad_module_paths_are_explained(path, word):
    with pytest.raises(OperatorError) as caught:
        load_module(path)
    assert word in caught.value.problem


@pytest.mark.parametrize(("place", "mode"), [("file", 0o666), ("file", 0o775), ("directory", 0o777)])
def test_S121_a_module_that_others_can_write_is_refused(tmp_path, place, mode):
    path = tmp_path / "module.so"
    shutil.copy(SOFTHSM, path)
    path.chmod(0o644)
    (path if place == "file" else tmp_path).chmod(mode)
    with pytest.raises(OperatorError) as caught:
        load_module(str(path))
    assert "changed by others" in caught.value.problem


def test_S121_a_pinned_module_is_loaded_with_that_content_alone(tmp_path, bench):
    path = tmp_path / "module.so"
    shutil.copy(SOFTHSM, path)
    path.chmod(0o644)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    load_module(str(path), sha256=digest.upper()).finalise()
    with path.open("ab") as file:
        file.write(b"\0")  # the loader would not mind
    with pytest.raises(OperatorError) as caught:
        load_module(str(path), sha256=digest)
    assert "is not the one that is pinned" in caught.value.problem
    assert hashlib.sha256(path.read_bytes()).hexdigest() in caught.value.hint


def test_a_library_that_is_no_module_is_explained():
    with pytest.raises(OperatorError) as caught:
        load_module("/lib/x86_64-linux-gnu/libc.so.6")
    assert "does not load" in caught.value.problem
