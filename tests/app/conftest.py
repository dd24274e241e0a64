"""A running tiny service for each test that wants one."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from scepd.app import service


class TinyService:
    """The real supervisor in a process of its own, over tiny children."""

    def __init__(self, directory):
        self.directory = directory
        self.runtime = directory / "run"
        self.log = directory / "log"
        self.process = None

    def configure(self, **wishes):
        (self.directory / "config.json").write_text(json.dumps(wishes))

    def launch(self, **environment):
        command = [sys.executable, "-m", "tests.app.tiny_service", str(self.directory)]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, **environment})
        return self

    def start(self, **environment):
        self.launch(**environment)
        self.until(lambda: self.status().get("ready"))
        return self

    def status(self):
        try:
            return service.status(self.runtime)
        except service.NotRunning:
            return {}

    def until(self, condition, seconds=45.0):
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            found = condition()
            if found:
                return found
            time.sleep(0.05)
        pytest.fail(f"waited in vain; log:\n{self.log.read_text()}")

    def port(self):
        return self.status()["listeners"][0]["port"]

    def pids(self):
        return [worker["pid"] for worker in self.status()["workers"]]

    def say(self, words, port=None, timeout=45.0):
        with socket.create_connection(("127.0.0.1", port or self.port()), timeout=timeout) as connection:
            connection.sendall(words.encode() + b"\n")
            return connection.makefile().readline().strip()

    def wait(self, seconds=45.0):
        return self.process.wait(seconds)

    def stop(self):
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()


@pytest.fixture
def tiny(tmp_path):
    tiny = TinyService(tmp_path)
    tiny.configure()
    yield tiny
    tiny.stop()
