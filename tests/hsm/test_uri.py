"""Key names: PKCS#11 URIs."""

import pytest

from scepd.hsm.uri import KeyName, parse_uri
from scepd.refusal import OperatorError


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("pkcs11:object=ca", KeyName(label="ca")),
        ("pkcs11:token=scepd;object=devices-ca", KeyName(label="devices-ca", token="scepd")),
        ("pkcs11:token=a%20b;serial=12;id=%01%ab;object=x%3By", KeyName("x;y", b"\x01\xab", "a b", "12")),
        ("pkcs11:id=A1;type=private", KeyName(id=b"A1")),
        ("pkcs11:object=ca;manufacturer=SoftHSM%20project;model=SoftHSM%20v2",
         KeyName(label="ca", manufacturer="SoftHSM project", model="SoftHSM v2")),
        ("pkcs11:object=caf%C3%A9", KeyName(label="café")),
    ],
)  # fmt: skip
def test_uri_is_read_and_written(uri, name):
    assert parse_uri(uri) == name
    assert parse_uri(str(name)) == name


@pytest.mark.parametrize(
    ("uri", "word"),
    [
        ("object=ca", "no PKCS#11 URI"),
        ("pkcs11:", "names no object"),
        ("pkcs11:token=scepd", "names no object"),
        ("pkcs11:object=a;object=b", "twice"),
        ("pkcs11:object=a;slot-id=3", "slot-id"),
        ("pkcs11:object=a;type=cert", "no private key"),
        ("pkcs11:object=%FF", "UTF-8"),
        ("pkcs11:object=a;nonsense", "nonsense"),
    ],
)
def test_bad_uri_is_explained(uri, word):
    with pytest.raises(OperatorError) as caught:
        parse_uri(uri)
    assert word in caught.value.problem
    assert "pkcs11:token=" in caught.value.hint


def test_S113_a_pin_in_a_uri_is_refused_and_not_repeated():
    with pytest.raises(OperatorError) as caught:
        parse_uri("pkcs11:object=ca?pin-value=canary-4711")
    assert "canary" not in str(caught.value)
