"""Every problem of a folder through `conediff vjp` and `conediff report`, each in a process of its own with limits of time and memory.

    cargo build --release --features cli
    python3 benches/public_problems.py FOLDER > table.md

FOLDER holds Clarabel's JSON files and `index.json` with their known objectives. Rows are kept in target/public_problems.json: a run
that was stopped goes on where it ended.
"""

import argparse
import json
import os
import pathlib
import resource
import subprocess
import sys
import tempfile
import time

# What the tool's sentences are about, as in docs/problems.md.
DOUBTS = {
    "the linear system is singular": "singular",
    "the linear solve reached": "linear residual",
    "the point is at a kink": "at a kink",
    "the point is close to a kink": "near a kink",
    "refinement did not reach": "not refined",
    "the solution is known only": "inaccurate point",
    "the derivative's estimated": "inaccurate",
}


def limited(gib: float):
    """Limits a child's address space."""
    most = int(gib * 2**30)
    return lambda: resource.setrlimit(resource.RLIMIT_AS, (most, most))


def run(tool: str, command: str, file: pathlib.Path, arguments: argparse.Namespace) -> dict:
    """One command's JSON, with seconds, the largest resident memory in MiB and how it ended."""
    call = [tool, command, str(file), "--json", "--time-limit", str(arguments.seconds)]
    with tempfile.TemporaryFile() as out:
        start = time.monotonic()
        child = subprocess.Popen(call, stdout=out, stderr=subprocess.DEVNULL, preexec_fn=limited(arguments.gib))
        ended = f"exit {child.returncode}"
        while True:
            pid, status, usage = os.wait4(child.pid, os.WNOHANG)
            if pid:
                code = os.waitstatus_to_exitcode(status)
                ended = f"exit {code}" if code >= 0 else f"signal {-code}"
                break
            # One step, such as a factorization, is not interrupted by the tool's own limit.
            if time.monotonic() - start > 2 * arguments.seconds:
                child.kill()
                _, _, usage = os.wait4(child.pid, 0)
                ended = "killed"
                break
            time.sleep(0.01)
        child.returncode = 0
        seconds = time.monotonic() - start
        out.seek(0)
        text = out.read()
    try:
        answer = json.loads(text)
    except json.JSONDecodeError:
        answer = {}
    return {"answer": answer, "ended": ended, "seconds": seconds, "mib": usage.ru_maxrss / 1024}


def row(name: str, known: dict, file: pathlib.Path, arguments: argparse.Namespace) -> dict:
    vjp = run(arguments.tool, "vjp", file, arguments)
    report = run(arguments.tool, "report", file, arguments)
    answer = vjp["answer"]
    regularity = report["answer"].get("regularity") or {}
    # Another solver's objective where there is one, else Clarabel's at its default tolerance.
    reference = known.get("cross_check") or known.get("clarabel") or {}
    objective, expected = answer.get("objective"), reference.get("obj")
    off = None
    if isinstance(objective, float) and isinstance(expected, float):
        off = abs(objective - expected) / max(1.0, abs(expected))
    doubts = [next((short for start, short in DOUBTS.items() if w.startswith(start)), w) for w in answer.get("warnings") or []]
    return {
        "name": name,
        "n": known.get("n"),
        "m": known.get("m"),
        "status": answer.get("status") or vjp["ended"],
        "off": off,
        "vjp": vjp["seconds"],
        "report": report["seconds"],
        "mib": max(vjp["mib"], report["mib"]),
        "trusted": answer.get("trusted"),
        "why": sorted(set(doubts)),
        "message": answer.get("message"),
        "residual": (answer.get("evidence") or {}).get("residual"),
        "certificate": (regularity.get("certificate") or {}).get("verdict") or report["answer"].get("status") or report["ended"],
    }


def short(number: object) -> str:
    """Two digits, as the other tables have them: 1.2e-9."""
    return f"{number:.1e}".replace("e-0", "e-").replace("e+0", "e") if isinstance(number, float) else ""


def line(found: dict) -> str:
    off, residual = short(found["off"]), short(found["residual"])
    verdict = {True: "trusted", False: "not trusted: " + ", ".join(found["why"]), None: ""}[found["trusted"]]
    if found["message"]:
        # A failure: what the tool says of it, up to its advice.
        verdict = found["message"].split("; ")[0]
    cells = [
        found["name"], found["n"], found["m"], found["status"], off, residual, f"{found['vjp']:.2f}", f"{found['report']:.2f}",
        f"{found['mib']:.0f}", found["certificate"], verdict,
    ]  # fmt: skip
    return "| " + " | ".join(str(c) for c in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--tool", default="target/release/conediff")
    parser.add_argument("--seconds", type=float, default=60.0, help="for each command")
    parser.add_argument("--gib", type=float, default=4.0, help="of address space, for each command")
    arguments = parser.parse_args()
    index = json.loads((arguments.folder / "index.json").read_text())["problems"]
    kept = pathlib.Path("target/public_problems.json")
    rows = json.loads(kept.read_text()) if kept.exists() else {}
    files = sorted(arguments.folder.glob("*/*.json"), key=lambda f: f.stat().st_size)
    for count, file in enumerate(files, 1):
        name = file.stem
        print(f"{count}/{len(files)} {name}", file=sys.stderr)
        if name not in rows:
            known = next((k for k in index if k.get("name") == name), {})
            rows[name] = row(name, known, file, arguments)
            kept.write_text(json.dumps(rows))
    print("| problem | n | m | status | objective off by | linear residual | vjp, s | report, s | MiB | certificate | derivative |")
    print("|" + "---|" * 11)
    for name in sorted(rows):
        print(line(rows[name]))


main()
