"""What systemd hears (sd_notify(3))."""

import socket

import pytest

from scepd.observe.notify import Notifier


@pytest.fixture(params=["path", "abstract"])
def systemd(request, tmp_path):
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    name = str(tmp_path / "notify")
    listening.bind(name if request.param == "path" else f"\0{name}")
    listening.settimeout(2)
    yield listening, name if request.param == "path" else f"@{name}"
    listening.close()


def test_each_state_is_one_datagram(systemd):
    listening, address = systemd
    notifier = Notifier(address)
    notifier.ready("serving")
    assert listening.recv(999) == b"READY=1\nSTATUS=serving"
    notifier.reloading()
    assert listening.recv(999).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
    notifier.alive()
    assert listening.recv(999) == b"WATCHDOG=1"
    notifier.stopping()
    assert listening.recv(999) == b"STOPPING=1"
    notifier.status("starting")
    assert listening.recv(999) == b"STATUS=starting"


def test_without_systemd_nothing_happens(tmp_path):
    Notifier().ready("")
    Notifier(str(tmp_path / "nobody")).ready("")


@pytest.mark.parametrize(
    ("environment", "interval"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 15.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
    ],
)
def test_the_watchdog_is_fed_twice_in_its_time(environment, interval):
    assert Notifier.from_environment(environment, 7).watchdog_interval == interval
