#!/usr/bin/env bash
# Training speed of this decoder beside the same model in PyTorch, in one run.
#
#   bench/run_training.sh [--rounds N] [--seconds S] [--shape NAME] [--threads 1,2] [--json FILE]
#
# Sets up what it needs: a release build and a Python environment with PyTorch in
# bench/.venv (or $PLUMBLINE_TORCH_VENV). The two take turns, so that whatever else
# the machine does falls on both; the table gives each side's best round.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${PLUMBLINE_TORCH_VENV:-$here/.venv}

if ! "$venv/bin/python" -c 'import torch' 2>/dev/null; then
    echo "Installing PyTorch into $venv (once; several GB with its GPU libraries)" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet torch numpy
fi

cargo build --release --quiet --manifest-path "$here/../Cargo.toml" \
    -p plumbline-training-model --example throughput
target=${CARGO_TARGET_DIR:-$here/../target}
exec "$venv/bin/python" "$here/pytorch/compare.py" \
    --binary "$target/release/examples/throughput" "$@"
