"""What a listener serves, by the first segment of the path: SCEP, the publication with OCSP, the challenge generator."""

from typing import Protocol

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.web.ocsp import PATH, OcspResource
from scepd.web.publication import PublicationResource
from scepd.web.request import ScepRequest
from scepd.web.respond import refuse
from scepd.web.scep import ScepResource

_PUBLICATION = (b"/crl/", b"/ca/")  # no profile may be called so
_API = b"/api/"  # nor so
_OCSP = PATH + b"/"


class Renders(Protocol):
    """What answers every path below its own."""

    def render(self, request: ScepRequest) -> int:
        """Answer a request, now or later."""


class Tree(Resource):
    """The root of a site, as one leaf."""

    isLeaf = True

    def __init__(
        self,
        scep: ScepResource | None,
        publication: PublicationResource | None,
        challenges: Renders | None = None,
        ocsp: OcspResource | None = None,
    ) -> None:
        """Serve these; None for what the listener does not serve."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._scep = scep
        self._publication = publication
        self._challenges = challenges
        self._ocsp = ocsp

    def render(self, request: ScepRequest) -> int:
        """Pass the request on."""
        resource: Renders | None = self._scep
        if request.path.startswith(_PUBLICATION):
            resource = self._publication
        elif request.path == PATH or request.path.startswith(_OCSP):
            resource = self._ocsp
        elif request.path.startswith(_API):
            resource = self._challenges
        if resource is not None:
            return resource.render(request)
        request.note(outcome="rejected", reason="not_found")
        refuse(request, 404)
        return NOT_DONE_YET
