"""What a service tells systemd: the datagrams of sd_notify(3)."""

import socket
import time
from collections.abc import Mapping
from contextlib import closing

import attrs


@attrs.frozen
class Notifier:
    """Sends states to the socket that systemd named; says nothing where there is none."""

    address: str | None = None
    watchdog_interval: float | None = None  # seconds between two pings, half of what systemd allows

    @classmethod
    def from_environment(cls, environment: Mapping[str, str], pid: int) -> "Notifier":
        """Read NOTIFY_SOCKET, WATCHDOG_USEC and WATCHDOG_PID."""
        limit = environment.get("WATCHDOG_USEC", "")
        ours = environment.get("WATCHDOG_PID") in (None, str(pid))
        interval = int(limit) / 2_000_000 if limit.isdecimal() and int(limit) > 0 and ours else None
        return cls(environment.get("NOTIFY_SOCKET") or None, interval)

    def ready(self, status: str) -> None:
        """Say that the service is up, or up again after a reload."""
        self._send(f"READY=1\nSTATUS={status}")

    def reloading(self) -> None:
        """Say that a reload began; `ready` ends it."""
        self._send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def stopping(self) -> None:
        """Say that the service is on its way down."""
        self._send("STOPPING=1")

    def status(self, text: str) -> None:
        """Show one line in `systemctl status`."""
        self._send(f"STATUS={text}")

    def alive(self) -> None:
        """Feed the watchdog."""
        self._send("WATCHDOG=1")

    def _send(self, text: str) -> None:
        if self.address is None:
            return
        address = f"\0{self.address[1:]}" if self.address.startswith("@") else self.address
        with closing(
            socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK)
        ) as sender:
            try:
                sender.sendto(text.encode(), address)
            except OSError:
                return  # systemd is away or slow: nothing of ours depends on it
