"""The whole suite in stages: pure tests with their coverage floors, rooms with a real token and store, live servers."""

import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).parent.parent
# Two halves of about the same length, side by side on two cores; each collects its own coverage.
PURE = ["message", "x509", "profile", "enroll"]
MOVED = [f"tests/message/test_{name}.py" for name in ("certrep", "password", "enveloped")]
PURE_HALVES = [
    ["tests/message", *[f"--ignore={name}" for name in MOVED]],
    [*MOVED, *[f"tests/{name}" for name in PURE[1:]]],
]
BRANCH_FLOORS = {"message": 100, "x509": 100, "profile": 100, "enroll": 100}
LIVE = ROOT / "tests" / "live"
# Those that take longest begin; the others fill the second core meanwhile. A file of tests shares its server.
LONGEST_FIRST = ["crash", "methods", "broken_token", "faults", "double_spend", "back_ends", "rehearsal", "rollover"]
BY_FILE = ["-n", "2", "--dist", "loadfile", "--no-loadscope-reorder"]
# What compares how long devices wait has both cores for itself.
LIVE_ALONE = "test_brute_force.py"


def stage(name: str, *commands: list[str]) -> int:
    """Run one stage, its commands side by side, and say how long it took."""
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT) for command in commands]
    code = max(abs(process.wait()) for process in running)
    print(f"== {name}: {'ok' if code == 0 else 'FAILED'}, {time.monotonic() - begun:.0f} s\n", flush=True)
    return code


def live_files() -> list[str]:
    """Return the files of the live tests that share the machine, the longest first."""
    rank = {f"test_{name}.py": number for number, name in enumerate(LONGEST_FIRST)}
    files = sorted(LIVE.glob("test_*.py"), key=lambda path: (rank.get(path.name, len(rank)), path.name))
    return [str(path) for path in files if path.name != LIVE_ALONE]


def main() -> int:
    """Run every stage even after a failure, so that one run shows all of it."""
    os.environ.setdefault("SCALE", "1")
    rest = sorted(
        path.name
        for path in (ROOT / "tests").iterdir()
        if path.is_dir() and path.name not in {*PURE, LIVE.name, "vectors", "__pycache__"}
    )
    measured = ["coverage", "run", "--parallel-mode", "-m", "pytest"]
    report = ["coverage", "report", "--skip-covered", "--show-missing"]
    failed = []
    steps = [
        ("pure tests", *[[*measured, *half] for half in PURE_HALVES]),
        ("coverage", ["coverage", "combine", "--quiet"]),
        *[
            (f"coverage of {name}", [*report, f"--include=scepd/{name}/*", f"--fail-under={floor}"])
            for name, floor in BRANCH_FLOORS.items()
        ],
        ("rooms", ["pytest", "-n", "2", "--durations=10", *[f"tests/{name}" for name in rest]]),
        ("live", ["pytest", *BY_FILE, "--durations=15", *live_files()]),
        ("live, alone", ["pytest", str(LIVE / LIVE_ALONE)]),
        ("checklist", ["tests.checklist"]),
    ]
    for name, *commands in steps:
        if stage(name, *commands) != 0:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "every stage passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
