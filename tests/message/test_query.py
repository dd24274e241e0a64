"""The HTTP form: operations, and base64 in every spelling."""

import base64
from contextlib import suppress
from urllib.parse import quote, quote_plus

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepd.message.errors import MessageError
from scepd.message.names import Operation
from scepd.message.query import QueryError, build_get, decode_message, parse_query
from tests import make

MESSAGE = bytes(range(256)) * 3  # holds every character of the alphabet
TEXT = base64.b64encode(MESSAGE).decode()


def wrapped(text, line):
    return line.join(text[i : i + 64] for i in range(0, len(text), 64)) + line


SPELLINGS = {
    "certmonger, all escaped": quote(TEXT, safe=""),
    "jscep, none escaped": TEXT,
    "macOS, only padding escaped": TEXT.replace("=", "%3D"),
    "form encoding": quote_plus(TEXT),
    "a servlet's spaces": TEXT.replace("+", "%20"),
    "strongSwan, line feeds": quote(wrapped(TEXT, "\n"), safe="/="),
    "libscep, CR LF": quote(wrapped(TEXT, "\r\n"), safe=""),
    "micromdm 2.1.0, URL-safe": TEXT.replace("+", "-").replace("/", "_"),
    "URL-safe without padding": TEXT.replace("+", "-").replace("/", "_").rstrip("="),
    "lower-case escapes": quote(TEXT, safe="").replace("%2B", "%2b").replace("%2F", "%2f"),
}


def test_C006_a_get_carries_a_message():
    query = parse_query(build_get(make.pkcs_req()).encode(), b"GET")
    assert query.operation is Operation.PKIOperation
    assert decode_message(query.raw_message)


def test_C006_a_message_may_come_before_the_operation():
    query = parse_query(b"message=" + TEXT.encode() + b"&operation=PKIOperation", b"GET")
    assert decode_message(query.raw_message) == MESSAGE


@pytest.mark.parametrize("spelling", SPELLINGS)
def test_C007_C008_C009_C010_every_spelling_of_base64_is_read(spelling):
    query = parse_query(f"operation=PKIOperation&message={SPELLINGS[spelling]}".encode(), b"GET")
    assert decode_message(query.raw_message) == MESSAGE


def test_C007_exactly_one_percent_layer_is_decoded():
    assert decode_message(b"%2B%2F%2B%3D") == base64.b64decode("+/+=")
    with pytest.raises(QueryError):
        decode_message(quote(quote(TEXT, safe=""), safe="").encode())


@given(st.binary(min_size=1, max_size=200))
def test_C006_queries_round_trip(message):
    query = parse_query(build_get(message).encode(), b"GET")
    assert (query.operation, decode_message(query.raw_message)) == (Operation.PKIOperation, message)


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"=",
        b"====",
        b"%0A",
        b"A",
        b"AAAAA",
        b"AA=A",
        b"AB!C",
        b"A%00AA",
        b"%ZZAA",
        b"AA\tAA",
        b"\xff\xff",
        b"*" * 1000,
    ],
)
def test_C011_S130_messages_that_are_no_base64_are_refused(raw):
    with pytest.raises(QueryError):
        decode_message(raw)


@given(st.binary(max_size=100))
def test_C011_any_octets_decode_or_are_refused(raw):
    with suppress(MessageError):
        assert decode_message(raw)


@pytest.mark.parametrize(
    "raw",
    [
        b"operation=GetCACaps&operation=GetCACert",
        b"operation=GetCACaps&OPERATION=GetCACert",
        b"operation=PKIOperation&message=AAAA&message=BBBB",
        b"operation=GetCACaps&message=&message=x",
    ],
)
def test_C012_parameters_twice_with_different_values_are_refused(raw):
    with pytest.raises(QueryError, match="different"):
        parse_query(raw, b"GET")


def test_C012_parameters_twice_with_the_same_value_are_one():
    assert parse_query(b"operation=GetCACaps&operation=GetCACaps", b"GET").operation is Operation.GetCACaps


@pytest.mark.parametrize("operation", list(Operation), ids=lambda o: o.value)
def test_C013_operations_match_in_any_letter_case(operation):
    for name in (
        operation.value,
        operation.value.lower(),
        operation.value.upper(),
        quote(operation.value[:1]) + operation.value[1:],
    ):
        assert parse_query(f"operation={name}".encode(), b"GET").operation is operation


@pytest.mark.parametrize(
    "name", [b"GetCACertificate", b"x", b"GetCACaps%00", b"GetCACaps%20", b"GetCACaps;", b"\xff", b"%"]
)
def test_C014_unknown_operations_are_refused(name):
    for method in (b"GET", b"POST"):
        with pytest.raises(QueryError, match="operation"):
            parse_query(b"operation=" + name, method)


@pytest.mark.parametrize("raw", [b"", b"message=ident", b"operation=", b"&&", b"other=GetCACert"])
def test_C014_a_get_without_operation_asks_for_the_capabilities(raw):
    assert parse_query(raw, b"GET").operation is Operation.GetCACaps


@pytest.mark.parametrize("raw", [b"", b"operation=PKIOperation", b"operation=pkioperation&message=", b"message=x"])
def test_C002_a_post_without_operation_is_a_pki_operation(raw):
    assert parse_query(raw, b"POST").operation is Operation.PKIOperation


@pytest.mark.parametrize("name", [b"GetCACert", b"GetCACaps", b"GetNextCACert"])
def test_C003_a_post_of_another_operation_is_refused(name):
    with pytest.raises(QueryError):
        parse_query(b"operation=" + name, b"POST")


def test_C016_an_ident_is_decoded_and_a_semicolon_is_part_of_it():
    query = parse_query(b"operation=GetCACert&message=My%20CA;x+y%C3%A9%ff", b"GET")
    assert (query.operation, query.message) == (Operation.GetCACert, "My CA;x+yé�")
    assert query.raw_message == b"My%20CA;x+y%C3%A9%ff"
