"""The shape of a lint rule."""

from collections.abc import Callable

import attrs

from scepd.x509.view import Common, Kind, View

ALL: frozenset[Kind] = frozenset({"leaf", "ca", "crossed", "ra", "tls", "ocsp"})
END: frozenset[Kind] = frozenset({"leaf", "ra", "tls", "ocsp"})
CA: frozenset[Kind] = frozenset({"ca", "crossed"})
OWN_CHOICE: frozenset[Kind] = ALL - {"crossed"}  # of name and key identifier


@attrs.frozen
class Rule:
    """A rule: `check` returns what is wrong, or None; `source` says where the rule comes from."""

    name: str
    source: str
    check: Callable[[View], str | None]
    kinds: frozenset[Kind] = ALL


@attrs.frozen
class CommonRule:
    """A rule on what all certificates of a profile have in common, judged once for all of them."""

    name: str
    source: str
    check: Callable[[Common], str | None]
    kinds: frozenset[Kind] = ALL
