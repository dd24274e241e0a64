"""A bare Twisted site with one static resource, to hold others against: `python -m bench.echo BODY TYPE`.

It serves the octets of BODY at every path and prints its port; nothing is logged. SIGTERM ends it.
"""

import gc
import sys
from pathlib import Path
from typing import Any

from twisted.internet import reactor as installed
from twisted.web.server import Site
from twisted.web.static import Data


class _Everywhere(Data):
    """The same at every path."""

    isLeaf = True


def main() -> None:
    """Serve until told to stop."""
    reactor: Any = installed
    body, kind = Path(sys.argv[1]).read_bytes(), sys.argv[2]
    port = reactor.listenTCP(0, Site(_Everywhere(body, kind)), interface="127.0.0.1")
    gc.freeze()
    print(port.getHost().port, flush=True)
    reactor.run()


if __name__ == "__main__":
    main()
