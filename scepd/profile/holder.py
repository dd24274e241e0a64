"""Whose certificates are counted where a profile bounds how many somebody may have."""

from scepd.records import Identity

# Methods whose identity is one device or person; what several share, or what names a single challenge, is none.
_PERSONAL = frozenset({"entity", "webhook", "intune", "signed", "client-certificate"})


def holder_name(identity: Identity, subject: str) -> str:
    """Return the holder of a certificate to be: who authenticated, or else the subject (RFC 4514 text) itself."""
    if identity.method in _PERSONAL:
        return f"{identity.method}: {identity.name}"
    return f"subject: {subject}"
