"""What one profile answers with, and which paths lead to it (RFC 8894 section 4.1)."""

from collections.abc import Callable, Mapping

import attrs
from twisted.internet.defer import Deferred

from scepd.enroll.reply import Answer
from scepd.records import Origin
from scepd.web.client_certificate import Gate

_PROGRAM = b"pkiclient.exe"  # Cisco appends it to whatever URL it is given


@attrs.frozen
class Phase:
    """What one profile says of its CA while one issuer serves: bytes made at compile time.

    `ca_chain` answers GetCACertChain, `next_ca` GetNextCACert; None where the profile has no such answer.
    """

    capabilities: bytes
    ca_certificates: bytes
    ca_content_type: str
    ca_chain: bytes | None = None
    next_ca: Callable[[], Deferred[bytes]] | None = None


@attrs.frozen
class Endpoint:
    """What one profile answers with: the phase of the moment, and the doors of the enrolment room.

    Where there is a gate, all of it is under /scep-mtls and nothing under /scep.
    """

    profile_name: str
    phase: Callable[[], Phase]
    answer: Callable[[bytes, Origin], Deferred[Answer]]
    answer_raw: Callable[[bytes, Origin], Deferred[Answer]] | None = None  # to a bare PKCS#10
    get_only: bool = False
    gate: Gate | None = None  # None: needs no client certificate


def _path(tree: str, key: str) -> bytes:
    """Return where an endpoint stands in a tree of paths such as "scep", octet for octet."""
    tenant, _, segment = key.rpartition("/")
    return "".join(f"/{step}" for step in (tenant, tree, segment) if step).encode("ascii")


def raw_routes(endpoints: Mapping[str, Endpoint]) -> dict[bytes, Endpoint]:
    """Return every path that takes a bare PKCS#10, octet for octet."""
    return {
        _path("scep-raw", key): endpoint
        for key, endpoint in endpoints.items()
        if endpoint.answer_raw is not None and endpoint.gate is None and not key.endswith("/")
    }


def gated_routes(endpoints: Mapping[str, Endpoint]) -> dict[bytes, Endpoint]:
    """Return every path that leads through a gate, octet for octet; there is no default among them."""
    table: dict[bytes, Endpoint] = {}
    for key, endpoint in endpoints.items():
        base = _path("scep-mtls", key)
        for path in (base, base + b"/" + _PROGRAM):
            if endpoint.gate is not None and not key.endswith("/"):
                table[path] = table[path + b"/"] = endpoint
    return table


def routes(endpoints: Mapping[str, Endpoint], default: str | None) -> dict[bytes, Endpoint]:
    """Return every path that means an endpoint, octet for octet; `default` names the one that answers /scep.

    The keys of `endpoints` are path segments, below a tenant "tenant/segment"; "tenant/" is its default profile. What
    is in no key here is not found: never another profile's business.
    """
    table: dict[bytes, Endpoint] = {}
    open_ones = {key: endpoint for key, endpoint in endpoints.items() if endpoint.gate is None}
    for key, endpoint in open_ones.items():
        base = _path("scep", key)
        paths = [base, base + b"/" + _PROGRAM]
        if key.endswith("/"):
            above = base.removesuffix(b"/scep")
            paths += [above + b"/cgi-bin/" + _PROGRAM, above + b"/" + _PROGRAM]
        for path in paths:
            table[path] = table[path + b"/"] = endpoint
    if default in open_ones:
        for path in (b"/scep", b"/scep/" + _PROGRAM, b"/cgi-bin/" + _PROGRAM, b"/" + _PROGRAM):
            table[path] = table[path + b"/"] = endpoints[default]
    return table
