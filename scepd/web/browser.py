"""What a browser sent is turned away: a page may lead its visitors here, and their requests are not their own doing."""

from scepd.web.request import ScepRequest
from scepd.web.respond import refuse

# What browsers send for a page or a link, and no SCEP client does: the Fetch standard's Origin (with every POST) and
# Sec-Fetch-* (over TLS and to loopback alone), and RFC 9110 section 10.1.3.
_FIELDS = (b"sec-fetch-site", b"sec-fetch-mode", b"sec-fetch-dest", b"sec-fetch-user", b"origin", b"referer")


def turn_browser_away(request: ScepRequest) -> bool:
    """Refuse a request that has a browser's header fields, before anything in it counts; return whether it was one.

    By GET or HEAD over plain HTTP False proves nothing: a page may ask for no Referer, and nothing else is sent.
    """
    if not any(request.requestHeaders.hasHeader(name) for name in _FIELDS):
        return False
    request.note(outcome="rejected", reason="web_page")
    refuse(request, 403)
    return True
