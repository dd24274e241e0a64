"""Shards of a CRL: certificates are dealt out by their issuance, and each names the CRL that it would be on."""

import re

_NUMBER = re.compile(r"[^/]/[^/]*\.([0-9]{1,9})(?:\.crl)?$", re.ASCII)
_SUFFIX = ".crl"
_SEPARATOR = "."  # in no issuer's name


def crl_name(issuer: str, shard: int) -> str:
    """Return how the CRL of a shard is called: as its issuer, from the second on with a number behind ("devices.1")."""
    return f"{issuer}{_SEPARATOR}{shard}" if shard else issuer


def crl_issuer(name: str) -> str:
    """Return the issuer of the CRL of that name."""
    return name.partition(_SEPARATOR)[0]


def crl_shard(name: str) -> int:
    """Return the shard of the CRL of that name."""
    return int(name.partition(_SEPARATOR)[2] or 0)


def shard_url(url: str, shard: int) -> str:
    """Return where the CRL of a shard is, from where that of the first one is: its number before ".crl", or at the end."""
    if not shard:
        return url
    stem = url.removesuffix(_SUFFIX)
    return f"{stem}{_SEPARATOR}{shard}{url[len(stem) :]}"


def shard_at(url: str) -> int:
    """Return the shard whose CRL is at a URL that `shard_url` returned."""
    match = _NUMBER.search(url)
    return 0 if match is None else int(match[1])
