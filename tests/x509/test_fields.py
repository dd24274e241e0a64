"""The octets of a TBSCertificate's fields."""

import pytest

from scepd.message import tlv
from scepd.x509.draft import split
from scepd.x509.fields import contents, elements, tbs_fields
from tests.x509.material import bend, leaf


def test_fields_put_together_are_the_whole():
    tbs = split(leaf())[0]
    assert b"".join(tbs_fields(tbs)) == contents(tbs)


def test_a_version_1_certificate_has_an_empty_version():
    assert tbs_fields(split(bend(leaf(), 0, b""))[0])[0] == b""


@pytest.mark.parametrize("octets", [b"\x30", b"\x30\x02\x01", b"\x30\x80\0\0", b"\x30\x81\x05"])
def test_elements_that_do_not_fit(octets):
    with pytest.raises(ValueError):
        elements(octets)


@pytest.mark.parametrize("tbs", [b"", b"\x31\0", b"\x30\0", tlv.sequence(tlv.integer(1))])
def test_what_is_no_tbs_certificate(tbs):
    with pytest.raises(ValueError):
        tbs_fields(tbs)
