"""The CA that signs another one in a ceremony: its key, and what the configuration says where it is an issuer of ours."""

from pathlib import Path

import attrs

from scepd.ca.performance import read_certificate
from scepd.ca.plan import PlannedSigner, Step
from scepd.cli import ca_tables
from scepd.cli.ca_keys import kind_of_certificate, located
from scepd.cli.ca_options import key_uri
from scepd.cli.ceremony import Manner
from scepd.config.load import load_locations
from scepd.x509.certificate import Locations


@attrs.frozen
class CaAbove:
    """Who signs, the issuer of the configuration that it is ("" for none), and where that publishes."""

    signer: PlannedSigner
    issuer: str = ""
    locations: Locations = attrs.field(factory=Locations)

    def sign(self, step: Step) -> Step:
        """Return the step as one of this CA: where it is an issuer of ours, the certificate goes on record."""
        return located(attrs.evolve(step, signer=self.signer, issuer=self.issuer), self.locations)


def find_above(key: str, certificate: Path, manner: Manner) -> CaAbove:
    """Return the CA with that key (its label or URI) and certificate. Raises `OperatorError`."""
    kind = kind_of_certificate(read_certificate(certificate))
    signer = PlannedSigner(uri=key_uri(key, manner), certificate=str(certificate), kind=kind)
    issuer = ca_tables.issuer_of(manner.config, certificate)
    if issuer is None:
        return CaAbove(signer)
    _, table = ca_tables.find_table(manner.config, issuer)
    signer = attrs.evolve(signer, both_roles=ca_tables.is_own_ra(table, kind))
    return CaAbove(signer, issuer, load_locations(manner.config, issuer))
