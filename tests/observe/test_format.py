"""One event, one line: escaped, capped, and parseable, whatever the values say."""

import json
import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scepd.observe.format import FORMATS, VALUE_MAXIMUM, to_json, to_logfmt, to_text

HOSTILE = {
    "CRLF": "a\r\nevent=scep_request outcome=issued",
    "LF": "a\nb",
    "ANSI": "\x1b[2J\x1b[31mred",
    "quote": 'a"b',
    "JSON": '", "outcome": "issued',
    "backslash": "a\\",
    "line separator": "a\u2028b\u2029c\x85d",
    "vertical": "a\x0bb\x0cc\x1cd\x1de\x1ef",
    "bidi": "a\u202egnp.exe",
    "NUL": "a\x00b",
    "DEL": "a\x7fb",
    "surrogate": "a\udc80b",
    "space": "a b",
    "empty": "",
    "ban": "x ip=6.6.6.6",
    "equals": "CN=x ip=6.6.6.6",
    "MiB": "x" * (1 << 20),
    "MiB of controls": "\x00" * (1 << 20),
    "MiB of quotes": '"' * (1 << 20),
}
LOGFMT = re.compile(r'([a-z_]+)=("(?:[^"\\]|\\.)*"|[^" ]*)(?: |$)')


def parse_logfmt(line):
    found, position = {}, 0
    while position < len(line):
        match = LOGFMT.match(line, position)
        assert match is not None, line[position:]
        value = match[2]
        found[match[1]] = json.loads(value) if value.startswith('"') else value
        position = match.end()
    return found


@pytest.mark.parametrize("name", HOSTILE)
@pytest.mark.parametrize("style", FORMATS)
def test_S123_a_hostile_value_gives_exactly_one_printable_line(name, style):
    line = FORMATS[style]([("event", "scep_request"), ("cn", HOSTILE[name]), ("ip", "192.0.2.7")])
    assert len(line.splitlines()) == 1
    assert line.isascii()
    assert line.isprintable()
    assert len(line) < VALUE_MAXIMUM + 200


@pytest.mark.parametrize("name", HOSTILE)
def test_S123_json_lines_parse_and_hold_the_value(name):
    value = HOSTILE[name]
    found = json.loads(to_json([("event", "scep_request"), ("cn", value), ("ip", "192.0.2.7")]))
    assert list(found) == ["event", "cn", "ip"]
    assert found["ip"] == "192.0.2.7"
    assert found["cn"] == value if len(value) < 100 else found["cn"].startswith(value[:100])


@given(st.dictionaries(st.sampled_from(["cn", "txn", "detail"]), st.text(max_size=3000)))
def test_S123_logfmt_can_be_read_back(values):
    found = parse_logfmt(to_logfmt(values.items()))
    assert list(found) == list(values)
    for key, value in values.items():
        if len(value) <= 100:
            assert found[key] == value


@given(st.text(), st.text(alphabet="ip=6. \"\\'", max_size=60))
def test_S133_a_pattern_for_a_field_never_matches_inside_a_value(before, inside):
    for write in (to_logfmt, to_text):
        line = write([("outcome", "rejected"), ("ip", "192.0.2.7"), ("cn", before + inside)])
        assert re.findall(r"(?:^| )ip=(\S+)", line) == ["192.0.2.7"]


def test_plain_values_stay_plain_and_common_names_readable():
    line = to_logfmt([("txn", "3f9a/+="), ("cn", "CN=r1,O=Example"), ("ms", 14), ("again", True)])
    assert line == "txn=3f9a/+= cn=CN=r1,O=Example ms=14 again=yes"


def test_text_leads_with_time_level_and_event():
    line = to_text([("time", "T"), ("level", "info"), ("event", "scep_request"), ("outcome", "issued")])
    assert line == "T info  scep_request outcome=issued"


def test_json_keeps_numbers_and_booleans():
    assert to_json([("ms", 14), ("again", True), ("what", None)]) == '{"ms": 14, "again": true, "what": "None"}'
