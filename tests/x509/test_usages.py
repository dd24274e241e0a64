"""Words for key usages and purposes."""

import pytest

from scepd.x509.usages import (
    EXTENDED_KEY_USAGES,
    KEY_USAGES,
    SPECIAL_PURPOSES,
    key_usage_extension,
    key_usages,
    purpose_oid,
)


@pytest.mark.parametrize(
    "usages", [{"digitalSignature"}, KEY_USAGES - {"decipherOnly"}, {"keyAgreement", "decipherOnly"}, {"cRLSign"}]
)
def test_C279_usages_survive_the_extension(usages):
    assert key_usages(key_usage_extension(frozenset(usages))) == usages


def test_C279_unknown_words_and_impossible_bits_are_errors():
    with pytest.raises(ValueError, match="unknown key usage signing"):
        key_usage_extension(frozenset({"signing"}))
    with pytest.raises(ValueError, match="encipher"):
        key_usage_extension(frozenset({"encipherOnly"}))


def test_C282_purposes_by_word_or_oid():
    assert purpose_oid("clientAuth") == "1.3.6.1.5.5.7.3.2"
    assert purpose_oid("1.2.3.4") == "1.2.3.4"
    with pytest.raises(ValueError):
        purpose_oid("clientauth")


def test_S59_special_purposes_are_special():
    words = {word for word, oid in EXTENDED_KEY_USAGES.items() if oid in SPECIAL_PURPOSES}
    assert words >= {"anyExtendedKeyUsage", "OCSPSigning", "timeStamping", "codeSigning", "smartcardLogon", "cmcRA"}
    assert not words & {"clientAuth", "serverAuth"}
