"""Bundles of configuration switches by device family; a profile names one and may change any of it."""

from collections.abc import Mapping
from types import MappingProxyType

# Keys are keys of a [profile.NAME] table; "default" is what a profile gets that names none.
PRESETS: Mapping[str, Mapping[str, object]] = MappingProxyType(
    {
        "default": MappingProxyType({}),
        # For clients written against RFC 8894: nothing is there only for older ones.
        "modern": MappingProxyType(
            {"strict_nonce": True, "omit_empty_content": True, "unknown_extensions": "refuse"},
        ),
    },
)
