"""OCSP answers that are ready: kept for a short time, and no longer than nothing was revoked."""

import threading
from datetime import datetime, timedelta

from scepd.ca.responder import OcspAnswer

_MOST = 5_000  # of one process: about ten megabytes


class PreparedAnswers:
    """Answers by the octets of the CertID, of one process; lanes put them in, the reactor takes them out.

    Any revocation, release or approval drops them all: an answer is made again sooner than anybody could reason about
    which of them still holds.
    """

    def __init__(self, most: int = _MOST) -> None:
        """Keep so many at most."""
        self._most = most
        self._lock = threading.Lock()
        self._kept: dict[bytes, tuple[OcspAnswer, datetime]] = {}
        self._generation = -1

    def find(self, cert_id: bytes, now: datetime) -> OcspAnswer | None:
        """Return the answer about a CertID, None where there is none that may be given now."""
        found = self._kept.get(cert_id)
        if found is None:
            return None
        answer, until = found
        return answer if answer.this_update <= now < until else None

    def keep(self, cert_id: bytes, answer: OcspAnswer, lasting: timedelta) -> None:
        """Keep an answer for that time, unless something has changed since it was made."""
        with self._lock:
            if answer.generation < self._generation or not lasting:
                return
            self._kept.pop(cert_id, None)
            if len(self._kept) >= self._most:
                del self._kept[next(iter(self._kept))]  # the oldest
            self._kept[cert_id] = (answer, min(answer.this_update + lasting, answer.next_update))

    def hear(self, generation: int) -> None:
        """Drop what was made before the store came to that generation."""
        with self._lock:
            if generation != self._generation:
                self._generation = generation
                self._kept.clear()
