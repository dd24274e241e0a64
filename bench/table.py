"""The figures as a table with the aims beside them, as JSON, and as rows to keep."""

import os
import platform
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from bench.http import CLIENTS, WORKERS
from bench.installation import DEFAULT_KEY

_DEFAULT_WORKERS = max(WORKERS)
_QUIET = 1.0  # load average

# figure -> (the aim, how to say it)
_AIMS: Mapping[str, tuple[float, bool, str]] = {
    "path_over_token": (1.5, False, f"the path without fsync / (token + public-key operations), {DEFAULT_KEY}"),
    "path_over_token_worst": (1.5, False, "the same, of the keys above the worst"),
    "python_ms_der": (0.6, False, "ms in process, token and store stubbed, DER"),
    "python_ms_ber_more": (0.25, False, "ms more for BER"),
    "two_workers_over_one": (1.5, True, "enrolments a second at 16 clients, two workers / one"),
    "p99_over_p50_at_16": (5.0, False, "at 16 clients"),
    "one_time_over_static": (1.15, False, "server CPU of an enrolment with a one-time challenge / with a static one"),
    "mtls_over_static": (1.15, False, "the same with a client certificate, its connection kept alive"),
    "limits_over_static": (1.15, False, "the same with every limit on"),
    "ocsp_over_echo": (0.4, True, "prepared OCSP answers a second / those of a bare Twisted site"),
    "ocsp_visible_p99": (1.0, False, "s until every worker says that a certificate is revoked, while devices enrol"),
    "memory_growth": (0.03, False, "of a worker's memory from a fifth of the run to its end"),
}


def summarise(inside: Mapping[str, Any], rows: Mapping[str, list[dict[str, Any]]]) -> dict[str, Any]:
    """Return the figures that the aims are about: of several issuing keys, the worst one's.

    `path_over_token` is that of the key that `scepd init` makes unless told otherwise; the cheaper a token's signature,
    the less of the path is spent in it, and so the others stand beside it.
    """
    by_key = {key: {(row["workers"], row["clients"]): row for row in found} for key, found in rows.items()}
    sixteen = [(found[1, 16], found[2, 16]) for found in by_key.values()]
    over_token = {key: round(found["path_over_token"], 3) for key, found in inside.items()}
    der = max(found["python"]["python_ms_der"] for found in inside.values())
    ber = max(found["python"]["python_ms_ber"] for found in inside.values())
    return {
        "path_over_token": over_token[DEFAULT_KEY],
        "path_over_token_worst": max(over_token.values()),
        "path_over_token_by_key": over_token,
        "python_ms_der": round(der, 3),
        "python_ms_ber": round(ber, 3),
        "python_ms_ber_more": round(ber - der, 3),
        "two_workers_over_one": round(min(two["per_second"] / one["per_second"] for one, two in sixteen), 3),
        "p99_over_p50_at_16": round(max(row["p99_ms"] / row["p50_ms"] for pair in sixteen for row in pair), 2),
        "workers": _DEFAULT_WORKERS,
        "enrolments_per_second": _of(by_key, "per_second", _DEFAULT_WORKERS),
        "cpu_ms_per_enrolment": _of(by_key, "cpu_ms", _DEFAULT_WORKERS),
        "one_worker": {
            "enrolments_per_second": _of(by_key, "per_second", 1),
            "cpu_ms_per_enrolment": _of(by_key, "cpu_ms", 1),
        },
    }


def _of(by_key: Mapping[str, Mapping[tuple[int, int], Any]], name: str, workers: int) -> dict[str, dict[str, float]]:
    return {key: {str(n): found[workers, n][name] for n in CLIENTS} for key, found in by_key.items()}


