"""Where the high-water marks of an installation are."""

from scepd.config.settings import Settings
from scepd.store.marks import MarkFile


def mark_file(settings: Settings) -> MarkFile:
    """Return the marks of this node, with the seals of the audit trail."""
    return MarkFile.within(settings.appliance.marks, None if settings.audit is None else settings.audit.seals)
