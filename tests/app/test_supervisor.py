"""The supervisor with real child processes: start, replacement, reload, stop."""

import os
import signal
import socket
import threading
import time
from pathlib import Path

from scepd.app import service


def test_it_serves_with_as_many_workers_as_configured(tiny):
    tiny.configure(workers=2)
    tiny.start()
    found = tiny.status()
    assert [worker["state"] for worker in found["workers"]] == ["ready", "ready"]
    assert {tiny.say("pid") for _ in range(40)} == {str(pid) for pid in tiny.pids()}
    assert found["hsm"] == "up"
    assert all(worker["startup_milliseconds"] > 0 for worker in found["workers"])


def test_S113_the_pin_is_in_no_argument_and_no_environment_of_a_child(tiny):
    tiny.start()
    for pid in [*tiny.pids(), tiny.process.pid]:
        assert b"canary-pin-7421" not in Path(f"/proc/{pid}/cmdline").read_bytes()
        assert b"canary-pin-7421" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "canary-pin-7421" not in tiny.log.read_text()


def test_S113_children_leave_no_core_file(tiny):
    tiny.start()
    for pid in [*tiny.pids(), tiny.process.pid]:
        limits = Path(f"/proc/{pid}/limits").read_text()
        assert next(line for line in limits.splitlines() if "core file" in line).split()[4:6] == ["0", "0"]


def test_a_killed_worker_is_replaced_and_its_queued_connections_are_answered(tiny):
    tiny.start()
    port, [old] = tiny.port(), tiny.pids()
    os.kill(old, signal.SIGSTOP)
    waiting = [socket.create_connection(("127.0.0.1", port), timeout=45) for _ in range(3)]
    for connection in waiting:
        connection.sendall(b"pid\n")
    os.kill(old, signal.SIGKILL)
    answers = {connection.makefile().readline().strip() for connection in waiting}
    tiny.until(lambda: tiny.status()["ready"])
    assert answers == {str(tiny.pids()[0])}
    assert str(old) not in answers
    assert tiny.status()["workers"][0]["restarts"] == 1


def test_a_worker_whose_reactor_hangs_is_replaced(tiny):
    tiny.start()
    port, [old] = tiny.port(), tiny.pids()
    with socket.create_connection(("127.0.0.1", port)) as connection:
        connection.sendall(b"hang\n")
        tiny.until(lambda: tiny.pids() not in ([old], [None]))
    tiny.until(lambda: tiny.status()["ready"])
    assert "child_stuck" in tiny.log.read_text()


def test_the_replacement_of_a_dead_worker_recovers_its_slot(tiny):
    tiny.start()
    os.kill(tiny.pids()[0], signal.SIGKILL)
    tiny.until(lambda: tiny.status()["workers"][0]["restarts"] == 1 and tiny.status()["ready"])
    assert tiny.say("recovered") == "0"


def test_an_armed_checkpoint_kills_one_worker_once(tiny):
    tiny.start()
    port = tiny.port()
    (tiny.directory / "checkpoint").write_text("after_intent")
    assert tiny.say("point before_intent", port) == "passed"
    assert tiny.say("point after_intent", port) == ""
    assert tiny.say("point after_intent", port) == "passed"
    assert "SIGKILL" in tiny.log.read_text()


def test_reload_replaces_the_workers_and_lets_old_requests_end(tiny):
    tiny.start()
    port, old = tiny.port(), set(tiny.pids())
    answers = []
    slow = threading.Thread(target=lambda: answers.append(tiny.say("slow 1.5", port)))
    slow.start()
    time.sleep(0.2)
    tiny.configure(name="second")
    assert service.reload(tiny.runtime) == {"ok": True, "generation": 2}
    assert not old & set(tiny.pids())
    assert {tiny.say("name", port) for _ in range(20)} == {"second"}
    slow.join()
    assert answers == ["done"]
    tiny.until(lambda: not tiny.status()["leaving"])