def added_costs(rows: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """Return what each challenge method, and the limits, cost over a static challenge."""
    return {f"{row['method']}_over_static": row["over_static"] for row in rows if row["method"] != "static"}


def growth(samples: list[dict[str, Any]]) -> float:
    """Return by which part the most grown worker grew after the first fifth of the run."""
    first, last = samples[max(len(samples) // 5 - 1, 0)], samples[-1]
    pairs = zip(first["resident_kib"], last["resident_kib"], strict=True)
    most: float = max(after / before - 1 for before, after in pairs)
    return round(most, 4)


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, cores and interpreter, nothing that names the machine."""
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")
    # Debian's own interpreter is built with profiles of its use, which is a tenth of what Python costs here.
    built = "the system's" if sys.base_prefix == "/usr" else "built apart"
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "load_before": round(os.getloadavg()[0], 2),
        "python": f"CPython {platform.python_version()}, {built}",
    }


def commit() -> str:
    """Return the commit that is measured, with "+" when files differ from it."""
    root = Path(__file__).parent
    command = ("git", "describe", "--always", "--dirty=+", "--abbrev=10", "--exclude=*")
    try:
        found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)  # noqa: S603 - no input
    except OSError:
        return "unknown"
    return found.stdout.strip() or "unknown"


def today() -> str:
    """Return the date."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def render(result: Mapping[str, Any]) -> str:
    """Return the whole table."""
    where = result["machine"]
    lines = [
        f"scepd {result['commit']}, {result['date']}",
        f"{where['cpu']}, {where['cores']} cores, load {where['load_before']} before the run{_warning(where)}",
        where["python"],
        "",
        *_inside_table(result["inside"]),
        *_rim_table(result),
        *_http_table(result["rows"]),
        *_renewal_table([*result.get("renewal", ()), *(result.get("crl") or {}).get("get_crl", ())]),
        *_methods_table(result.get("methods", ())),
        *_crl_table(result.get("crl")),
        *_ocsp_table(result.get("ocsp")),
        *_memory_table(result.get("memory", ())),
        *_aims_table(result),
    ]
    return "\n".join(lines) + "\n"


def _warning(where: Mapping[str, Any]) -> str:
    return "" if where["load_before"] < _QUIET else ": TOO BUSY, the figures over HTTP mean little"


def _inside_table(inside: Mapping[str, Any]) -> list[str]:
    keys = list(inside)
    first = inside[keys[0]]
    lines = [_line("in process, ms (median)", keys)]

    def add(title: str, group: str, names: Any) -> None:
        lines.append(title)
        lines.extend(_line(f"    {name}", [f"{inside[key][group][name]:.3f}" for key in keys]) for name in names)

    add("(a) raw OpenSSL, through cryptography", "raw", first["raw"])
    add("(b) the token (SoftHSM), each signature verified", "token", first["token"])
    add("    public-key operations", "public", first["public"])
    sums = [sum(inside[key]["token"].values()) + sum(inside[key]["public"].values()) for key in keys]
    lines.append(_line("    sum of (b) and public-key operations", [f"{value:.3f}" for value in sums]))
    add("(c) the path with token and store", "path", ("without fsync",))
    lines.append(_line("    fsync, as time that passes", [f"{inside[key]['fsync_ms']:.3f}" for key in keys]))
    lines.append(_line("    (c) / sum", [f"{inside[key]['path_over_token']:.2f}" for key in keys]))
    lines.append(
        _line("    (c) / sum, in time that passes", [f"{inside[key]['path_over_token_wall']:.2f}" for key in keys])
    )
    add("    Python: token and store stubbed", "python", ("python_ms_der", "python_ms_ber", "store_ms"))
    lines.append("    Python, DER, by step")
    lines.extend(
        _line(f"        {name}", [f"{inside[key]['python']['steps'][name]:.3f}" for key in keys])
        for name in first["python"]["steps"]
    )
    return [*lines, ""]


def _rim_table(result: Mapping[str, Any]) -> list[str]:
    found = result["rim"]
    return [
        "HTTP and log alone, server CPU ms a request",
        _line("    without a lane", [f"{found['http_and_log']:.3f}"]),
        _line("    with the hop into a lane and back", [f"{found['with_lane']:.3f}"]),
        "",
    ]


def _http_table(rows: Mapping[str, list[dict[str, Any]]]) -> list[str]:
    names = ("per_second", "p50_ms", "p95_ms", "p99_ms", "cpu_ms", "client_cpu_ms")
    lines = [f"{'(d) over HTTP':<14}{'workers':>8}{'clients':>8}" + "".join(f"{name:>14}" for name in names)]
    for key, found in rows.items():
        for row in sorted(found, key=lambda row: (row["workers"], row["clients"])):
            values = "".join(f"{row[name]:>14}" for name in names)
            lines.append(f"    {key:<10}{row['workers']:>8}{row['clients']:>8}{values}")
    return [*lines, ""]


def _renewal_table(rows: Any) -> list[str]:
    if not rows:
        return []
    names = ("per_second", "p50_ms", "p95_ms", "p99_ms", "cpu_ms")
    lines = [f"{'(e) enrolled devices':<22}{'clients':>8}" + "".join(f"{name:>14}" for name in names)]
    lines += [
        f"    {row['kind']:<18}{row['clients']:>8}" + "".join(f"{row[name]:>14}" for name in names) for row in rows
    ]
    return [*lines, ""]


def _methods_table(rows: Sequence[Mapping[str, Any]]) -> list[str]:
    if not rows:
        return []
    names = ("per_second", "p50_ms", "cpu_ms", "over_static", "wall_over_static")
    lines = [f"{'(f) one worker':<22}" + "".join(f"{name:>18}" for name in names)]
    lines += [f"    {row['method']:<18}" + "".join(f"{row[name]:>18}" for name in names) for row in rows]
    return [*lines, ""]


def _crl_table(found: Any) -> list[str]:
    if not found:
        return []
    lines = [
        "a large CRL, made while two workers enrol",
        _line("    seconds to make, until served", [found["seconds"], found["seconds_until_served"]]),
        _line("    memory of a worker meanwhile, MiB", [found["memory_growth_mib"]]),
    ]
    for name, title in (("reactor_ms", "GetCACaps"), ("lane_ms", "enrolment")):
        for phase, waits in found[name].items():
            lines.append(
                _line(f"    {title} {phase}, ms: p50, p99, most", [waits[key] for key in ("p50", "p99", "most")])
            )
    return [*lines, _line("    stalls of a reactor, ms", [found["reactor_stalls_ms"] or "none"]), ""]


def _ocsp_table(found: Any) -> list[str]:
    if not found:
        return []
    return [
        "OCSP over HTTP, by GET",
        _line("    prepared answers a second, a bare site's", [found["per_second"], found["echo_per_second"]]),
        _line("    s until a revocation is said: p50, p99", [found["visible_p50_s"], found["visible_p99_s"]]),
        "",
    ]


def _memory_table(samples: Any) -> list[str]:
    if not samples:
        return []
    lines = ["memory of each worker, KiB (RssAnon)"]
    lines += [_line(f"    after {sample['enrolments']} enrolments", sample["resident_kib"]) for sample in samples]
    return [*lines, ""]


def _aims_table(result: Mapping[str, Any]) -> list[str]:
    lines = [f"{'figure':<24}{'here':>8}  {'aim':<8}"]
    for name, (aim, at_least, meaning) in _AIMS.items():
        if name not in result:
            continue
        reached = result[name] >= aim if at_least else result[name] <= aim
        sign = ">=" if at_least else "<="
        lines.append(f"{name:<24}{result[name]:>8}  {sign} {aim:<6}{'' if reached else 'MISSED  '}{meaning}")
    return lines


def _line(title: str, values: Any) -> str:
    return f"{title:<44}" + "".join(f"{value:>12}" for value in values)
