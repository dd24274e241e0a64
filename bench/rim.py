"""The HTTP rim alone: the site, the resource and the log of a worker around an answer that is known beforehand.

`python -m bench.rim ANSWER LOG [--lane]` serves the octets of ANSWER as every CertRep, logs to LOG, and prints its
port; with `--lane` each request crosses into a lane's thread and back, as it does in a worker. SIGTERM ends it.
"""

import argparse
import gc
import os
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogBeginner

from scepd.enroll.reply import Answer
from scepd.hsm.lanes import Lanes
from scepd.observe.log import LineObserver, LogFile
from scepd.records import Origin
from scepd.web.endpoint import Endpoint, Phase
from scepd.web.limits import Occupancy
from scepd.web.scep import ScepResource
from scepd.web.site import ScepSite

Answering = Callable[[bytes, Origin], Deferred[Answer]]


def in_lane(answer: Answer) -> Answering:
    """Return what fetches the answer from a lane."""
    reactor: Any = installed
    lanes: Lanes[str] = Lanes(lambda: "a lane", size=1, depth=64, deadline=timedelta(seconds=10), reactor=reactor)
    lanes.start()

    async def ask() -> Answer:
        return await lanes.run(lambda _context: answer)

    return lambda _body, _origin: Deferred.fromCoroutine(ask())


def main() -> None:
    """Serve until told to stop."""
    reactor: Any = installed
    parser = argparse.ArgumentParser(prog="bench.rim", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("answer", type=Path)
    parser.add_argument("log", type=Path)
    parser.add_argument("--lane", action="store_true")
    options = parser.parse_args()
    observer: Any = LineObserver(LogFile(options.log).write)
    globalLogBeginner.beginLoggingTo([observer], redirectStandardIO=False)
    answer = Answer(
        options.answer.read_bytes(),
        "issued",
        message_type="PKCSReq",
        transaction_id="0123456789abcdef0123456789abcdef",
        subject="CN=bench-01234567-100",
    )
    answering: Answering = in_lane(answer) if options.lane else lambda _body, _origin: succeed(answer)
    endpoint = Endpoint("static", lambda: Phase(b"", b"", "application/x-x509-ca-cert"), answering)
    resource: Any = ScepResource({"static": endpoint})
    site = ScepSite(resource, reactor, random=os.urandom, occupancy=Occupancy(per_network=0))
    port = reactor.listenTCP(0, site, interface="127.0.0.1")
    gc.freeze()
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
