"""`make bench`: raw OpenSSL, the token, the enrolment path, enrolments over HTTP, in one run on one machine.

Prints a table with the aims beside the figures and writes DIRECTORY/bench.json; nothing is judged but whether it
works. Challenge methods, limits, renewals, polls, lookups, the next CA, one large CRL and OCSP are measured beside the
enrolments. `--long` adds 50,000 enrolments under a watch on memory, `--record` keeps the table in bench/RESULTS.md.
"""

import argparse
import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

from bench import crl, http, methods, ocsp, renewal, table
from bench.installation import CHALLENGE, DEFAULT_KEY, ISSUING_KEYS, install, url
from bench.keys import key_pool
from bench.load import enrol
from bench.middle import TURNS, middle
from bench.report import Broken, say
from bench.target import Target
from tests.live.server import Server

_LONG = 50_000  # enrolments
_RESULTS = Path(__file__).with_name("RESULTS.md")


def inside(server: Server, keys: Path, count: int) -> dict[str, Any]:
    """Measure in a process of its own, since a PKCS#11 module is there once in a process."""
    command = [
        sys.executable, "-m", "bench.inside", str(server.config), "--challenge", CHALLENGE,
        "--keys", str(keys), "--count", str(count), "--directory", str(server.directory),
    ]  # fmt: skip
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)  # noqa: S603 - our own module
    if done.returncode != 0:
        raise Broken(f"bench.inside ended with {done.returncode}")
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def rim(template: Server, keys: Any, place: Path) -> dict[str, float]:
    """Measure the HTTP rim around a real answer to a real request."""
    with http.serving(template, place, 1) as server:
        target = Target.find(url(server), CHALLENGE)
        request, status, answer = enrol(target, target.requests(keys, 1), 1).replies[0]
    assert status == http.OK
    return http.rim(answer, request.body, place / "rim")


def measure(directory: Path, options: argparse.Namespace) -> dict[str, Any]:
    """Return all figures."""
    pool = directory / "bench-keys.pem"
    result: dict[str, Any] = {
        "date": table.today(), "commit": table.commit(), "machine": table.machine(), "rows": {},
    }  # fmt: skip
    keys = key_pool(pool)
    work = directory / "bench"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    try:
        templates = {}
        for issuing_key in (DEFAULT_KEY, *ISSUING_KEYS):
            say(f"{issuing_key}: scepd init")
            templates[issuing_key] = install(work / issuing_key, issuing_key)
        runs: dict[str, list[Any]] = {issuing_key: [] for issuing_key in templates}
        for turn in range(1, TURNS + 1):
            for issuing_key, template in templates.items():
                say(f"{issuing_key}: in process, {turn} of {TURNS}")
                runs[issuing_key].append(inside(template, pool, options.count // 2))
        result["inside"] = {issuing_key: middle(found) for issuing_key, found in runs.items()}
        say("HTTP and log alone")
        result["rim"] = rim(templates[ISSUING_KEYS[0]], keys, work / "rim")
        for issuing_key in ISSUING_KEYS:
            say(f"{issuing_key}: over HTTP")
            template = templates[issuing_key]
            result["rows"][issuing_key] = http.over_http(template, work / f"http-{issuing_key}", keys, options.count)
        template = templates[ISSUING_KEYS[0]]
        say("what enrolled devices ask for")
        result["renewal"] = renewal.measure(template, work / "renewal", keys, options.count)
        say("challenge methods and limits, by turns")
        result["methods"] = methods.measure(template, work / "methods", keys, options.count)
        if options.crl_entries:
            say(f"a CRL of {options.crl_entries} entries beside enrolments")
            result["crl"] = crl.measure(template, work / "crl", keys, options.crl_entries)
        say("OCSP beside a bare site, and revocations beside enrolments")
        result["ocsp"] = ocsp.measure(templates[ISSUING_KEYS[-1]], work / "ocsp", keys)
        result |= table.summarise(result["inside"], result["rows"])
        result |= table.added_costs(result["methods"])
        result |= {"ocsp_over_echo": result["ocsp"]["over_echo"], "ocsp_visible_p99": result["ocsp"]["visible_p99_s"]}
        if options.long:
            say(f"{options.enrolments} enrolments under a watch on memory")
            result["memory"] = http.memory(templates[ISSUING_KEYS[-1]], work / "long", keys, options.enrolments)
            result["memory_growth"] = table.growth(result["memory"])
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return result


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(prog="bench.all", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("--directory", type=Path, required=True, help="where bench.json and the installations go")
    parser.add_argument("--long", action="store_true", help="also watch memory over many enrolments")
    parser.add_argument("--enrolments", type=int, default=_LONG, help="how many, with --long")
    parser.add_argument("--count", type=int, default=500, help="enrolments a row and turn")
    parser.add_argument("--crl-entries", type=int, default=crl.ENTRIES, help="of the CRL that is measured; 0 for none")
    parser.add_argument("--record", action="store_true", help="append the table to bench/RESULTS.md")
    options = parser.parse_args()
    directory = options.directory.absolute()
    directory.mkdir(parents=True, exist_ok=True)
    try:
        result = measure(directory, options)
    except Broken as broken:
        sys.exit(f"bench: {broken}")
    (directory / "bench.json").write_text(json.dumps(result, indent=2) + "\n")
    text = table.render(result)
    print(text, end="")
    say(f"wrote {directory / 'bench.json'}")
    if options.record:
        with _RESULTS.open("a") as results:
            results.write(f"\n## {result['date']}, {result['commit']}\n\n```\n{text}```\n")


if __name__ == "__main__":
    main()
