"""What the benchmarks share: building and running what is measured, and keeping the figures. Python 3.9+, standard library
only."""

import json
import os
import subprocess
import time
from pathlib import Path

from guestbook_stack import HOME, expect


def measure(command, work, cwd=None, env=None):
    """Runs it; seconds, CPU seconds, peak memory of the largest process in bytes, and what it printed. GNU time starts
    it, because a process that this one starts counts this one's memory as its own."""
    usage = work / "usage"
    timed = [str(part) for part in ["/usr/bin/time", "-o", usage, "-f", "%U %S %M", *command]]
    began = time.monotonic()
    done = subprocess.run(timed, stdout=subprocess.PIPE, text=True, cwd=cwd, env=env, check=False)
    seconds = time.monotonic() - began
    expect(f"{command} works", done.returncode == 0)
    user, system, peak = usage.read_text().split()
    return {"seconds": seconds, "cpu_s": float(user) + float(system), "peak_bytes": int(peak) * 1024}, done.stdout


def build(name, variable):
    """The program `name` of `benches/`, built; the environment's `variable` names one that is built."""
    if os.environ.get(variable):
        return Path(os.environ[variable]).resolve()
    command = ["cargo", "build", "--release", "--locked", "--features", "benches", "--bin", name,
               "--message-format=json"]
    done = subprocess.run(command, cwd=HOME, stdout=subprocess.PIPE, text=True, check=False)
    expect("the benchmark is built", done.returncode == 0)
    built = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    found = [one["executable"] for one in built if one.get("target", {}).get("name") == name]
    expect("cargo says where it is", found)
    return Path(found[-1])


def keep(name, document):
    """Writes the figures of the benchmark `name` into `bench-results/`, and says where."""
    results = HOME / "bench-results"
    results.mkdir(exist_ok=True)
    file = results / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}.json"
    file.write_text(json.dumps({"schema": 1, **document}, indent=2) + "\n")
    print(f"\nwritten to {file.relative_to(HOME)}")
