#!/usr/bin/env python3
"""Runs the Rust trainer and PyTorch in turns and prints their ratio as a table."""

import argparse
import json
import os
import pathlib
import platform
import subprocess
import sys

HERE = pathlib.Path(__file__).resolve().parent


def run(command, threads):
    """Runs a command that prints JSON last; its threads are bounded by the environment."""
    environment = dict(os.environ, OMP_NUM_THREADS=str(threads), MKL_NUM_THREADS=str(threads))
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    if done.returncode != 0:
        print(f"failed: {' '.join(command)}\n{done.stderr[-2000:]}", file=sys.stderr)
        return None
    return json.loads(done.stdout.strip().splitlines()[-1])


def ours(binary, shape, threads, seconds):
    command = [binary, "--json", "--only", shape, "--threads", str(threads), "--seconds", str(seconds)]
    reports = run(command, threads)
    return reports and reports[0]["report"]


def theirs(shape, threads, seconds, compiled):
    command = [sys.executable, str(HERE / "train_speed.py"), "--shape", shape]
    command += ["--threads", str(threads), "--seconds", str(seconds)]
    return run(command + ["--compile"] * compiled, threads)


def best(reports):
    """The fastest of several reports, or None if none ran."""
    return max((r for r in reports if r), key=lambda r: r["tokens_per_second"], default=None)


def compare(arguments, shape, threads):
    rounds = {"ours": [], "eager": [], "compiled": []}
    for _ in range(arguments.rounds):
        rounds["ours"].append(ours(arguments.binary, shape, threads, arguments.seconds))
        rounds["eager"].append(theirs(shape, threads, arguments.seconds, False))
        rounds["compiled"].append(theirs(shape, threads, arguments.seconds, True))
    return {"shape": shape, "threads": threads} | {name: best(r) for name, r in rounds.items()}


def cpu_model():
    try:
        lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def row(result):
    mine = result["ours"]
    rate = mine["tokens_per_second"]
    cells = [result["shape"], f"{mine['parameters'] / 1e6:.2f}M", str(result["threads"]), f"{rate:,.0f}"]
    for peer in ("eager", "compiled"):
        report = result[peer]
        cells.append(f"{report['tokens_per_second']:,.0f}" if report else "n/a")
        cells.append(f"{rate / report['tokens_per_second']:.2f}×" if report else "n/a")
    cells.append(f"{mine['plain_tokens_per_second']:,.0f}")
    cells.append(f"{100 * mine['share_of_peak']:.0f} % of {mine['matmul_peak_flops'] / 1e9:.0f} GF/s")
    return "| " + " | ".join(cells) + " |"


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--binary", required=True)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--shape", action="append", help="may be repeated; all by default")
    parser.add_argument("--threads", default="1,2")
    parser.add_argument("--json", help="also write every figure to this file")
    arguments = parser.parse_args()
    shapes = arguments.shape or ["d128-l3-v1024", "d128-l4-v2048", "d256-l4-v512"]
    results = []
    print(f"{cpu_model()}, {os.cpu_count()} cores; tokens/s of the fastest step, best of {arguments.rounds} rounds\n")
    print("| shape | parameters | threads | Plumbline | PyTorch | ratio | compiled | ratio | plain candle | share of peak |")
    print("|---|---:|---:|---:|---:|---:|---:|---:|---:|---:|", flush=True)
    for shape in shapes:
        for threads in map(int, arguments.threads.split(",")):
            result = compare(arguments, shape, threads)
            results.append(result)
            if result["ours"]:
                print(row(result), flush=True)
    if arguments.json:
        pathlib.Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
