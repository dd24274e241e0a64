"""Somebody who guesses challenges from a thousand places, in a process of its own that leaves the processor to others."""

import asyncio
import os
import secrets
import time
from collections import Counter
from datetime import UTC, datetime

import attrs

from scepd.message.certrep import read_certrep
from tests import make
from tests.live.http_wire import request

_AT_WORK = 50
_KEYS, _CONNECTIONS = 50, 64


@attrs.frozen
class Aim:
    """What is guessed at: the port behind a proxy, the path, and the RA's certificates."""

    port: int
    target: str
    sign: bytes
    decrypt: bytes


class Guesser:
    """Guesses made ahead; lives in one child process."""

    def __init__(self):
        self.ready = []

    def prepare(self, aim, count, places):
        """Make that many different guesses from these places, each in a network of its own.

        Fifty are at work at any time; one that has had its guesses makes room for the next, as somebody goes on from
        another address when one is blocked.
        """
        parties = [make.party(f"guesser-{number}", "p256") for number in range(_KEYS)]
        groups = [places[at : at + _AT_WORK] for at in range(0, len(places), _AT_WORK)]
        each = count // len(places)
        order = [place for group in groups for _ in range(each) for place in group]
        self.ready = [_guess(aim, place, parties[number % _KEYS]) for number, place in enumerate(order)]

    async def attack(self, aim, per_second):
        """Send all of them at that rate; return how often each answer came."""
        begun, numbers, replies = time.monotonic(), iter(range(len(self.ready))), []
        await asyncio.gather(*(self._send(aim, numbers, begun, per_second, replies) for _ in range(_CONNECTIONS)))
        return Counter(_outcome(aim, status, body) for status, body in replies), time.monotonic() - begun

    async def _send(self, aim, numbers, begun, per_second, replies):
        writer = None
        for number in numbers:
            await asyncio.sleep(max(begun + number / per_second - time.monotonic(), 0))
            if writer is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", aim.port)
            writer.write(self.ready[number])
            head = (await reader.readuntil(b"\r\n\r\n")).lower()
            length = int(head.partition(b"\r\ncontent-length: ")[2].partition(b"\r\n")[0])
            replies.append((int(head[9:12]), await reader.readexactly(length)))
            if b"\r\nconnection: close" in head:
                writer.close()
                writer = None
        if writer is not None:
            writer.close()


def _guess(aim, place, party):
    body = make.pkcs_req(
        challenge=secrets.token_urlsafe(16), subject=make.name(CN=f"guess-{place}"), signer=party,
        recipient=make.Party(None, aim.decrypt), transaction_id=secrets.token_hex(16),
        sender_nonce=secrets.token_bytes(16), signing_time=datetime.now(UTC),
    )  # fmt: skip
    return request("POST", aim.target, body, f"X-Forwarded-For: 100.{64 + place // 250}.{place % 250}.7")


def _outcome(aim, status, body):
    if status != 200:
        return status
    return read_certrep(body, trusted=[aim.sign]).status.name


_guesser = Guesser()


def give_way():
    """Run only where nobody else wants to: in truth the guesser's processor is another machine's."""
    os.nice(10)


def prepare(aim, count, places):
    """As `Guesser.prepare`, of this process."""
    _guesser.prepare(aim, count, places)


def attack(aim, per_second):
    """As `Guesser.attack`, of this process."""
    return asyncio.run(_guesser.attack(aim, per_second))
