"""Crash points: nothing without a file, one death for each arming."""

import os
import signal

from scepd.app.checkpoint import Checkpoints


def pass_in_a_child(checkpoints, name):
    pid = os.fork()
    if pid == 0:
        checkpoints(name)
        os._exit(0)
    return os.waitpid(pid, 0)[1]


def test_without_a_file_every_point_is_passed(tmp_path):
    Checkpoints()("after_intent")
    Checkpoints(tmp_path / "checkpoint")("after_intent")


def test_the_armed_point_kills_once(tmp_path):
    path = tmp_path / "checkpoint"
    path.write_text("after_intent\n")
    checkpoints = Checkpoints(path)
    assert pass_in_a_child(checkpoints, "before_intent") == 0
    assert os.WTERMSIG(pass_in_a_child(checkpoints, "after_intent")) == signal.SIGKILL
    assert not path.exists()
    assert pass_in_a_child(checkpoints, "after_intent") == 0
