"""The ports that tests give their servers: two test processes are never handed the same one."""

import socket
import subprocess
import sys

from tests.ports import END, FIRST, free_port

OTHER = "import sys\nfrom tests.ports import free_port\nprint([free_port() for _ in range(150)], flush=True)\nsys.stdin.read()"


def test_processes_side_by_side_have_ports_of_their_own_below_those_of_clients():
    others = [
        subprocess.Popen([sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    lists = [list(map(int, other.stdout.readline().strip("[]\n").split(","))) for other in others]
    lists.append([free_port() for _ in range(3)])
    for other in others:
        other.communicate("")
    handed = [port for ports in lists for port in ports]
    assert len(set(handed)) == len(handed) == 303
    assert FIRST <= min(handed) <= max(handed) < END


def test_a_port_that_somebody_listens_on_is_passed_over():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", free_port() + 1))
        listener.listen()
        taken = listener.getsockname()[1]
        assert free_port() > taken
