"""One file or several: what is read, in which order, and what is refused before any value is looked at."""

import os
import stat
from pathlib import Path

import pytest

from scepd.config.load import DEFAULT_PATH, find_configuration, load, load_appliance, load_premises
from scepd.problems import ConfigurationError

from .pki import NOW, base, write_configuration


def load_text(site, text, **environ):
    path = site / "scepd.toml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    path.chmod(0o644)
    return load(path, environ=environ, now=NOW)


def problems_of(call, *arguments, **keywords):
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments, **keywords)
    return caught.value.problems


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("[hsm", "is no TOML"),
        ("[hsm]\ntoken = scepd\n", "is no TOML"),
        ("[hsm]\ntoken = 'a'\ntoken = 'b'\n", "Cannot overwrite a value"),
        ("[hsm]\n[hsm]\n", "Cannot declare ('hsm',) twice"),
        (b"[appliance]\nname = 'B\xfccher'\n", "is not UTF-8 (octet 21)"),
        ("x = " + "[" * 5000, "nested too deeply"),
        ("!!python/object/apply:os.system ['true']", "is no TOML"),
        (b"\x80\x04\x95", "is not UTF-8"),
    ],
    ids=range(8),
)
def test_S128_a_file_that_is_no_toml(site, text, reason):
    (problem,) = problems_of(load_text, site, text)
    assert problem.path == "$"
    assert reason in problem.reason
    assert problem.hint


def test_empty_file_lacks_every_required_table(site):
    problems = problems_of(load_text, site, "")
    assert [problem.path for problem in problems] == ["$.hsm", "$.store", "$.issuer", "$.listener", "$.profile"]


def test_missing_file(tmp_path):
    (problem,) = problems_of(load, tmp_path / "absent.toml")
    assert "does not exist" in problem.reason
    assert problem.file == tmp_path / "absent.toml"


def test_directory_in_place_of_a_file(tmp_path):
    assert "no regular file" in problems_of(load, tmp_path)[0].reason


@pytest.mark.parametrize(
    ("mode", "accepted"), [(0o644, True), (0o640, True), (0o600, True), (0o664, False), (0o646, False)]
)
def test_S128_configuration_that_others_may_write(site, mode, accepted):
    path = write_configuration(site, base())
    path.chmod(mode)
    if accepted:
        assert load(path, environ={}, now=NOW).workers == 2
    else:
        (problem,) = problems_of(load, path, environ={}, now=NOW)
        assert (problem.path, problem.hint) == ("$", f"chmod go-w {path}")


def test_S128_configuration_behind_a_symbolic_link(site):
    real = write_configuration(site, base(), "real.toml")
    (site / "scepd.toml").symlink_to(real)
    (problem,) = problems_of(load, site / "scepd.toml", environ={}, now=NOW)
    assert "is a symbolic link" in problem.reason


def test_S128_configuration_of_another_user(site, monkeypatch):
    path = write_configuration(site, base())
    real = os.fstat
    monkeypatch.setattr(
        os, "fstat", lambda descriptor: os.stat_result([*real(descriptor)[:4], 4242, *real(descriptor)[5:10]])
    )
    problems = problems_of(load, path, environ={}, now=NOW)
    assert (problems[0].path, problems[0].hint) == ("$", f"chown root {path}")
    assert "belongs to user 4242" in problems[0].reason
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    assert load(path, environ={}, now=NOW).workers == 2


def test_configuration_may_belong_to_the_owner_of_its_directory(site, monkeypatch):
    path = write_configuration(site, base())
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert load(path, environ={}, now=NOW).workers == 2


def test_S128_certificate_that_others_may_write(site, refused):
    (site / "devices-ca.pem").chmod(0o666)
    problems = refused(base())
    assert problems[0].path == "$.issuer.devices.certificate"
    assert problems[0].hint == f"chmod go-w {site}/devices-ca.pem"


def test_S121_module_that_others_may_write(site, refused):
    (site / "module.so").chmod(0o777)
    (problem,) = refused(base())
    assert (problem.path, problem.hint) == ("$.hsm.module", f"chmod go-w {site}/module.so")


def test_S128_state_directory_that_others_may_write(site, refused):
    (site / "state").mkdir()
    (site / "state").chmod(0o777)
    (problem,) = refused(base())
    assert problem.path == "$.appliance.state"


