"""What an enrolment costs inside one process: `python -m bench.inside CONFIG`, a process of its own for each token.

All that is compared is measured by turns, a few calls each, so that a machine that is slower for a while is slower
for everything, and on one core, as in a worker. Every figure is the median of its calls in milliseconds of CPU time of
this thread, which a busy neighbour does not lengthen; since SoftHSM computes in the calling thread, it is also the time
that passes on an idle machine. The durable path, which waits for the disk, is measured in both, and fsync is the
difference that passes.
"""

import argparse
import cProfile
import gc
import json
import os
import pstats
import sys
import tempfile
from pathlib import Path
from typing import Any

from bench.opened import Inside, answer_of, open_inside
from bench.operations import by_turns, enrolment, public_operations, raw_operations, token_operations
from bench.report import Broken, say
from bench.request import Prepared
from bench.stand_ins import Memory, repeatable
from bench.stubbed import Stubbed, stubbed_figures
from scepd.enroll.context import Context


def measure(inside: Inside, count: int) -> dict[str, Any]:
    """Return all figures of this token."""
    say("  preparing requests")
    requests = inside.requests(count)
    durable, spared = inside.with_store("fsync", durable=True), inside.with_store("no-fsync", durable=False)
    first = inside.with_store("first", durable=True)
    certificate_der = _first_certificate(inside, first, requests[0])
    groups = {
        "raw": raw_operations(),
        "token": token_operations(inside, certificate_der),
        "public": public_operations(inside, requests[0], certificate_der),
        "path": {
            "with fsync": enrolment(inside, durable, requests),
            "without fsync": enrolment(inside, spared, requests),
        },
    }
    gc.collect()
    gc.freeze()  # as a worker does when it is ready
    say("  raw keys, token, path")
    operations = {(group, name): operation for group, named in groups.items() for name, operation in named.items()}
    times = by_turns({f"{group}|{name}": operation for (group, name), operation in operations.items()}, count)
    figures: dict[str, Any] = {
        group: {name: times[f"{group}|{name}"].cpu for name in named} for group, named in groups.items()
    }
    say("  the path with token and store stubbed")
    figures["python"] = stubbed_figures(inside, max(count // 2, 1))
    figures["path_wall"] = {name: times[f"path|{name}"].wall for name in groups["path"]}
    figures["fsync_ms"] = figures["path_wall"]["with fsync"] - figures["path_wall"]["without fsync"]
    floor = [times[f"{group}|{name}"] for group in ("token", "public") for name in groups[group]]
    spared_times = times["path|without fsync"]
    figures["path_over_token"] = spared_times.cpu / sum(one.cpu for one in floor)
    figures["path_over_token_wall"] = spared_times.wall / sum(one.wall for one in floor)
    return figures


def _first_certificate(inside: Inside, context: Context, request: Prepared) -> bytes:
    enrolment(inside, context, [request])(0)
    store: Any = context.store
    found = store.certificates()[0].der
    return bytes(found)


def profile_path(inside: Inside, count: int, order: str) -> None:
    """Print where the path spends its time, with token and store stubbed (cProfile: calls cost more than they do)."""
    stubbed = Stubbed.of(inside, inside.requests(min(count, 100)), Memory())
    stubbed.record()
    profiler = cProfile.Profile()
    for number in range(count):
        with repeatable(stubbed.context, number % len(stubbed.requests)):
            body = stubbed.requests[number % len(stubbed.requests)].body
            profiler.enable()
            answer_of(stubbed.context, inside.profile, body)
            profiler.disable()
    pstats.Stats(profiler, stream=sys.stdout).sort_stats(order).print_stats(70)


def main() -> None:
    """Measure one installation and print the figures as JSON."""
    parser = argparse.ArgumentParser(prog="bench.inside", description=str(__doc__).split("\n", 1)[0])
    parser.add_argument("config", type=Path, help="the scepd.toml of an installation with a profile static")
    parser.add_argument("--challenge", required=True, help="what the profile static takes")
    parser.add_argument("--keys", type=Path, help="file that keeps the pool of client keys")
    parser.add_argument("--count", type=int, default=300, help="enrolments of each kind")
    parser.add_argument("--directory", type=Path, help="where the stores go: on the disk that is meant")
    parser.add_argument("--profile", metavar="ORDER", help="profile the path instead: tottime or cumtime")
    options = parser.parse_args()
    os.sched_setaffinity(0, {max(os.sched_getaffinity(0))})  # any one, and always the same
    with tempfile.TemporaryDirectory(prefix="stores-", dir=options.directory) as directory:
        try:
            inside = open_inside(options.config, options.keys, options.challenge, Path(directory))
            if options.profile:
                profile_path(inside, options.count, options.profile)
            else:
                print(json.dumps(measure(inside, options.count)))
        except Broken as broken:
            sys.exit(f"bench.inside: {broken}")


if __name__ == "__main__":
    main()
