"""Tell twistd that there is a `scepd` to run."""

from twisted.application.service import ServiceMaker

scepd = ServiceMaker(
    "scepd", "scepd.app.tap", "A SCEP (RFC 8894) server whose private keys stay in a PKCS#11 token.", "scepd"
)