def test_file_longer_than_a_mebibyte(site, refused):
    (site / "devices-ca.pem").write_bytes(b"x" * ((1 << 20) + 1))
    assert "longer than 1 MiB" in refused(base())[0].reason


def split(site, names=("10-issuer.toml", "20-profiles.toml")):
    """Write the base configuration over three files."""
    tables = base()
    (site / "conf.d").mkdir()
    write_configuration(site / "conf.d", {"issuer": tables.pop("issuer"), "log": tables.pop("log")}, names[0])
    write_configuration(site / "conf.d", {"profile": {"lab": tables["profile"].pop("lab")}}, names[1])
    tables["include"] = ["conf.d/*.toml"]
    return tables


def test_included_files_join_in_the_order_of_their_names(site, compiled):
    settings = compiled(split(site))
    assert [profile.name for profile in settings.profiles] == ["routers", "lab"]
    assert settings.log.format == "json"
    # Paths in an included file begin at the first file's directory too.
    assert settings.issuers[0].certificate_der


def test_order_is_that_of_names_not_of_directories(site, compiled):
    tables = base()
    lab = tables["profile"].pop("lab")
    for directory, name in (("a", "20.toml"), ("b", "10.toml")):
        (site / directory).mkdir()
        write_configuration(site / directory, {"profile": {f"p{name[:2]}": {**lab, "path": f"p{name[:2]}"}}}, name)
    tables["include"] = ["a/*.toml", "b/*.toml", "[ab]/*.toml"]
    assert [profile.name for profile in compiled(tables).profiles] == ["routers", "p10", "p20"]


@pytest.mark.parametrize(
    ("extra", "where"),
    [
        ({"log": {"format": "text"}}, "$.log"),
        ({"workers": 2}, "$.workers"),
        ({"profile": {"routers": {"validity": "1d"}}}, "$.profile.routers"),
        ({"issuer": {"devices": {}}}, "$.issuer.devices"),
    ],
)
def test_the_same_key_in_two_files_is_a_problem(site, refused, extra, where):
    tables = split(site)
    path = write_configuration(site / "conf.d", extra, "90-again.toml")
    (problem,) = refused(tables)
    assert problem.path == where
    assert str(path) in problem.reason


def test_a_problem_names_the_file_that_holds_it(site, refused):
    tables = split(site)
    write_configuration(site / "conf.d", {"profile": {"more": {"issuer": "devices"}}}, "30.toml")
    (problem,) = refused(tables)
    assert (problem.path, problem.file) == ("$.profile.more.challenge", site / "conf.d/30.toml")


def test_included_file_must_not_include(site, refused):
    tables = split(site)
    write_configuration(site / "conf.d", {"include": ["x"]}, "40.toml")
    (problem,) = refused(tables)
    assert "includes further files" in problem.reason


def test_broken_included_file_hides_no_other_problem(site, refused):
    tables = split(site)
    (site / "conf.d/50.toml").write_text("[")
    tables["workers"] = 1000
    assert {problem.path for problem in refused(tables)} == {"$", "$.workers"}


@pytest.mark.parametrize("pattern", ["/etc/*.toml", "../*.toml", "conf.d/../../*.toml", "**/*.toml", ""])
def test_S128_include_outside_the_directory(refused, pattern):
    tables = base()
    tables["include"] = [pattern]
    (problem,) = refused(tables)
    assert (problem.path, problem.hint) == ("$.include[0]", 'include = ["conf.d/*.toml"]')


def test_S128_include_through_a_linked_directory(site, tmp_path, refused):
    outside = tmp_path / "outside"
    outside.mkdir()
    write_configuration(outside, {"log": {}}, "evil.toml")
    (site / "conf.d").symlink_to(outside)
    tables = base()
    del tables["log"]
    tables["include"] = ["conf.d/*.toml"]
    (problem,) = refused(tables)
    assert problem.path == "$.include[0]"
    assert "lies outside" in problem.reason


def test_S128_include_of_a_linked_file(site, tmp_path, refused):
    outside = write_configuration(tmp_path, {}, "evil.toml")
    (site / "evil.toml").symlink_to(outside)
    tables = base()
    tables["include"] = ["evil.toml"]
    (problem,) = refused(tables)
    assert "is a symbolic link" in problem.reason


