"""Files that are read again when they change."""

import os

import pytest
from twisted.internet.task import Clock

from scepd.profile.networks import read_networks
from scepd.web.watched import Watched


@pytest.fixture
def clock():
    return Clock()


@pytest.fixture
def path(tmp_path):
    path = tmp_path / "networks.txt"
    path.write_text("192.0.2.0/24\n")
    return path


def watch(path, clock):
    return Watched(path, read_networks, seconds=clock.seconds)


def has(watched, address):
    return address in watched.value


def test_S77_a_changed_file_counts_a_second_later(path, clock, lines):
    networks = watch(path, clock)
    assert has(networks, "192.0.2.1")
    path.write_text("198.51.100.0/24\n")
    assert has(networks, "192.0.2.1")
    clock.advance(1)
    assert not has(networks, "192.0.2.1")
    assert has(networks, "198.51.100.1")
    assert [line.partition("event=")[2].split()[0] for line in lines] == ["file_read_again"]


def test_S77_a_file_replaced_by_rename_is_seen(path, clock):
    networks = watch(path, clock)
    new = path.with_suffix(".new")
    new.write_text("198.51.100.0/2\n".replace("/2\n", "/24"))
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.rename(path)
    clock.advance(1)
    assert has(networks, "198.51.100.1")


@pytest.mark.parametrize("spoil", ["broken", "empty", "gone", "directory"])
def test_S77_a_broken_file_leaves_the_old_list_and_one_line_in_the_log(path, clock, lines, spoil):
    networks = watch(path, clock)
    path.unlink()
    if spoil == "directory":
        path.mkdir()
    elif spoil != "gone":
        path.write_text({"broken": "<html>", "empty": ""}[spoil])
    for _ in range(5):
        clock.advance(1)
        assert has(networks, "192.0.2.1")
    assert len([line for line in lines if "event=file_refused" in line and "kept=yes" in line]) == 1
    if spoil == "directory":
        path.rmdir()
    path.write_text("198.51.100.0/24\n")
    clock.advance(1)
    assert has(networks, "198.51.100.1")


def test_S77_a_file_that_was_never_there_trusts_nobody_until_it_is(tmp_path, clock, lines):
    networks = watch(tmp_path / "later", clock)
    assert networks.value is None
    assert "kept=no" in lines[0]
    (tmp_path / "later").write_text("192.0.2.0/24")
    clock.advance(1)
    assert has(networks, "192.0.2.1")


def test_a_file_beyond_all_measure_is_not_read(path, clock, lines):
    with path.open("wb") as file:
        file.truncate(8_388_609)
    assert watch(path, clock).value is None
    assert "longer than" in lines[0]


def test_a_fifo_does_not_hold_the_reactor(tmp_path, clock):
    os.mkfifo(tmp_path / "fifo")
    assert watch(tmp_path / "fifo", clock).value is None
