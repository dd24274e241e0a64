"""Listening sockets: bound once, kept over reloads, never shared with a stranger."""

import socket

import pytest

from scepd.app.sockets import Sockets, listen_unix
from scepd.config.listener_settings import ListenerSettings
from scepd.refusal import OperatorError


def listener(*addresses, name="plain"):
    return ListenerSettings(name, addresses, None, ("scep",))


def test_all_slots_share_the_port_that_the_system_chose():
    sockets = Sockets()
    places = sockets.provide([listener(("127.0.0.1", 0))], 3)
    ports = {bound.getsockname()[1] for slot in range(3) for _place, bound in sockets.of_slot(places, slot)}
    assert len(places) == 3
    assert len(ports) == 1
    assert sockets.addresses(places) == [("plain", "127.0.0.1", ports.pop())]
    assert not any(bound.getblocking() for _place, bound in sockets.of_slot(places, 0))
    sockets.keep(frozenset())


def test_two_listeners_on_any_port_get_a_port_each():
    sockets = Sockets()
    places = sockets.provide([listener(("127.0.0.1", 0)), listener(("127.0.0.1", 0), name="tls")], 2)
    ports = {name: port for name, _host, port in sockets.addresses(places)}
    assert len(sockets.addresses(places)) == 2  # both slots of a listener at its one port
    assert ports["plain"] != ports["tls"]
    sockets.keep(frozenset())


def test_a_listener_that_was_renamed_shares_the_port_with_its_former_self():
    sockets = Sockets()
    port = sockets.addresses(sockets.provide([listener(("127.0.0.1", 0))], 1))[0][2]
    sockets.keep(frozenset())
    before = sockets.provide([listener(("127.0.0.1", port))], 1)
    after = sockets.provide([listener(("127.0.0.1", port), name="renamed")], 1)
    assert sockets.addresses(after) == [("renamed", "127.0.0.1", port)]
    assert sockets.addresses(before) == [("plain", "127.0.0.1", port)]
    sockets.keep(frozenset())


def test_what_both_configurations_have_is_the_same_socket():
    sockets = Sockets()
    before = sockets.provide([listener(("127.0.0.1", 0)), listener(("127.0.0.1", 0), name="old")], 1)
    after = sockets.provide([listener(("127.0.0.1", 0)), listener(("::1", 0), name="new")], 1)
    kept = {place.listener: bound for place, bound in sockets.of_slot(before, 0)}
    sockets.keep(after)
    assert {place.listener for place, _bound in sockets.of_slot(after, 0)} == {"plain", "new"}
    assert {place.listener: bound for place, bound in sockets.of_slot(after, 0)}["plain"] is kept["plain"]
    assert kept["old"].fileno() == -1
    sockets.keep(frozenset())


def test_one_address_that_cannot_be_had_leaves_the_rest_as_it_was():
    sockets = Sockets()
    places = sockets.provide([listener(("127.0.0.1", 0))], 1)
    with pytest.raises(OperatorError, match=r"192\.0\.2\.1"):
        sockets.provide([listener(("127.0.0.1", 0)), listener(("127.0.0.2", 0), ("192.0.2.1", 0), name="more")], 1)
    assert len(sockets.of_slot(places, 0)) == 1
    assert sockets.addresses(places)
    sockets.keep(frozenset())


def test_a_stranger_with_reuseport_on_the_port_is_noticed():
    with socket.socket() as stranger:
        stranger.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        stranger.bind(("127.0.0.1", 0))
        stranger.listen()
        with pytest.raises(OperatorError, match="already in use") as caught:
            Sockets().provide([listener(stranger.getsockname())], 1)
    assert "ss -ltnp" in caught.value.hint


def test_a_unix_socket_is_for_its_owner_and_takes_the_place_of_a_dead_one(tmp_path):
    path = tmp_path / "control.sock"
    listen_unix(path).close()
    bound = listen_unix(path)
    assert path.stat().st_mode & 0o777 == 0o600
    bound.close()


def test_a_unix_socket_that_cannot_be_made_is_the_operators_matter(tmp_path):
    with pytest.raises(OperatorError, match="cannot make the socket"):
        listen_unix(tmp_path / "missing" / "control.sock")
