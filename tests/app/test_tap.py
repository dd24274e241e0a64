"""`twistd scepd`: what it says of a configuration that is wrong, before anything is started."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


def twistd(*arguments):
    command = [str(Path(sys.executable).with_name("twistd")), "--nodaemon", "--pidfile=", "scepd", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_wrong_configuration_is_reported_whole_and_leaves_with_78(tmp_path):
    config = tmp_path / "scepd.toml"
    config.write_text("nonsense = 1\n[appliance]\nname = 7\n")
    config.chmod(0o600)
    ended = twistd("--config", str(config))
    assert ended.returncode == 78
    for problem in ("$.nonsense", "$.appliance.name", "$.hsm", "$.issuer", "$.profile"):
        assert problem in ended.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == ["scepd.toml"]


def test_a_missing_configuration_leaves_with_78(tmp_path):
    ended = twistd("--config", str(tmp_path / "none.toml"))
    assert ended.returncode == 78
    assert "none.toml" in ended.stderr
