"""Byte streams that two HTTP readers could frame differently: all refused, no second request ever executed."""

import pytest

from .harness import Setting

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: x\r\n\r\n"
POST = b"POST /a HTTP/1.1\r\nHost: x\r\n"
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"


def fields(*lines):
    return POST + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


# name: (stream, status). Each stream is followed by a hidden request that must never be executed.
REFUSED = {
    "CL.TE": (fields(b"Content-Length: 4", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "TE.CL": (fields(b"Transfer-Encoding: chunked", b"Content-Length: 4") + b"0\r\n\r\n", 400),
    "CL zero and TE": (fields(b"Content-Length: 0", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "CL.TE identity": (fields(b"Content-Length: 4", b"Transfer-Encoding: identity") + b"abcd", 400),
    "two CL, different": (fields(b"Content-Length: 0", b"Content-Length: 4") + b"abcd", 400),
    "two CL, equal": (fields(b"Content-Length: 4", b"Content-Length: 4") + b"abcd", 400),
    "two CL, other case": (fields(b"Content-Length: 4", b"content-length: 0") + b"abcd", 400),
    "CL list, equal": (fields(b"Content-Length: 4, 4") + b"abcd", 400),
    "CL list, different": (fields(b"Content-Length: 0, 4") + b"abcd", 400),
    "CL plus": (fields(b"Content-Length: +4") + b"abcd", 400),
    "CL minus": (fields(b"Content-Length: -4") + b"abcd", 400),
    "CL hexadecimal": (fields(b"Content-Length: 0x4") + b"abcd", 400),
    "CL underscore": (fields(b"Content-Length: 1_0") + b"abcdefghij", 400),
    "CL float": (fields(b"Content-Length: 4.0") + b"abcd", 400),
    "CL empty": (fields(b"Content-Length:") + b"abcd", 400),
    "CL inner space": (fields(b"Content-Length: 1 0") + b"abcdefghij", 400),
    "CL full-width digit": (fields("Content-Length: \uff14".encode()) + b"abcd", 400),
    "CL superscript": (fields("Content-Length: ²".encode("latin-1")) + b"ab", 400),
    "CL padded with zeros": (fields(b"Content-Length: 00000000000004") + b"abcd", 400),
    "CL 2^40": (fields(b"Content-Length: 1099511627776"), 413),
    "CL 5000 digits": (fields(b"Content-Length: " + b"9" * 5000), 413),
    "CL word": (fields(b"Content-Length: four") + b"abcd", 400),
    "CL NUL": (fields(b"Content-Length: 4\x00") + b"abcd", 400),
    "TE xchunked": (fields(b"Transfer-Encoding: xchunked") + b"0\r\n\r\n", 501),
    "TE chunked, identity": (fields(b"Transfer-Encoding: chunked, identity") + b"0\r\n\r\n", 501),
    "TE gzip, chunked": (fields(b"Transfer-Encoding: gzip, chunked") + b"0\r\n\r\n", 501),
    "TE twice": (fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + b"0\r\n\r\n", 400),
    "TE chunked and identity": (fields(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity"), 400),
    "TE identity": (fields(b"Transfer-Encoding: identity"), 501),
    "TE empty": (fields(b"Transfer-Encoding:"), 501),
    "TE quoted": (fields(b'Transfer-Encoding: "chunked"') + b"0\r\n\r\n", 501),
    "TE vertical tab": (fields(b"Transfer-Encoding: \x0bchunked") + b"0\r\n\r\n", 400),
    "TE with parameter": (fields(b"Transfer-Encoding: chunked;q=1") + b"0\r\n\r\n", 501),
    "TE in HTTP/1.0": (b"POST /a HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", 400),
    "space before colon": (fields(b"Content-Length : 4") + b"abcd", 400),
    "tab before colon": (fields(b"Transfer-Encoding\t: chunked") + b"0\r\n\r\n", 400),
    "obs-fold": (fields(b"X: a", b" b"), 400),
    "obs-fold with tab": (fields(b"Transfer-Encoding:", b"\tchunked") + b"0\r\n\r\n", 400),
    "obs-fold of the first field": (b"POST /a HTTP/1.1\r\n Host: x\r\n\r\n", 400),
    "bare LF after a field": (b"POST /a HTTP/1.1\r\nHost: x\nContent-Length: 4\r\n\r\nabcd", 400),
    "bare LF throughout": (b"POST /a HTTP/1.1\nHost: x\n\n", 400),
    "bare LF in the empty line": (b"POST /a HTTP/1.1\r\nHost: x\r\n\n", 400),
    "bare CR in a value": (fields(b"X: a\rContent-Length: 4") + b"abcd", 400),
    "CR CR LF": (b"POST /a HTTP/1.1\r\nHost: x\r\r\n\r\n", 400),
    "NUL in a value": (fields(b"X: a\x00b"), 400),
    "NUL in a name": (fields(b"X\x00Y: a"), 400),
    "DEL in a value": (fields(b"X: a\x7f"), 400),
    "ESC in a value": (fields(b"X: \x1b[31m"), 400),
    "no colon": (fields(b"nonsense"), 400),
    "empty name": (fields(b": value"), 400),
    "name with brackets": (fields(b"X(1): a"), 400),
    "name not ASCII": (fields("Überschrift: a".encode()), 400),
    "two Hosts": (fields(b"Host: y"), 400),
    "HTTP/0.9": (b"GET /a\r\n\r\n", 400),
    "HTTP/2.0 preface": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 505),
    "HTTP/1.2": (b"GET /a HTTP/1.2\r\n\r\n", 505),
    "http in lower case": (b"GET /a http/1.1\r\n\r\n", 400),
    "version with two digits": (b"GET /a HTTP/1.10\r\n\r\n", 400),
    "no version": (b"GET /a \r\n\r\n", 400),
    "two spaces": (b"GET  /a HTTP/1.1\r\n\r\n", 400),
    "tab for space": (b"GET\t/a HTTP/1.1\r\n\r\n", 400),
    "space in the target": (b"GET /a b HTTP/1.1\r\n\r\n", 400),
    "space after the version": (b"GET /a HTTP/1.1 \r\n\r\n", 400),
    "fragment": (b"GET /a#b HTTP/1.1\r\n\r\n", 400),
    "relative target": (b"GET a HTTP/1.1\r\n\r\n", 400),
    "asterisk": (b"GET * HTTP/1.1\r\n\r\n", 400),
    "other scheme": (b"GET ftp://x/a HTTP/1.1\r\n\r\n", 400),
    "target not ASCII": ("GET /é HTTP/1.1\r\n\r\n".encode(), 400),
    "control in the target": (b"GET /a\x01 HTTP/1.1\r\n\r\n", 400),
    "method with a colon": (b"GE:T /a HTTP/1.1\r\n\r\n", 400),
    "TLS hello": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", 400),
    "space first": (b" GET /a HTTP/1.1\r\n\r\n", 400),
    "chunk size plus": (CHUNKED + b"+4\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size 0x": (CHUNKED + b"0x4\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size minus": (CHUNKED + b"-4\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size underscore": (CHUNKED + b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n", 400),
    "chunk size empty": (CHUNKED + b"\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size space first": (CHUNKED + b" 4\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size space after": (CHUNKED + b"4 \r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size 17 digits": (CHUNKED + b"00000000000000004\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk size overflow": (CHUNKED + b"FFFFFFFF\r\nabcd\r\n0\r\n\r\n", 413),
    "chunk size 2^64": (CHUNKED + b"10000000000000000\r\n", 400),
    "chunk size letter": (CHUNKED + b"g\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension with LF": (CHUNKED + b"4;a\nb\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension with NUL": (CHUNKED + b"4;a\x00\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension with CR": (CHUNKED + b"4;a\rb\r\nabcd\r\n0\r\n\r\n", 400),
    "chunk extension endless": (CHUNKED + b"4;" + b"a" * 5000, 400),
    "chunk line with bare LF": (CHUNKED + b"4\nabcd\r\n0\r\n\r\n", 400),
    "chunk too long for its size": (CHUNKED + b"4\r\nabcdef\r\n0\r\n\r\n", 400),
    "chunk ends with LF": (CHUNKED + b"4\r\nabcd\n0\r\n\r\n", 400),
    "trailer without colon": (CHUNKED + b"0\r\nnonsense\r\n\r\n", 400),
    "trailer folded": (CHUNKED + b"0\r\nA: b\r\n c\r\n\r\n", 400),
    "trailers endless": (CHUNKED + b"0\r\n" + b"A: bbbbbbbbbbbbbbbb\r\n" * 400, 400),
    "Expect of another kind": (fields(b"Content-Length: 4", b"Expect: 200-ok") + b"abcd", 417),
    "Expect twice": (fields(b"Content-Length: 4", b"Expect: 100-continue", b"Expect: 100-continue") + b"abcd", 400),
}


def test_S67_the_corpus_is_large_enough():
    assert len(REFUSED) >= 60


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("way", ["whole", "octets"])
def test_S67_odd_framing_is_refused_and_nothing_hidden_is_executed(name, way):
    stream, status = REFUSED[name]
    setting = Setting()
    client = setting.client()
    if way == "whole":
        client.send(stream + HIDDEN)
    else:
        client.trickle(stream + HIDDEN)
    assert [reply.status for reply in client.replies] == [status]
    assert client.replies[0].headers[b"Connection"] == b"close"
    assert setting.root.asked == []
    assert client.closed
    assert (setting.occupancy.octets, setting.occupancy.connections) == (0, 0)


@pytest.mark.parametrize(
    ("stream", "body"),
    [
        (CHUNKED + b"4\r\nabcd\r\n0\r\n\r\n", b"abcd"),
        (CHUNKED + b"1\r\na\r\n0003\r\nbcd\r\n0\r\n\r\n", b"abcd"),
        (CHUNKED + b"4;name=value\r\nabcd\r\n0;last\r\n\r\n", b"abcd"),
        (CHUNKED + b'A;q="x"\r\nabcdefghij\r\n0\r\nX: y\r\n\r\n', b"abcdefghij"),
        (CHUNKED + b"0\r\n\r\n", b""),
        (fields(b"Transfer-Encoding: Chunked") + b"1\r\na\r\n0\r\n\r\n", b"a"),
        (fields(b"Content-Length: 4") + b"abcd", b"abcd"),
        (fields(b"CONTENT-LENGTH:\t 0004\t ") + b"abcd", b"abcd"),
        (fields(b"X-Latin: \xe9", b"Content-Length: 2") + b"\r\n", b"\r\n"),
        (fields(b"Content-Length: 3") + b"\n\x00\r", b"\n\x00\r"),
        (b"\r\n" + fields(b"Content-Length: 1") + b"a", b"a"),
        (b"\r\n\r\n" + fields(), b""),
    ],
)
@pytest.mark.parametrize("way", ["whole", "octets"])
def test_S67_good_framing_is_read_and_the_next_request_is_the_next_request(stream, body, way):
    setting = Setting()
    client = setting.client()
    (client.send if way == "whole" else client.trickle)(stream + b"GET /next HTTP/1.1\r\n\r\n")
    assert setting.root.asked == [(b"POST", b"/a", body), (b"GET", b"/next", b"")]
    assert [reply.status for reply in client.replies] == [200, 200]
    assert not client.closed
    assert setting.occupancy.octets == 0
