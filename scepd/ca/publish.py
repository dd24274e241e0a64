"""Publishing CRLs: when one is due, what it lists, and its number; full CRLs only (RFC 5280 section 5)."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import attrs

from scepd.ca.local import LocalIssuer
from scepd.ca.shelf import CrlShelf, PublishedCrls
from scepd.records import Crl, RevokedEntry, crl_name, shard_url
from scepd.refusal import OperatorError
from scepd.x509.crl import CrlDraft, draft_crl, listed_entries, may_sign_crls, scope_extension, seal_crl, sign_crl
from scepd.x509.draft import split
from scepd.x509.issuer import IssuerCertificate

_SLICE = 200  # entries between two pauses: about two milliseconds of work
_SECOND = timedelta(seconds=1)


class CrlStore(PublishedCrls, Protocol):
    """What publishing needs of the store."""

    def revoked_entries(self, issuer: str, *, ends_after: datetime, shard: int = 0) -> Iterator[RevokedEntry]:
        """Yield the revoked certificates of a shard whose notAfter is later than `ends_after`."""

    def crl_shards(self, issuer: str) -> Sequence[int]:
        """Return the shards of an issuer."""

    def add_crl(self, crl: Crl, *, who: str) -> bool:
        """Add a CRL where its number follows the newest; return whether this call did."""


class CrlTerms(Protocol):
    """How often an issuer's CRL appears and how long it is valid: `config.issuer_settings.CrlSettings`."""

    @property
    def every(self) -> timedelta:
        """After how long the next one follows."""

    @property
    def valid(self) -> timedelta:
        """From thisUpdate to nextUpdate."""


def no_pause() -> None:
    """Go on at once: for a thread that nobody waits beside."""


@attrs.frozen(kw_only=True)
class Publisher:
    """The CRLs of one issuer, or of one shard of it, over one store connection and in its thread.

    `pause` is called after each slice of entries and may sleep, so that drafting a hundred thousand of them leaves the
    interpreter to the other threads, or raise, so that it ends early.
    """

    issuer: str
    certificate: IssuerCertificate
    terms: CrlTerms
    shelf: CrlShelf
    shard: int = 0
    urls: tuple[str, ...] = ()  # where certificates of the first shard say that the CRL is
    pause: Callable[[], None] = no_pause

    @property
    def name(self) -> str:
        """How the CRL is called."""
        return crl_name(self.issuer, self.shard)

    def is_due(self, store: PublishedCrls, now: datetime) -> bool:
        """Return whether the schedule wants a CRL: there is none, or the newest is `every` old (C-290)."""
        latest = self.shelf.latest(store, self.name)
        return latest is None or not latest.this_update <= now < latest.this_update + self.terms.every

    def draft(self, store: CrlStore, now: datetime, *, above: int = 0) -> CrlDraft | None:
        """Return the next CRL unsigned; None where the schedule wants none and it would list what the newest lists.

        Its number is the next, and greater than `above`: the last one that is known to have been published, also where
        an old store was restored since (C-290, threats S-105). Raises OperatorError where the CA may not sign CRLs.
        """
        if not may_sign_crls(self.certificate):
            raise OperatorError(
                f"the certificate of issuer {self.issuer} may not sign CRLs: its key usage lacks cRLSign",
                f"crl = false in [issuer.{self.issuer}]",
            )
        due, latest, scope = self.is_due(store, now), self.shelf.latest(store, self.name), self._scope(store)
        revoked = store.revoked_entries(self.issuer, ends_after=self._kept_from(latest, now), shard=self.shard)
        draft = draft_crl(
            self._paced(revoked),
            self.certificate,
            number=max(above, 0 if latest is None else latest.number) + 1,
            this_update=now,
            next_update=now + self.terms.valid,
            scope=scope,
        )
        if due or latest is None or latest.number < above or scope not in latest.der:
            return draft
        return None if listed_entries(draft.tbs) == _listed(latest) else draft

    def _scope(self, store: CrlStore) -> bytes:
        """Return what the CRL says that it covers: nothing, and so everything, while there is one shard alone."""
        if not self.shard and len(store.crl_shards(self.issuer)) == 1:
            return b""
        return scope_extension([shard_url(url, self.shard) for url in self.urls])

    def publish(self, store: CrlStore, draft: CrlDraft, signature: bytes, *, who: str) -> Crl | None:
        """Verify and store a signed draft; None where another process published that number first (threats S-106).

        Raises `x509.draft.SealError` where the signature is not the issuer's over this draft.
        """
        der = seal_crl(draft, signature, self.certificate)
        crl = Crl(self.name, draft.number, draft.this_update, draft.next_update, der, draft.entries)
        return crl if store.add_crl(crl, who=who) else None

    def _kept_from(self, latest: Crl | None, now: datetime) -> datetime:
        """Return the notAfter from which on certificates are listed (C-293, threats S-107).

        RFC 5280 section 3.3: an entry stays until it was on a CRL of the schedule issued after the notAfter. The first
        CRL after it lists it, since that one's predecessor is older; so does each that appears in the `valid` that
        follows, which the schedule cannot leave empty.
        """
        long_ago = now - self.terms.valid
        return (long_ago if latest is None else min(latest.this_update, long_ago)) - _SECOND

    def _paced(self, entries: Iterable[RevokedEntry]) -> Iterator[RevokedEntry]:
        for count, entry in enumerate(entries):
            if not count % _SLICE:
                self.pause()
            yield entry


def publish_now(store: CrlStore, issuer: LocalIssuer, publisher: Publisher, now: datetime, *, who: str) -> Crl | None:
    """Publish the next CRL in one go where it is due or would list anything new; return it."""
    draft = publisher.draft(store, now)
    return None if draft is None else publisher.publish(store, draft, sign_crl(draft, issuer.key), who=who)


def _listed(crl: Crl) -> bytes:
    return listed_entries(split(crl.der)[0])
