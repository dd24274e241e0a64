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
# Crashes and faults take about as long as all the others, and mostly wait: side by side as well.
LIVE_HALF = [
    "test_crash.py", "test_faults.py", "test_rollover.py", "test_first_run.py", "test_wheel.py", "test_back_ends.py",
    "test_double_spend.py",
]  # fmt: skip
# What compares how long devices wait has both cores for itself.
LIVE_ALONE = ["test_brute_force.py"]


def stage(name: str, *commands: list[str]) -> int:
    """Run one stage, its commands side by side, and say how long it took."""
    print(f"== {name}", flush=True)
    begun = time.monotonic()
    running = [subprocess.Popen([sys.executable, "-m", *command], cwd=ROOT) for command in commands]
    code = max(abs(process.wait()) for process in running)
    print(f"== {name}: {'ok' if code == 0 else 'FAILED'}, {time.monotonic() - begun:.0f} s\n", flush=True)
    return code


def live_halves() -> list[list[str]]:
    """Return the files of the live tests in two halves; a file that is in none would be a file that nobody runs."""
    files = sorted(path.name for path in LIVE.glob("test_*.py"))
    return [LIVE_HALF, [name for name in files if name not in {*LIVE_HALF, *LIVE_ALONE}]]


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
        ("live", *[["pytest", "--durations=10", *[str(LIVE / name) for name in half]] for half in live_halves()]),
        ("live, alone", ["pytest", *[str(LIVE / name) for name in LIVE_ALONE]]),
        ("checklist", ["tests.checklist"]),
    ]
    for name, *commands in steps:
        if stage(name, *commands) != 0:
            failed.append(name)
    print("failed: " + ", ".join(failed) if failed else "every stage passed")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
