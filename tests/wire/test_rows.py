"""Every row of `rows.toml` has a test that names it, and no test names a row that is not there."""

import re
import tomllib
from pathlib import Path

HERE = Path(__file__).parent
NAMED = re.compile(r"^\s*def test_(\w+)", re.MULTILINE)
ROW = re.compile(r"W([AB]\d{2})(?=_)")


def test_every_row_of_what_clients_send_has_a_test():
    rows = tomllib.loads((HERE / "rows.toml").read_text())
    listed = {f"{part}{number}" for part, table in rows.items() for number in table}
    tests = [name for path in HERE.glob("test_*.py") for name in NAMED.findall(path.read_text())]
    assert {row for name in tests for row in ROW.findall(name)} == listed
    assert (len(rows["A"]), len(rows["B"])) == (31, 32)
