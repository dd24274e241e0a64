"""What a listener serves: the SCEP tree, the publication, or both, by the first segment of the path."""

from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from scepd.web.publication import PublicationResource
from scepd.web.request import ScepRequest
from scepd.web.respond import refuse
from scepd.web.scep import ScepResource

_PUBLICATION = (b"/crl/", b"/ca/")  # no profile may be called so


class Tree(Resource):
    """The root of a site, as one leaf."""

    isLeaf = True

    def __init__(self, scep: ScepResource | None, publication: PublicationResource | None) -> None:
        """Serve these; None for what the listener does not serve."""
        super().__init__()  # type: ignore[no-untyped-call]
        self._scep = scep
        self._publication = publication

    def render(self, request: ScepRequest) -> int:
        """Pass the request on."""
        resource = self._publication if request.path.startswith(_PUBLICATION) else self._scep
        if resource is not None:
            return resource.render(request)
        request.note(outcome="rejected", reason="not_found")
        refuse(request, 404)
        return NOT_DONE_YET
