"""The self-test, in a child process as in service, and the timed probe."""

import json
import os
import subprocess
import sys

import attrs
import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from scepd.hsm.faults import TokenFault
from scepd.hsm.probe import KeyCheck, Report, check_keys, probe_decryption_key, probe_signing_key, self_test
from scepd.records import Secret
from scepd.refusal import OperatorError, Unavailable

from .run import finish, start
from .tokens import PIN

ROLES = {"ca": "sign", "ra-sign": "sign", "ra-decrypt": "decrypt"}


def keys_of(bench, **instead: str) -> list[tuple[str, str, str]]:
    return [
        (
            instead.get(label.replace("-", "_"), f"pkcs11:token=test;object={label}"),
            role,
            bench.certificates[label].hex(),
        )
        for label, role in ROLES.items()
    ]


def in_child(bench, tmp_path, keys, pin: str = PIN, lanes: int = 2) -> dict:
    return json.loads(finish(start("selftest", json.dumps(keys), str(tmp_path / "pin.json"), pin, str(lanes))))


def test_S120_all_keys_of_an_issuer_pass(bench, tmp_path):
    report = in_child(bench, tmp_path, keys_of(bench))
    assert report["ok"] is True
    assert report["problems"] == []
    assert report["threads"] is True
    assert report["token"]["label"] == "test"
    found = {key["uri"].rpartition("=")[2]: key for key in report["keys"]}
    assert found["ca"]["kind"] == "EC secp256r1"
    assert found["ra-sign"]["pss"] is True
    assert found["ra-decrypt"]["raw"] is True
    assert found["ra-decrypt"]["transports"] == ["oaep-sha1", "oaep-sha256", "pkcs1v15"]
    assert all(key["remarks"] == [] for key in report["keys"])


def test_S120_every_problem_of_every_key_is_told_at_once(bench, tmp_path):
    keys = keys_of(bench, ca="pkcs11:object=nowhere", ra_sign="pkcs11:object=ra-decrypt", ra_decrypt="not a uri")
    report = in_child(bench, tmp_path, keys)
    assert report["ok"] is False
    assert len(report["problems"]) == 3
    assert all(problem["hint"] for problem in report["problems"])


def test_S117_S113_a_wrong_pin_is_tried_once_and_not_repeated(bench, tmp_path):
    first = in_child(bench, tmp_path, keys_of(bench), pin="canary-4712")
    again = in_child(bench, tmp_path, keys_of(bench), pin="canary-4712")
    assert "refused the PIN (" in first["problems"][0]["problem"]
    assert "not tried again" in again["problems"][0]["problem"]
    assert "canary" not in json.dumps([first, again])
    assert in_child(bench, tmp_path, keys_of(bench))["ok"] is True


def test_one_lane_needs_no_threads(bench, tmp_path):
    assert in_child(bench, tmp_path, keys_of(bench), lanes=1)["threads"] is False


def test_S114_a_module_without_locking_is_refused_for_two_lanes(bench, monkeypatch):
    from scepd.hsm import module, probe

    def without_locking(path, calls, **options):
        loaded = module.load_module(path, calls, **options)
        loaded.threads = False
        return loaded

    monkeypatch.setattr(probe, "load_module", without_locking)
    checks = [KeyCheck(uri, role, bytes.fromhex(der)) for uri, role, der in keys_of(bench)]
    report = self_test(bench.settings, Secret(PIN), checks, memory=None, lanes=2)
    assert "CKF_OS_LOCKING_OK" in report.problems[0].problem
    assert report.problems[0].hint == "[hsm] lanes = 1"
    assert self_test(bench.settings, Secret(PIN), checks, memory=None, lanes=1).ok


def test_a_report_tells_faults_and_mistakes_with_hints():
    report = Report()
    assert report.ok
    report.problem(TokenFault("device", "DeviceRemoved"))
    assert not report.ok
    assert report.may_heal
    report.problem(OperatorError("the token failed us", "mend it"))
    assert not report.may_heal  # by what it is, not by how it is worded
    told = json.loads(report.to_json())["problems"]
    assert told[0]["problem"] == "the token failed: DeviceRemoved"
    assert told[0]["token_failed"] is True
    assert told[1] == {"problem": "the token failed us", "hint": "mend it", "token_failed": False}


@pytest.mark.parametrize("label", ["ca", "ra-sign"])
def test_timed_probe_signs_and_verifies(bench, label):
    probe_signing_key(bench.signing(label), b"probe")


def test_S116_a_signature_that_does_not_verify_is_a_device_fault():
    class Wrong(ec.EllipticCurvePrivateKey):
        curve, key_size = ec.SECP256R1(), 256
        exchange = private_numbers = private_bytes = __copy__ = __deepcopy__ = None

        def __init__(self):
            self.right, self.other = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))

        def public_key(self):
            return self.right.public_key()

        def sign(self, data, signature_algorithm):
            return self.other.sign(data, signature_algorithm)

    with pytest.raises(TokenFault):
        probe_signing_key(Wrong(), b"probe")


def test_S119_attributes_are_read_again_for_every_key(bench):
    keys = [KeyCheck(uri, role, bytes.fromhex(der)) for uri, role, der in keys_of(bench)]
    session = bench.token.session()
    check_keys(session, keys)
    other_role = KeyCheck("pkcs11:object=ra-decrypt", "sign", bench.certificates["ra-decrypt"])
    with pytest.raises(OperatorError, match="may not sign"):
        check_keys(session, [*keys, other_role])
    with pytest.raises(OperatorError, match="no private key"):
        check_keys(session, [*keys, KeyCheck("pkcs11:object=gone", "sign", bench.certificates["ca"])])
    swapped = KeyCheck("pkcs11:object=ra-sign", "sign", bench.certificates["ca"])
    with pytest.raises(OperatorError, match="certificate's key EC"):
        check_keys(session, [*keys, swapped])


def test_S116_S120_the_timed_probe_decrypts(bench):
    key = bench.decryption()
    probe_decryption_key(key, b"k" * 16)
    other = attrs.evolve(key, public_key=bench.public_key("ra-sign"))
    # A ciphertext for the other modulus may be larger than this key's: then the token refuses it.
    with pytest.raises(TokenFault, match=r"does not decrypt|did not decrypt"):
        probe_decryption_key(other, b"k" * 16)

    def refuse(_ciphertext, _transport):
        raise Unavailable("the token did not decrypt: GeneralError")

    with pytest.raises(TokenFault, match="GeneralError"):
        probe_decryption_key(attrs.evolve(key, operation=refuse), b"k" * 16)


def test_a_token_store_that_is_not_there_yet_may_heal(tmp_path):
    """A volume that mounts late: the service must be started again, not given up."""
    conf = tmp_path / "softhsm2.conf"
    conf.write_text(f"directories.tokendir = {tmp_path}/absent\nobjectstore.backend = file\n")
    script = (
        "from scepd.hsm.probe import self_test\n"
        "from scepd.hsm.token import TokenSettings\n"
        "from scepd.records import Secret\n"
        "settings = TokenSettings('/usr/lib/softhsm/libsofthsm2.so', 'any')\n"
        "report = self_test(settings, Secret('1234'), [], memory=None)\n"
        "print(report.ok, report.may_heal, report.problems[0].problem)\n"
    )
    environment = {**os.environ, "SOFTHSM2_CONF": str(conf)}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, env=environment, check=True, timeout=30
    )
    assert done.stdout.startswith("False True the token failed: ")
