"""Count the checklist (C) and threat (S) items that a test names, per section; fail where a required section has a gap."""

import re
import sys
import tomllib
from collections import defaultdict
from pathlib import Path

HERE = Path(__file__).parent
NAMED = re.compile(r"(?:def |class )[Tt]est_?\w*")
IDENTIFIER = re.compile(r"(?<![A-Za-z0-9])([CS])(\d{2,3})(?!\d)")


def named_items() -> set[tuple[str, int]]:
    """Return every (kind, number) in the name of a test function or class."""
    found = set()
    for path in HERE.rglob("test_*.py"):
        for name in NAMED.findall(path.read_text()):
            found |= {(kind, int(number)) for kind, number in IDENTIFIER.findall(name.replace("_", " "))}
    return found


def main() -> int:
    """Print n of N per section and the missing items; return 1 where a required one is missing."""
    plan = tomllib.loads((HERE / "checklist.toml").read_text())
    named = named_items()
    totals: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    gaps = 0
    for section in plan["section"]:
        kind = section["kind"]
        waived = {int(number): why for number, why in section.get("waived", {}).items()}
        items = [n for first, last in section["items"] for n in range(first, last + 1)]
        missing = [n for n in items if (kind, n) not in named and n not in waived]
        done = len(items) - len(missing) - len([n for n in items if n in waived and (kind, n) not in named])
        totals[kind][0] += done
        totals[kind][1] += len(items)
        required = section["required"]
        gaps += len(missing) if required else 0
        line = f"{kind} {section['name']:<34} {done:>3} of {len(items):>3}{'' if required else '   (later)'}"
        if missing:
            line += "   missing: " + " ".join(f"{kind}-{n:0{3 if kind == 'C' else 2}d}" for n in missing)
        print(line)
        for number, why in waived.items():
            if (kind, number) not in named:
                print(f"    {kind}-{number:0{3 if kind == 'C' else 2}d} waived: {why}")
    for kind, (done, total) in totals.items():
        print(f"{kind} items with a test: {done} of {total}")
    if gaps:
        print(f"{gaps} required items have no test")
    return 1 if gaps else 0


if __name__ == "__main__":
    sys.exit(main())
