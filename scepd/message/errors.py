"""What goes wrong while bytes are read."""


class MessageError(ValueError):
    """Bytes that are no PKIMessage that could be attributed to a requester: HTTP 400, never a CertRep."""

    def __init__(self, detail: str) -> None:
        """Keep what was wrong, for the log; the caller never sees it."""
        super().__init__(detail)
        self.detail = detail


class LimitExceeded(MessageError):  # noqa: N818 - says which kind of MessageError
    """The bytes go beyond a bound on size, depth, count, tag, OID or fragments."""
