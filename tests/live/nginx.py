"""A reverse proxy of one's own for a test: Debian's nginx as a child process with its own configuration and directories."""

import socket
import subprocess
import time
from pathlib import Path

import attrs

from tests.ports import free_port

_TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
_FRAME = """
daemon off;
master_process off;
pid {directory}/nginx.pid;
error_log {directory}/error.log;
events {{ worker_connections 128; }}
http {{
    access_log {directory}/access.log;
{temporary}
{around}
    server {{
        listen 127.0.0.1:{port};
        large_client_header_buffers 4 64k;
{body}
    }}
}}
"""


@attrs.define
class Nginx:
    """One nginx; `stop` ends it."""

    directory: Path
    port: int
    process: subprocess.Popen

    @classmethod
    def start(cls, directory, body, around=""):
        """Start it with the body of one server block, and what is `around` the block; wait until it listens."""
        directory.mkdir()
        port = free_port()
        temporary = "\n".join(f"    {name}_temp_path {directory}/{name};" for name in _TEMPORARY)
        config = directory / "nginx.conf"
        words = {"directory": directory, "temporary": temporary, "port": port, "body": body, "around": around}
        config.write_text(_FRAME.format(**words))
        process = subprocess.Popen(
            ["/usr/sbin/nginx", "-p", directory, "-e", directory / "error.log", "-c", config],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        nginx = cls(directory, port, process)
        nginx.await_listening()
        return nginx

    def await_listening(self, wait=10.0):
        """Wait until connections are taken."""
        deadline = time.monotonic() + wait
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", self.port)) == 0:
                    return
            time.sleep(0.05)
        self.stop()
        raise AssertionError(f"nginx does not listen:\n{(self.directory / 'error.log').read_text()}")

    def stop(self):
        """End it."""
        self.process.terminate()
        self.process.wait(10)
