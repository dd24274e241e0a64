"""The one client address: which headers count, from whom, and that nobody can name a third party."""

import pytest

from scepd.profile.networks import read_networks
from scepd.web.client_address import CONNECTING_IP, FORWARDED_FOR, Approach

from .harness import Setting

PROXY, OTHER_PROXY, CLIENT, VICTIM = "192.0.2.1", "192.0.2.2", "198.51.100.7", "203.0.113.9"
NETWORKS = read_networks(b"192.0.2.0/24\n2001:db8:1::/48")


def behind(header):
    return Approach(proxies=lambda: NETWORKS, address_header=header)


def forwarded(*values):
    return [(b"X-Forwarded-For", value) for value in values]


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ((b"198.51.100.7",), CLIENT),
        ((b"203.0.113.9, 198.51.100.7",), CLIENT),
        ((b"203.0.113.9", b"198.51.100.7"), CLIENT),
        ((b"203.0.113.9,198.51.100.7 , 192.0.2.2",), CLIENT),
        ((b"198.51.100.7, 192.0.2.2", b"192.0.2.3"), CLIENT),
        ((b"192.0.2.3, 192.0.2.2",), "192.0.2.3"),
        ((b"198.51.100.7:51234",), CLIENT),
        ((b"[2001:db8:9::7]:443",), "2001:db8:9::7"),
        ((b"[2001:DB8:9::7]",), "2001:db8:9::7"),
        ((b"2001:db8:9::7%eth0",), "2001:db8:9::7"),
        ((b"::ffff:198.51.100.7",), CLIENT),
        ((b"2001:db8:9::7, 2001:db8:1::5",), "2001:db8:9::7"),
        ((b"203.0.113.9, unknown",), PROXY),
        ((b"203.0.113.9, unknown, 192.0.2.2",), OTHER_PROXY),
        ((b"203.0.113.9,",), PROXY),
        ((b"",), PROXY),
        ((), PROXY),
        ((b"203.0.113.9, 198.51.100.07",), PROXY),
        ((b"203.0.113.9, 198.51.100.7 203.0.113.9",), PROXY),
        ((b'203.0.113.9, "198.51.100.7"',), PROXY),
        ((b"203.0.113.9, _hidden",), PROXY),
        ((b"203.0.113.9, 198.51.100.7:",), PROXY),
        ((b"203.0.113.9, \xff\xfe",), PROXY),
        ((b"203.0.113.9, " + b"9" * 10_240,), PROXY),
        ((b"203.0.113.9, " * 700 + b"198.51.100.7",), CLIENT),
    ],
)
def test_S77_the_rightmost_hop_that_is_no_trusted_proxy_is_the_client(values, address):
    assert behind(FORWARDED_FOR).client_of(PROXY, forwarded(*values)) == address


@pytest.mark.parametrize(
    ("values", "address"),
    [
        ((b"198.51.100.7",), CLIENT),
        ((b"2001:db8:9::7",), "2001:db8:9::7"),
        ((b"198.51.100.7, 203.0.113.9",), PROXY),
        ((b"198.51.100.7", b"203.0.113.9"), PROXY),
        ((b"x",), PROXY),
        ((), PROXY),
    ],
)
def test_S77_one_address_in_one_header_of_cloudflare(values, address):
    fields = [(b"CF-Connecting-IP", value) for value in values]
    assert behind(CONNECTING_IP).client_of(PROXY, [*fields, *forwarded(b"203.0.113.9")]) == address


@pytest.mark.parametrize("header", [FORWARDED_FOR, CONNECTING_IP, None])
def test_S77_a_stranger_is_believed_nothing(header):
    fields = [*forwarded(b"203.0.113.9"), (b"CF-Connecting-IP", b"203.0.113.9"), (b"Forwarded", b"for=203.0.113.9")]
    fields += [(b"X-Real-IP", b"203.0.113.9"), (b"True-Client-IP", b"203.0.113.9")]
    for peer in (CLIENT, "192.0.3.1", "2001:db8:2::1", "local"):
        assert behind(header).client_of(peer, fields) == peer


def test_S77_headers_that_were_not_chosen_mean_nothing():
    fields = [*forwarded(b"203.0.113.9"), (b"X-Real-IP", b"203.0.113.9")]
    assert behind(None).client_of(PROXY, fields) == PROXY
    assert Approach(address_header=FORWARDED_FOR).client_of(PROXY, fields) == PROXY


def served(header=FORWARDED_FOR, **limits):
    setting = Setting(**limits)
    setting.site.approach = behind(header)
    return setting


def ask(setting, host, *fields):
    client = setting.client(host)
    client.send(b"\r\n".join([b"GET /a HTTP/1.1", b"Host: x", *fields, b"", b""]))
    return client


def test_S77_the_log_names_the_client_and_says_when_it_is_a_proxy(lines):
    setting = served()
    ask(setting, PROXY, b"X-Forwarded-For: 198.51.100.7")
    ask(setting, PROXY)
    ask(setting, CLIENT, b"X-Forwarded-For: 203.0.113.9")
    assert [(" ip=198.51.100.7 " in line, " proxy=yes " in line) for line in lines] == [
        (True, False),
        (False, True),
        (True, False),
    ]
    assert not any("203.0.113.9" in line for line in lines)


def test_S77_a_head_that_never_came_counts_for_the_proxy_which_is_marked(lines):
    setting = served()
    setting.client(PROXY).send(b"nonsense\r\n\r\n")
    assert f" ip={PROXY} proxy=yes " in lines[0]


def test_S77_all_clients_of_a_proxy_share_its_address_and_are_not_bounded_by_it():
    setting = served(per_network=2)
    clients = [setting.client(PROXY) for _ in range(5)]
    assert not any(client.closed for client in clients)
    strangers = [setting.client(CLIENT) for _ in range(3)]
    assert [stranger.closed for stranger in strangers] == [False, False, True]
    for client in (*clients, *strangers):
        client.close()
    assert setting.occupancy.connections == 0


def test_S77_requests_of_one_connection_may_have_many_clients(lines):
    setting = served()
    client = ask(setting, PROXY, b"X-Forwarded-For: 198.51.100.7")
    client.send(b"GET /b HTTP/1.1\r\nx-forwarded-for: 198.51.100.8\r\n\r\n")
    client.send(b"GET /c HTTP/1.1\r\n\r\n")
    found = [line.partition(" ip=")[2].split()[0] for line in lines]
    assert found == ["198.51.100.7", "198.51.100.8", PROXY]
