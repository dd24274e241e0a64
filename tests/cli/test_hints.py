"""Every command of ours that a hint, a help text or the manual names: the command exists, and so do its options."""

import ast
import re
from pathlib import Path

import click
import pytest

from scepd.cli.main import COMMANDS, program

ROOT = Path(__file__).parents[2]
SOURCES = sorted((ROOT / "scepd").rglob("*.py"))
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "etc").rglob("*.toml"))]

# What takes a hint as its last argument, its third, or by keyword.
LAST = {"OperatorError", "TokenMissing", "Refused", "problem", "Trouble"}
FILLED = " "  # stands for what a hint's braces bring in

# A command in running text ends with a bracket, a quotation mark, a semicolon, a comma, a colon or the line.
CALL = re.compile(r"(?<![\w./-])(?<!chown )scepd ([a-z][^;,:`\"()\n|]*)")
CODE = re.compile(r"`[^`\n]+`|^ {4}.*$|^(?:\S*/)?scepd .*$|\"scepd [^\"\n]+\"", re.MULTILINE)
OWN_OPTIONS = re.compile(r"(?<![\w-])--[a-z][a-z0-9-]*")


def text_of(node):
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else FILLED
    if isinstance(node, ast.JoinedStr):
        return "".join(text_of(value) if isinstance(value, ast.Constant) else FILLED for value in node.values)
    return None


def texts_below(node):
    """Return the texts of an expression; an f-string is one text."""
    text = text_of(node)
    if text is not None:
        return [text]
    return [text for child in ast.iter_child_nodes(node) for text in texts_below(child)]


def hint_expressions(node):
    if isinstance(node, ast.Call):
        name = ast.unparse(node.func).rpartition(".")[2]
        if name in LAST and len(node.args) > 1:
            yield node.args[1]
        if name == "Finding" and len(node.args) > 2:
            yield node.args[2]
        yield from (keyword.value for keyword in node.keywords if keyword.arg == "hint")
    elif isinstance(node, ast.Assign):
        if any("hint" in ast.unparse(target) for target in node.targets):
            yield node.value
    elif isinstance(node, ast.Dict):
        for key, value in zip(node.keys, node.values, strict=True):
            if isinstance(key, ast.Constant) and key.value == "hint":
                yield value


def hints():
    return [
        (path.relative_to(ROOT).as_posix(), text)
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text()))
        for expression in hint_expressions(node)
        for text in texts_below(expression)
    ]


def other_texts():
    """Return every text of the sources, those of help among them, and the manual's code."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            for text in texts_below(node) if isinstance(node, ast.Constant | ast.JoinedStr) else ():
                yield path.relative_to(ROOT).as_posix(), text
    for path in PAGES:
        for code in CODE.findall(path.read_text()):
            yield path.name, code.replace(".venv/bin/scepd ", "scepd ")


def faults_of(call):
    """Return what is wrong with "hsm list --tokens": no such command, no such option."""
    words = [word.strip(".'") for word in call.split()]
    command, path = program, ["scepd"]
    while words and isinstance(command, click.Group):
        name = words.pop(0)
        path.append(name)
        command = command.get_command(click.Context(command), name)
    if command is None:
        return [f"there is no command {' '.join(path)}"]
    if isinstance(command, click.Group):
        return []  # the noun alone: its help
    known = {option for parameter in command.params for option in parameter.opts} | {"--help", "-h"}
    wrong = [option for word in words for option in OWN_OPTIONS.findall(word) if option not in known]
    return [f"{' '.join(path)} has no {option}" for option in wrong]


def test_the_hints_are_found():
    found = hints()
    assert len(found) > 200
    assert any("scepd hsm keygen" in text for _path, text in found)
    assert any(path == "scepd/config/compile.py" for path, _text in found)


@pytest.mark.parametrize(
    ("call", "fault"),
    [
        ("key generate --kind rsa", "there is no command scepd key"),
        ("hsm make", "there is no command scepd hsm make"),
        ("hsm keygen LABEL --kind rsa", "scepd hsm keygen has no --kind"),
        ("hsm keygen LABEL --role sign", None),
        ("hsm", None),
    ],
)
def test_what_does_not_exist_is_noticed(call, fault):
    assert faults_of(call) == ([] if fault is None else [fault])


def test_every_hint_names_commands_that_exist():
    wrong = {(path, text, fault) for path, text in hints() for call in CALL.findall(text) for fault in faults_of(call)}
    assert wrong == set()


def test_every_other_text_that_names_a_command_of_ours_names_it_rightly():
    # "scepd reads a file" is no command; "scepd hsm make" would be meant as one.
    calls = [(path, call) for path, text in other_texts() for call in CALL.findall(text) if call.split()[0] in COMMANDS]
    assert len(calls) > 40
    assert {(path, call, fault) for path, call in calls for fault in faults_of(call)} == set()


@pytest.mark.parametrize("module", ["init_answers", "init", "init_token"])
def test_options_that_init_hints_at_exist(module):
    texts = [text for path, text in hints() if path == f"scepd/cli/{module}.py"]
    assert [fault for text in texts for fault in faults_of("init " + " ".join(OWN_OPTIONS.findall(text)))] == []


def test_options_that_the_client_hints_at_exist():
    texts = [text for path, text in hints() if path.startswith("scepd/cli/client")]
    options = {option for text in texts for option in OWN_OPTIONS.findall(text)}
    assert len(options) > 5
    faults = [set(faults_of(f"client {verb} {' '.join(sorted(options))}")) for verb in ("enroll", "renew")]
    assert {fault.rpartition(" ")[2] for fault in faults[0]} & {fault.rpartition(" ")[2] for fault in faults[1]} == set()
