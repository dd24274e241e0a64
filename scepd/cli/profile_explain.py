"""What `scepd profile explain` needs of configuration and store."""

import os
from contextlib import closing
from datetime import UTC, datetime
from pathlib import Path

import attrs

from scepd.admin.explain import Bench, Explanation, explain
from scepd.app.clock import UtcClock
from scepd.challenge.digest import load_store_key
from scepd.cli.configured import load_settings
from scepd.cli.output import Failure
from scepd.config.own_keys import own_keys
from scepd.message.csr import parse_csr
from scepd.records import Secret
from scepd.store.engines import open_engine
from scepd.store.repository import Repository
from scepd.x509.issuer import IssuerCertificate


def explain_request(config: Path, name: str, der: bytes, *, challenge: str | None, address: str) -> Explanation:
    """Walk a PKCS#10 through the profile of that name; the store is only read. `challenge` None: the request's own."""
    settings = load_settings(config)
    profile = next((one for one in settings.profiles if one.name == name), None)
    if profile is None:
        raise Failure(f"there is no profile {name!r}", hint="scepd profile list")
    csr = parse_csr(der, verisign=profile.verisign_extension_request, longest_challenge=profile.longest_challenge)
    if challenge is not None:
        csr = attrs.evolve(csr, challenge=Secret(challenge))
    issuer = next(one for one in settings.issuers if one.name == profile.issuer)
    engine = open_engine(settings.store.url, settings.appliance.state)
    with closing(Repository(engine, owner=f"{settings.appliance.node}/cli", clock=UtcClock())) as repository:
        bench = Bench(
            repository=repository,
            store_key=load_store_key(settings.store.key_file),
            now=datetime.now(UTC),
            random=os.urandom,
            issuer=IssuerCertificate.load(issuer.certificate_der),
            forbidden=own_keys(settings),
            blocked=settings.blocked_keys,
            address=address,
        )
        return explain(profile, csr, bench)
