"""Events of twisted.logger as lines of a file."""

import json
import multiprocessing
import os

import pytest
from twisted.logger import Logger, LogLevel
from twisted.python.failure import Failure

from scepd.observe.log import LineObserver, LogFile


@pytest.fixture
def written():
    return []


def logger(written, **options):
    return Logger(namespace="test", observer=LineObserver(written.append, **options))


def test_our_events_keep_their_fields_in_order(written):
    logger(written).info(event="scep_request", outcome="issued", profile="routers", nothing=None)
    (line,) = written
    assert line.endswith("Z level=info event=scep_request outcome=issued profile=routers\n")
    assert line.startswith("time=20")


def test_other_events_become_their_text_on_one_line(written):
    logger(written).warn("two\nlines of {what}", what="text", secret="not shown")
    assert written[0].endswith('level=warn event=log system=test message="two\\nlines of text"\n')


def test_an_event_that_cannot_be_formatted_is_still_one_line(written):
    logger(written).info("{missing}")
    assert len(written) == 1
    assert written[0].count("\n") == 1


def test_S33_a_failure_shows_its_kind_and_where_it_arose_but_no_values(written):
    def inner(challenge):
        raise ValueError("bad\nvalue")

    try:
        inner("canary-challenge")
    except ValueError:
        logger(written, style="json").failure("it failed", failure=Failure(), event="unexpected_error")
    found = json.loads(written[0])
    assert found["level"] == "critical"
    assert found["error"] == "ValueError: bad\nvalue"
    assert found["stack"].startswith("test_log.py:")
    assert ":inner" in found["stack"]
    assert "canary" not in written[0]


def test_events_below_the_level_are_dropped(written):
    log = logger(written)
    log.debug(event="health")
    assert written == []
    logger(written, minimum=LogLevel.debug).debug(event="health")
    assert len(written) == 1


def test_an_unknown_style_is_refused():
    with pytest.raises(KeyError):
        LineObserver(print, style="xml")


def test_the_file_is_private_and_appended_to(tmp_path):
    path = tmp_path / "log"
    path.write_text("before\n")
    log = LogFile(path)
    log.write("a\n")
    log.write("\udc80\n")
    log.close()
    assert path.read_text() == "before\na\n\\udc80\n"
    other = LogFile(tmp_path / "new")
    other.close()
    assert (tmp_path / "new").stat().st_mode & 0o007 == 0


def test_a_rotated_file_is_opened_anew(tmp_path):
    log = LogFile(tmp_path / "log")
    log.write("one\n")
    (tmp_path / "log").rename(tmp_path / "log.1")
    log.write("two\n")
    log.reopen()
    log.write("three\n")
    log.close()
    assert (tmp_path / "log.1").read_text() == "one\ntwo\n"
    assert (tmp_path / "log").read_text() == "three\n"


def test_S128_a_symbolic_link_is_not_followed(tmp_path):
    (tmp_path / "log").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="symbolic"):
        LogFile(tmp_path / "log")


def test_a_reopen_that_fails_keeps_the_old_file(tmp_path):
    (tmp_path / "d").mkdir()
    log = LogFile(tmp_path / "d" / "log")
    (tmp_path / "d" / "log").rename(tmp_path / "kept")
    (tmp_path / "d").rmdir()
    with pytest.raises(FileNotFoundError):
        log.reopen()
    log.write("still here\n")
    assert (tmp_path / "kept").read_text() == "still here\n"


def test_S80_a_full_disk_costs_lines_and_nothing_else(tmp_path):
    log = LogFile(tmp_path / "log")
    log.close()
    log._descriptor = os.open("/dev/full", os.O_WRONLY)
    log.write("lost\n")
    assert log.lost == 1
    log.close()


def append(path, letter):
    log = LogFile(path)
    for _ in range(2000):
        log.write(letter * 100 + "\n")


def test_lines_of_several_processes_never_mix(tmp_path):
    context = multiprocessing.get_context("spawn")
    writers = [context.Process(target=append, args=(tmp_path / "log", letter)) for letter in "ab"]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    found = (tmp_path / "log").read_text().splitlines()
    assert sorted(set(found)) == ["a" * 100, "b" * 100]
    assert len(found) == 4000
