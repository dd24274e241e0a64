"""What a worker does beside the requests: it publishes from memory, hears news, and takes its turn at the duties."""

from collections.abc import Mapping
from typing import Any, Self

import attrs
from twisted.internet.defer import DeferredList

from scepd.app.belongings import Shared
from scepd.app.clerk import Clerk
from scepd.app.clock import UtcClock
from scepd.app.crl_duty import CrlDuty
from scepd.app.duties import Duties, Duty, Housekeeping, Pause
from scepd.app.leases import Lease
from scepd.app.marks_duty import MarksDuty
from scepd.app.news import Audience, News
from scepd.app.outbox_duty import OutboxDuty
from scepd.app.seal_duty import SealDuty
from scepd.ca.publish import Publisher
from scepd.challenge.entity import WrongCodes
from scepd.config.settings import Settings
from scepd.enroll.answer import RunsInLane
from scepd.ports import Notifier
from scepd.store.engines import open_engine
from scepd.store.marks import MarkFile
from scepd.store.published import PublishedCrl
from scepd.store.repository import Repository
from scepd.web.publication import Publication, PublicationResource
from scepd.x509.issuer import IssuerCertificate


@attrs.frozen
class Background:
    """Two threads with a store connection each: one hears news while the other may be long at a duty."""

    publication: PublicationResource
    news: News
    duties: Duties
    clerks: tuple[Clerk, Clerk]
    pause: Pause
    wrong_codes: WrongCodes

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
        clock, pause, marks = UtcClock(), Pause(), MarkFile.within(settings.appliance.state)
        housekeeping = Housekeeping(settings, Lease("housekeeping", names["duties"], clock), duty_clerk, clock)
        crl_duties: list[Duty] = [
            CrlDuty(
                publisher=Publisher(
                    issuer=issuer.name,
                    certificate=IssuerCertificate.load(issuer.certificate_der),
                    terms=issuer.crl,
                    shelf=shelf,
                    pause=pause,
                ),
                lease=Lease(f"crl:{issuer.name}", names["duties"], clock),
                clerk=duty_clerk,
                lanes=lanes,
                marks=marks,
                published=PublishedCrl.within(settings.appliance.state, issuer.name),
                clock=clock,
            )
            for issuer in settings.issuers
            if issuer.crl is not None
        ]
        audience = Audience(publication.renew, shared.doorkeepers.switches, shared.halt)
        node = settings.appliance.node
        marking = MarksDuty(
            marks=marks, node=node, lease=Lease(f"marks:{node}", names["duties"], clock), clerk=duty_clerk
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
            News(reactor, news_clerk, shelf, publishing, audience),
            Duties(reactor, duty_clerk, [marking, *crl_duties, housekeeping, outbox, *seals], shared.halt),
            (news_clerk, duty_clerk),
            pause,
            shared.doorkeepers.wrong_codes,
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


@attrs.frozen
class _Opener:
    """Opens a repository of one owner, in the thread that calls."""

    settings: Settings
    owner: str

    def __call__(self) -> Repository:
        engine = open_engine(self.settings.store.url, self.settings.appliance.state)
        return Repository(engine, owner=self.owner, clock=UtcClock())
