"""Small programs in place of worker, desk, migration and self-test, for tests of the supervisor."""

import os
import time

from twisted.internet.protocol import Factory
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver

from scepd.app.checkpoint import Checkpoints
from scepd.app.listeners import adopt
from scepd.app.parcel import tell
from scepd.app.process import run_process
from scepd.refusal import OperatorError, Unavailable


class Chat(LineOnlyReceiver):
    """Answers `pid`, hangs on `hang`, answers `slow N` after N seconds, says what it was given on `parcel`."""

    delimiter = b"\n"

    def connectionMade(self):
        self.factory.open.add(self)

    def connectionLost(self, reason):
        self.factory.open.discard(self)

    def lineReceived(self, line):
        words = line.decode().split()
        if words[0] == "hang":
            time.sleep(60)
        elif words[0] == "slow":
            self.factory.reactor.callLater(float(words[1]), self.say, "done")
        elif words[0] == "point":
            self.factory.checkpoints(words[1])
            self.say("passed")
        elif words[0] == "recovered":
            self.say(" ".join(map(str, self.factory.recovered)) or "-")
        elif words[0] == "name":
            self.say(self.factory.settings.appliance.name)
        else:
            self.say(str(os.getpid()))

    def say(self, text):
        self.sendLine(text.encode())
        self.transport.loseConnection()


class Tiny:
    def __init__(self, reactor, settings, parcel, fail):
        self.reactor, self.settings, self.parcel = reactor, settings, parcel
        self.ports = []
        self.factory = Factory.forProtocol(Chat)
        self.factory.noisy = False
        self.factory.reactor, self.factory.open, self.factory.settings = reactor, set(), settings
        self.factory.recovered = [parcel.slot] if parcel.recover else []
        self.factory.checkpoints = Checkpoints(parcel.checkpoints)

    async def start(self):
        if (self.settings.appliance.state / "worker-refuses").exists():
            raise OperatorError("tiny worker refuses", "remove the file")
        if (self.settings.appliance.state / "worker-dies").exists():
            os._exit(3)
        for inherited in self.parcel.sockets:
            self.ports.append(adopt(self.reactor, inherited, self.factory))

    async def drain(self, grace):
        for port in self.ports:
            await port.stopListening()
        end = time.monotonic() + grace
        while self.factory.open and time.monotonic() < end:
            await deferLater(self.reactor, 0.05, lambda: None)

    def recover(self, slot):
        self.factory.recovered.append(slot)

    def describe(self):
        away = (self.settings.appliance.state / "token-away").exists()
        return {"hsm": "away" if away else "up"}


def once(settings, parcel):
    tell("seen", {"pin": bool(parcel.pin)})
    if parcel.pin is None:  # the migration
        with (settings.appliance.state / "migrations").open("a") as file:
            file.write("start\n" if parcel.recover else "reload\n")
    if (settings.appliance.state / "selftest-refuses").exists():
        raise OperatorError("tiny key is not there", "look at the token")
    if (settings.appliance.state / "selftest-fails").exists():
        raise Unavailable("tiny token is away")
    return 0


if __name__ == "__main__":
    run_process(Tiny)