def test_S128_include_that_others_may_write(site, refused):
    tables = split(site)
    (site / "conf.d/10-issuer.toml").chmod(0o666)
    assert any("can be written by others" in problem.reason for problem in refused(tables))


@pytest.mark.parametrize("value", ["conf.d/*.toml", [5], {}, 5])
def test_include_of_the_wrong_kind(refused, value):
    tables = base()
    tables["include"] = value
    (problem,) = refused(tables)
    assert problem.path == "$.include"


def test_include_of_one_absent_file(refused):
    tables = base()
    tables["include"] = ["absent.toml", "conf.d/*.toml"]
    (problem,) = refused(tables)
    assert problem.path == "$.include[0]"
    assert "does not exist" in problem.reason


def test_environment_stands_above_the_file(site, compiled):
    settings = compiled(base(), SCEPD_LOG_FORMAT="text", SCEPD_LOG_LEVEL="warn", SCEPD_STORE="sqlite:////tmp/other.db")
    assert (settings.log.format, settings.log.level) == ("text", "warn")
    assert settings.store.url == "sqlite:////tmp/other.db"


@pytest.mark.parametrize("variable", ["SCEPD_LOG_FORMAT", "SCEPD_LOG_LEVEL", "SCEPD_STORE"])
@pytest.mark.parametrize("value", ["", "wrong"])
def test_wrong_variable_is_reported_as_such(refused, variable, value):
    (problem,) = refused(base(), **{variable: value})
    assert (problem.path, problem.file) == (f"environment {variable}", None)
    assert problem.hint


def test_configuration_is_found_by_flag_then_environment_then_default(tmp_path):
    given, named = tmp_path / "given.toml", tmp_path / "named.toml"
    assert find_configuration(given, {"SCEPD_CONFIG": str(named)}) == given
    assert find_configuration(None, {"SCEPD_CONFIG": str(named)}) == named
    assert find_configuration(None, {}) == DEFAULT_PATH == Path("/etc/scepd/scepd.toml")


def test_relative_configuration_path_gives_absolute_paths(site, monkeypatch):
    write_configuration(site, base())
    monkeypatch.chdir(site)
    settings = load(Path("scepd.toml"), environ={}, now=NOW)
    assert settings.appliance.state == site / "state"
    assert settings.hsm.module == site / "module.so"


def test_appliance_alone_needs_no_secret_and_no_certificate(tmp_path):
    path = write_configuration(tmp_path, {"appliance": {"runtime": "run"}, "hsm": {"pin": "wrong"}})
    assert load_appliance(path, environ={}).runtime == tmp_path / "run"


def test_appliance_alone_still_reports_its_own_problems(tmp_path):
    path = write_configuration(tmp_path, {"appliance": {"runtme": "run"}})
    (problem,) = problems_of(load_appliance, path, environ={})
    assert problem.path == "$.appliance.runtme"


def test_premises_need_no_issuer_listener_or_profile(site):
    whole = load(write_configuration(site, base()), environ={}, now=NOW)
    tables = {name: table for name, table in base().items() if name in ("appliance", "hsm", "store")}
    path = write_configuration(site, {**tables, "issuer": {"devices": {"certificate": "not-there-yet.pem"}}})
    premises = load_premises(path, environ={})
    assert (premises.appliance, premises.hsm, premises.store) == (whole.appliance, whole.hsm, whole.store)


def test_premises_report_every_problem_of_their_own(site):
    path = write_configuration(site, {"appliance": {"runtme": "run"}, "hsm": {"token": "x"}})
    found = {problem.path for problem in problems_of(load_premises, path, environ={})}
    assert {"$.appliance.runtme", "$.hsm.module", "$.hsm.pin", "$.store.key"} <= found


def test_loading_changes_nothing(site, compiled):
    before = {path: (path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode)) for path in site.iterdir()}
    compiled(base())
    after = {path: (path.stat().st_mtime_ns, stat.S_IMODE(path.stat().st_mode)) for path in site.iterdir()}
    after.pop(site / "scepd.toml")
    assert after == before


def test_no_descriptor_is_left_open(refused, compiled):
    before = len(list(Path("/proc/self/fd").iterdir()))
    compiled(base())
    tables = base()
    tables["hsm"]["pin"] = {"file": "."}
    refused(tables)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
