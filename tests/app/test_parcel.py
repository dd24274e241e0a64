"""What travels through the pipe, and what it never shows."""

import os

import pytest

from scepd.app.parcel import Inherited, Parcel, receive, tell
from scepd.records import Secret


def through_a_pipe(octets):
    reader, writer = os.pipe()
    os.write(writer, octets)
    os.close(writer)
    try:
        return receive(reader)
    finally:
        os.close(reader)


def test_a_parcel_arrives_as_it_was_sent():
    parcel = Parcel(
        b"\x00\xffsettings",
        Secret("pin-ü"),
        slot=3,
        slots=4,
        sockets=(Inherited("plain", 4, 2), Inherited("tls", 5, 10)),
        recover=False,
        checkpoints="/somewhere",
        log_file="/log",
    )
    assert through_a_pipe(parcel.encode()) == parcel


def test_an_incomplete_parcel_is_an_end_of_file():
    with pytest.raises(EOFError):
        through_a_pipe(Parcel(b"settings").encode()[:-1])


def test_the_pin_is_not_in_the_representation():
    assert "canary" not in repr(Parcel(b"", Secret("canary")))


def test_a_status_line_that_nobody_reads_is_dropped():
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    while True:
        try:
            os.write(writer, bytes(65536))
        except BlockingIOError:
            break
    tell("beat", descriptor=writer)
    os.close(reader)
    tell("beat", descriptor=writer)
    os.close(writer)