def test_S111_only_a_start_tells_the_migration_that_nobody_else_works(tiny):
    tiny.start()
    service.reload(tiny.runtime)
    service.reload(tiny.runtime)
    assert (tiny.directory / "migrations").read_text().split() == ["start", "reload", "reload"]


def test_no_connection_is_lost_over_a_reload(tiny):
    tiny.start()
    port, failures, end = tiny.port(), [], threading.Event()

    def knock():
        while not end.is_set():
            try:
                if not tiny.say("pid", port).isdigit():
                    failures.append("no answer")
            except OSError as fault:
                failures.append(str(fault))

    knocking = threading.Thread(target=knock)
    knocking.start()
    assert service.reload(tiny.runtime)["ok"]
    tiny.until(lambda: not tiny.status()["leaving"])
    end.set()
    knocking.join()
    assert failures == []


def test_after_a_reload_the_new_worker_recovers_what_the_old_one_left(tiny):
    tiny.configure(workers=2)
    tiny.start()
    tiny.configure(workers=1)
    assert service.reload(tiny.runtime)["ok"]
    tiny.until(lambda: not tiny.status()["leaving"])
    assert tiny.until(lambda: set(tiny.say("recovered").split()) == {"0", "1"})


def test_a_reload_with_faults_reports_all_of_them_and_changes_nothing(tiny):
    tiny.start()
    old = tiny.pids()
    tiny.configure(fault="the profile is wrong")
    answer = service.reload(tiny.runtime)
    assert not answer["ok"]
    assert [problem["problem"] for problem in answer["problems"]] == ["the profile is wrong", "and this"]
    found = tiny.status()
    assert (tiny.pids(), found["generation"], found["ready"]) == (old, 1, True)
    assert found["last_reload"]["ok"] is False


def test_a_reload_whose_self_test_or_workers_fail_keeps_the_old_ones(tiny):
    tiny.start()
    old = tiny.pids()
    for fault, words in (("selftest-refuses", "tiny key is not there"), ("worker-refuses", "tiny worker refuses")):
        (tiny.directory / fault).touch()
        answer = service.reload(tiny.runtime)
        assert [problem["problem"] for problem in answer["problems"]] == [words]
        (tiny.directory / fault).unlink()
    assert tiny.pids() == old
    assert tiny.say("pid") in map(str, old)


def test_a_hangup_signal_reloads(tiny):
    tiny.start()
    tiny.configure(name="second")
    tiny.process.send_signal(signal.SIGHUP)
    tiny.until(lambda: tiny.status()["generation"] == 2)
    tiny.until(lambda: tiny.say("name") == "second")  # the old one answers until it has let go of the socket


def test_a_reload_adds_and_removes_listeners(tiny):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        second = free.getsockname()[1]
    tiny.start()
    tiny.configure(ports=[0, second])
    assert service.reload(tiny.runtime)["ok"]
    assert tiny.say("pid", second).isdigit()
    tiny.configure(ports=[0])
    assert service.reload(tiny.runtime)["ok"]
    tiny.until(lambda: not tiny.status()["leaving"])
    assert socket.socket().connect_ex(("127.0.0.1", second)) != 0


def test_a_stop_lets_requests_in_flight_end(tiny):
    tiny.start()
    answers = []
    port = tiny.port()
    slow = threading.Thread(target=lambda: answers.append(tiny.say("slow 0.8", port)))
    slow.start()
    time.sleep(0.2)
    workers = tiny.pids()
    tiny.process.send_signal(signal.SIGTERM)
    slow.join()
    tiny.wait()
    assert answers == ["done"]
    assert not any(Path(f"/proc/{pid}").exists() for pid in workers)
    assert sorted(path.name for path in tiny.runtime.iterdir()) == ["scepd.lock"]


def test_workers_end_when_their_supervisor_is_killed(tiny):
    tiny.start()
    workers = tiny.pids()
    tiny.process.kill()
    tiny.wait()
    tiny.until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in workers))
