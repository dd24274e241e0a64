"""What keeps the service from starting, and the exit status that tells of it."""

import socket

import pytest

from scepd.app import service


@pytest.mark.parametrize(
    ("fault", "status", "words"),
    [
        ("selftest-refuses", 78, "tiny key is not there"),
        ("selftest-fails", 1, "tiny token is away"),
        ("worker-refuses", 78, "tiny worker refuses"),
        ("worker-dies", 3, "0 ended with exit status 3"),
    ],
)
def test_a_start_that_fails_says_why_and_leaves_with_the_status(tiny, fault, status, words):
    (tiny.directory / fault).touch()
    assert tiny.launch().wait() == status
    lines = [line for line in tiny.log.read_text().splitlines() if "event=start_failed" in line]
    assert len(lines) == 1
    assert words in lines[0]


def test_a_token_that_stays_away_fails_the_start(tiny):
    tiny.configure(ready=8.0)
    (tiny.directory / "token-away").touch()
    assert tiny.launch().wait() == 1
    assert "token away" in tiny.log.read_text()


def test_a_port_that_is_taken_fails_the_start(tiny):
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)  # even one that would share
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        tiny.configure(ports=[port])
        assert tiny.launch().wait() == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in tiny.log.read_text()


def test_a_second_service_in_the_same_directory_is_refused_and_the_first_goes_on(tiny):
    tiny.start()
    first = tiny.process
    assert tiny.launch().wait() == 1
    tiny.process = first
    assert "another scepd runs" in tiny.log.read_text()
    assert tiny.say("pid").isdigit()


def test_a_client_of_no_service_hears_so(tmp_path):
    with pytest.raises(service.NotRunning):
        service.status(tmp_path)
