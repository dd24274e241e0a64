"""What a worker does beside the requests: it publishes from memory, hears news, and takes its turn at the duties."""

from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any, Self

import attrs
from cryptography.x509 import load_pem_x509_certificate
from twisted.internet.defer import DeferredList

from scepd.app.belongings import Shared
from scepd.app.clerk import Clerk
from scepd.app.clock import UtcClock
from scepd.app.crl_duty import CrlDuty
from scepd.app.duties import Duties, Duty, Housekeeping, Pause
from scepd.app.leases import Lease
from scepd.app.limits import rate_limit
from scepd.app.mark_file import mark_file
from scepd.app.marks_duty import MarksDuty
from scepd.app.news import Audience, News
from scepd.app.outbox_duty import OutboxDuty
from scepd.app.responder_duty import ResponderDuty
from scepd.app.responder_ends import ResponderEnds
from scepd.app.seal_duty import SealDuty
from scepd.app.shard_duty import ShardDuty
from scepd.app.tls_duty import TlsDuty
from scepd.ca.publish import Publisher
from scepd.ca.shelf import CrlShelf
from scepd.challenge.wrong_codes import WrongCodes
from scepd.config.settings import Settings
from scepd.enroll.answer import RunsInLane
from scepd.ports import Clock, Notifier
from scepd.store.engines import open_engine
from scepd.store.marks import MarkFile
from scepd.store.published import PublishedCrl
from scepd.store.repository import Repository
from scepd.web.ocsp import Answering, OcspResource
from scepd.web.publication import Publication, PublicationResource
from scepd.x509.issuer import IssuerCertificate
from scepd.x509.ocsp import ResponderCertificate


@attrs.frozen
class Background:
    """Two threads with a store connection each: one hears news while the other may be long at a duty."""

    publication: PublicationResource
    ocsp: OcspResource
    news: News
    duties: Duties
    clerks: tuple[Clerk, Clerk]
    pause: Pause
    wrong_codes: WrongCodes
    ends: ResponderEnds

    @classmethod
    def make(
        cls,
        reactor: Any,
        settings: Settings,
        slot: int,
        lanes: RunsInLane,
        *,
        shared: Shared,
        notifiers: Mapping[tuple[str, str], Notifier],
    ) -> Self:
        """Put the parts together; nothing runs before `start`, and the store is opened only then."""
        names = {kind: f"{settings.appliance.node}/{slot}.{kind}" for kind in ("news", "duties")}
        news_clerk, duty_clerk = (Clerk(reactor, kind, _Opener(settings, owner)) for kind, owner in names.items())
        shelf = shared.crls
        publishing = [issuer.name for issuer in settings.issuers if issuer.crl is not None]
        publication = Publication({issuer.name: issuer.certificate_der for issuer in settings.issuers}, publishing)
        clock, pause, marks = UtcClock(), Pause(), mark_file(settings)
        staff = _Staff(settings, names["duties"], duty_clerk, lanes, clock)
        housekeeping = Housekeeping(settings, Lease("housekeeping", names["duties"], clock), duty_clerk, clock)
        duties: list[Duty] = [
            *staff.renew_responders(),
            *staff.renew_tls(),
            *staff.publish_crls(shelf, pause, marks),
            housekeeping,
        ]
        ends, keepers = ResponderEnds.of(settings.issuers), shared.doorkeepers
        node = settings.appliance.node
        audience = Audience(
            publication.renew, keepers.switches, shared.halt, shared.prepared.hear, shared.shards, ends=ends, node=node
        )
        marking = MarksDuty(
            marks=marks,
            node=node,
            lease=Lease(f"marks:{node}", names["duties"], clock),
            clerk=duty_clerk,
            watch=shared.halt.watch,
        )
        outbox = OutboxDuty(
            lease=Lease("outbox", names["duties"], clock),
            clerk=duty_clerk,
            clock=clock,
            notifiers=notifiers,
            enclosures=shared.enclosures,
        )
        seals = [
            SealDuty(
                settings=audit,
                lease=Lease("seal", names["duties"], clock),
                clerk=duty_clerk,
                lanes=lanes,
                clock=clock,
            )
            for audit in (settings.audit,)
            if audit is not None
        ]
        return cls(
            PublicationResource(publication, clock),
            OcspResource(lanes, _answering(settings, shared), clock),
            News(reactor, news_clerk, shelf, publishing, audience),
            Duties(reactor, duty_clerk, [marking, *duties, outbox, *seals], shared.halt),
            (news_clerk, duty_clerk),
            pause,
            keepers.wrong_codes,
            ends,
        )

    def start(self) -> None:
        """Begin with the news, so that there is something to publish."""
        for clerk in self.clerks:
            clerk.start()
        self.news.start()

    def take_duties(self) -> None:
        """Take part in the duties, which need the token."""
        self.duties.start()

    async def count_wrong_codes(self) -> None:
        """Write what the lanes have counted since the last time: each process has counts of its own."""
        wrong = self.wrong_codes.drain()
        if wrong:
            await self.clerks[1].run(lambda repository: repository.count_wrong_codes(wrong))

    async def stop(self) -> None:
        """End; a CRL half drafted is given up."""
        self.pause.end()
        self.news.stop()
        await self.duties.stop()
        await DeferredList([clerk.stop() for clerk in self.clerks])


