"""Which shard of its issuer's CRL a new certificate names."""

from collections.abc import Mapping
from types import MappingProxyType

import attrs


@attrs.define
class OpenShards:
    """The newest shard of each issuer that has a CRL already; one of each process, told by its news, read by its lanes."""

    _open: Mapping[str, int] = MappingProxyType({})

    def of(self, issuer: str) -> int:
        """Return the shard that is filled now."""
        return self._open.get(issuer, 0)

    def replace(self, newest: Mapping[str, int]) -> None:
        """Take what the store says."""
        self._open = newest
