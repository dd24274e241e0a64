"""Lists of networks."""

import pytest

from scepd.profile.networks import read_address, read_networks
from scepd.refusal import OperatorError


def test_S77_addresses_are_found_in_networks_of_any_length():
    networks = read_networks(b"192.0.2.0/24 # office\n\n198.51.100.7\r\n2001:db8::/32\n10.0.0.0/8")
    for address in ("192.0.2.0", "192.0.2.255", "198.51.100.7", "2001:db8:ffff::1", "10.9.8.7", "::ffff:192.0.2.9"):
        assert address in networks
    for address in ("192.0.3.0", "198.51.100.8", "2001:db9::1", "11.0.0.0", "::192.0.2.9", "local", "", "192.0.2"):
        assert address not in networks


@pytest.mark.parametrize(
    ("data", "word"),
    [
        (b"", "0 networks"),
        (b"# none\n", "0 networks"),
        (b"192.0.2.0/24\n192.0.2.1/24\n", "line 2 is no network"),
        (b"<html>", "line 1 is no network"),
        (b"\xff\xfe", "line 1 is no network"),
        (b"0.0.0.0/0", "everybody"),
        (b"::/0", "everybody"),
        (b"192.0.2.1\n" * 10_001, "10001 networks"),
    ],
)
def test_S77_other_lists_are_refused(data, word):
    with pytest.raises(OperatorError, match=word):
        read_networks(data)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("FE80::1%eth0", "fe80::1"),
        ("2001:DB8:0::7", "2001:db8::7"),
        ("192.0.2.07", "None"),
        ("host", "None"),
    ],
)
def test_S77_one_text_for_each_address(text, address):
    assert str(read_address(text)) == address
