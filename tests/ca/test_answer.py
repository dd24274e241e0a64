"""The answer of an outside root is taken in only where a CA can stand on it: dates, usages, path lengths, signatures."""

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

from scepd.ca.answer import verified_answer
from scepd.ca.plan import PlannedKey, Step
from scepd.refusal import OperatorError
from scepd.x509.names import from_x509, to_text
from tests.x509.material import ec_key, usage

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
DAY = timedelta(days=1)
OURS = ec_key("ours")
BOTH = ("key_cert_sign", "crl_sign")


def name(word):
    return x509.Name.from_rfc4514_string(f"CN={word}")


def ca(word, by=None, *, key=None, begin=NOW - DAY, end=NOW + 300 * DAY, constraints=(True, None), usages=BOTH, named=None):
    """Return a CA certificate; each part of it can be bent, None leaves an extension out."""
    own, above = key or ec_key(word), ec_key(by or word)
    identifier = x509.SubjectKeyIdentifier.from_public_key(above.public_key())
    authority = identifier if named is None else x509.SubjectKeyIdentifier(named)
    builder = (
        x509.CertificateBuilder(name(by or word), name(word), own.public_key(), 5)
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(own.public_key()), critical=False)
    )
    if by is not None:
        builder = builder.add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(authority), critical=False
        )
    if constraints is not None:
        builder = builder.add_extension(x509.BasicConstraints(*constraints), critical=True)
    if usages is not None:
        builder = builder.add_extension(usage(*usages), critical=True)
    return builder.sign(above, hashes.SHA256())


def pem(*certificates):
    return b"".join(one.public_bytes(Encoding.PEM) for one in certificates)


def take_in(tmp_path, answer, *above):
    chain = tmp_path / "chain.pem"
    chain.write_bytes(pem(*above))
    key = PlannedKey(uri="pkcs11:token=t;object=sub", kind="ec:P-256", role="sign", fresh=False)
    text = to_text(from_x509(answer.subject))
    step = Step(makes="install", key=key, request=pem(answer).decode(), subject=text, chain=str(chain))
    return verified_answer(step, OURS.public_key(), lambda path: tmp_path / path, NOW)


def sub(by="root", **bent):
    return ca("sub", by, **{"key": OURS, "constraints": (True, 0), **bent})


@pytest.mark.parametrize(
    "above",
    [
        [ca("root")],
        [ca("root", usages=None)],  # as openssl req -x509 once made them
        [ca("root", constraints=(True, 1))],
        [ca("root", "top", constraints=(True, 1)), ca("top", constraints=(True, 2))],
        # Certified by itself under a new key: that one does not count.
        [ca("root", constraints=(True, 1)), ca("root", constraints=(True, 1))],
    ],
)
def test_what_can_be_relied_on_is_taken_in(tmp_path, above):
    answer = sub()
    found = take_in(tmp_path, answer, *above)
    assert found.der == answer.public_bytes(Encoding.DER)
    assert found.signed_by == above[0].public_bytes(Encoding.DER)


@pytest.mark.parametrize(
    ("answer", "above", "words"),
    [
        (sub(end=NOW), [ca("root")], "CN=sub has ended at 2026-06-01T12:00:00Z"),
        (sub(begin=NOW + DAY), [ca("root")], "CN=sub is not valid before 2026-06-02"),
        (sub(), [ca("root", end=NOW - timedelta(hours=1))], "CN=root has ended"),
        (sub(), [ca("root", begin=NOW + DAY)], "CN=root is not valid before"),
        (sub(), [ca("root", "top"), ca("top", end=NOW)], "CN=top has ended"),
        (sub(), [ca("root", constraints=None)], "CN=root signed CN=sub and is no CA certificate"),
        (sub(), [ca("root", constraints=(False, None))], "CN=root signed CN=sub and is no CA certificate"),
        (sub(), [ca("root", usages=("crl_sign",))], "the key usage of CN=root lacks keyCertSign"),
        (sub(), [ca("root", constraints=(True, 0))], "may have 0 levels of CAs below it, and CN=sub is at level 1"),
        (
            sub(),
            [ca("root", "top", constraints=(True, 1)), ca("top", constraints=(True, 1))],
            "CN=top may have 1 levels of CAs below it, and CN=sub is at level 2",
        ),
        (sub(constraints=(False, None)), [ca("root")], "it is no CA certificate"),
        (sub(usages=("crl_sign",)), [ca("root")], "lacks keyCertSign"),
        (sub(named=b"another key"), [ca("root")], "CN=sub names another key of CN=root as its issuer's"),
        (sub(), [ca("root", "top"), ca("other")], "CN=root is not signed by CN=other"),
        (sub(), [ca("root", "top", key=ec_key("root")), ca("top", key=ec_key("forged"))], "is not signed by"),
        (sub(key=ec_key("theirs")), [ca("root")], "another key than pkcs11:token=t;object=sub"),
    ],
)
def test_N1_what_a_ca_cannot_stand_on_is_not_taken_in(tmp_path, answer, above, words):
    with pytest.raises(OperatorError) as caught:
        take_in(tmp_path, answer, *above)
    assert words in caught.value.problem
    assert caught.value.hint


def test_octets_that_cannot_be_read_are_told_as_such(tmp_path):
    twice = sub().public_bytes(Encoding.DER).replace(bytes.fromhex("0603551d23"), bytes.fromhex("0603551d0e"))
    with pytest.raises(OperatorError, match="cannot be read"):
        take_in(tmp_path, x509.load_der_x509_certificate(twice), ca("root"))
    with pytest.raises(OperatorError, match="cannot be read"):
        take_in(tmp_path, sub())
