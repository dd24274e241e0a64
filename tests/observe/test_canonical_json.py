"""Canonical JSON: what the standard library's own encoder writes, since digests of it are on record."""

import json

import pytest

from scepd.records import to_json

VALUES = [
    {},
    [],
    (),
    {"b": 1, "a": [None, True, False, -1, 1 << 70, 0.144, 1e22, "x"]},
    {"ü": 'ß\u2028\u0007"\\/\ud800', "": {"z": (), "y": {"x": [[]]}}},
    [["parsed", 0.1, ""], ["verified", 0.264, "é"]],
    {1: "a", 2: None},
]


@pytest.mark.parametrize("value", VALUES)
def test_it_is_the_standard_librarys(value):
    assert to_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


@pytest.mark.parametrize("value", [{"a": b"octets"}, [object()], {(1, 2): 3}])
def test_what_is_no_json_is_an_error(value):
    with pytest.raises(TypeError):
        to_json(value)


def test_a_value_that_holds_itself_is_an_error():
    value = []
    value.append(value)
    with pytest.raises(RecursionError):
        to_json(value)
