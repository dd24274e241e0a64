"""A file of end entities: comma-separated, with a head line; all that is wrong with it at once."""

import csv
import io

from scepd.admin.register import Registration
from scepd.records import Secret
from scepd.refusal import OperatorError
from scepd.x509.general_names import NAME_KINDS
from scepd.x509.names import OIDS

_EXAMPLE = "cn,code,O,dns"
_HINT = f"the first line names the columns: {_EXAMPLE}"


def read_entities(text: str) -> list[Registration]:
    """Return the entities of a file; raises `OperatorError` with every problem, each with its line.

    Columns: `cn`, which must be there; `code`, empty where one is to be made; attributes of the subject by their short
    names; dns, ip, email, uri, upn, several of them separated by blanks. Lines without any value are left out.
    """
    rows = csv.reader(io.StringIO(text.removeprefix("\ufeff"), newline=""), strict=True)
    found: list[Registration] = []
    problems: list[str] = []
    try:
        columns = [_column(word) for word in next(rows, [])]
        problems.extend(_head_problems(columns))
        for row in rows:
            if not any(cell.strip() for cell in row):
                continue
            if len(row) != len(columns):
                problems.append(f"line {rows.line_num}: {len(row)} values for {len(columns)} columns")
            elif not problems or not problems[0].startswith("line 1:"):
                found.append(_registration(dict(zip(columns, row, strict=True)), rows.line_num))
    except csv.Error as error:
        problems.append(f"line {rows.line_num}: {error}")
    if not found and not problems:
        problems.append("line 1: no entity follows")
    if problems:
        raise OperatorError("\n  ".join(("nothing was entered:", *problems)), _HINT)
    return found


def _column(word: str) -> str:
    stripped = word.strip()
    return stripped.lower() if stripped.lower() in {"cn", "code", *NAME_KINDS} else stripped


def _head_problems(columns: list[str]) -> list[str]:
    if "cn" not in columns:
        return ["line 1: there is no column cn"]
    unknown = [word for word in columns if word not in {"cn", "code", *NAME_KINDS} and word not in OIDS]
    problems = [f"line 1: {word!r} is no column" for word in unknown]
    problems += [f"line 1: {word} stands there twice" for word in sorted({w for w in columns if columns.count(w) > 1})]
    return problems


def _registration(row: dict[str, str], line: int) -> Registration:
    code = row.pop("code", "").strip()
    common_name = row.pop("cn").strip()
    names = [f"{kind}:{value}" for kind in NAME_KINDS for value in row.pop(kind, "").split()]
    attributes = tuple((word, value.strip()) for word, value in row.items() if value.strip())
    return Registration(common_name, Secret(code) if code else None, attributes, tuple(names), line)
