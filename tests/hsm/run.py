"""Starts `hsm.children` beside the tests."""

import os
import subprocess
import sys
from pathlib import Path

TESTS = Path(__file__).parent.parent


def start(name: str, *arguments: str, **environment: str) -> subprocess.Popen:
    path = os.pathsep.join([str(TESTS.parent), str(TESTS)])
    return subprocess.Popen(
        [sys.executable, "-m", "hsm.children", name, *arguments],
        env={**os.environ, "PYTHONPATH": path, **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def finish(child: subprocess.Popen) -> str:
    out, err = child.communicate(timeout=50)
    assert child.returncode == 0, err
    return out