def _answering(settings: Settings, shared: Shared) -> Answering:
    lasting = {issuer.name: issuer.ocsp.cache for issuer in settings.issuers if issuer.ocsp is not None}
    rate = rate_limit(settings.limits, settings.workers)  # of their own: who asks much may still enrol
    return Answering(shared.authorities, shared.prepared, lasting, shared.halt.require_off, rate)


@attrs.frozen
class _Staff:
    """What the duties of an issuer have in common."""

    settings: Settings
    holder: str
    clerk: Clerk
    lanes: RunsInLane
    clock: Clock

    def publish_crls(self, shelf: CrlShelf, pause: Pause, marks: MarkFile) -> Iterator[Duty]:
        """Yield the duties of the issuers that publish CRLs."""
        for issuer in self.settings.issuers:
            if issuer.crl is None:
                continue
            first = Publisher(
                issuer=issuer.name,
                certificate=IssuerCertificate.load(issuer.certificate_der),
                terms=issuer.crl,
                shelf=shelf,
                urls=issuer.crl_urls,
                pause=pause,
            )
            lease = Lease(f"crl:{issuer.name}", self.holder, self.clock)
            yield ShardDuty(
                issuer=issuer.name,
                size=issuer.crl.shard_size if issuer.crl_urls else None,
                kept=issuer.crl.valid + issuer.crl.every,
                clock=self.clock,
                lease=lease,
                clerk=self.clerk,
                make=partial(self._publish_shard, first, lease, marks),
            )

    def _publish_shard(self, first: Publisher, lease: Lease, marks: MarkFile, shard: int) -> CrlDuty:
        publisher = attrs.evolve(first, shard=shard)
        return CrlDuty(
            publisher=publisher,
            lease=lease,
            clerk=self.clerk,
            lanes=self.lanes,
            marks=marks,
            published=PublishedCrl.within(self.settings.appliance.marks, publisher.name),
            clock=self.clock,
        )

    def renew_responders(self) -> Iterator[Duty]:
        """Yield the duties of the issuers that OCSP answers for."""
        for issuer in self.settings.issuers:
            if issuer.ocsp is not None:
                yield ResponderDuty(
                    issuer=issuer.name,
                    first=ResponderCertificate.load(issuer.ocsp.certificate_der),
                    valid=issuer.ocsp.certificate_valid,
                    lease=Lease(f"ocsp:{issuer.name}", self.holder, self.clock),
                    clerk=self.clerk,
                    lanes=self.lanes,
                    clock=self.clock,
                )

    def renew_tls(self) -> Iterator[Duty]:
        """Yield the duties of the listeners whose certificates an issuer of ours renews."""
        appliance = self.settings.appliance
        for listener in self.settings.listeners:
            if listener.tls is None or listener.tls.renewal is None or self.settings.workers == 0:
                continue  # one process alone cannot reload: its operator restarts it
            yield TlsDuty(
                listener=listener.name,
                issuer=listener.tls.renewal.issuer,
                path=listener.tls.renewal.file,
                served=load_pem_x509_certificate(listener.tls.certificate_pem),
                runtime=appliance.runtime,
                lease=Lease(f"tls:{appliance.node}:{listener.tls.renewal.file.name}", self.holder, self.clock),
                clerk=self.clerk,
                lanes=self.lanes,
                clock=self.clock,
                locations=self.settings.issuer[listener.tls.renewal.issuer].locations,
            )


@attrs.frozen
class _Opener:
    """Opens a repository of one owner, in the thread that calls."""

    settings: Settings
    owner: str

    def __call__(self) -> Repository:
        engine = open_engine(self.settings.store.url, self.settings.appliance.state)
        return Repository(engine, owner=self.owner, clock=UtcClock())
