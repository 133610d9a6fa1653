#!/usr/bin/env bash
# The engines of the oracle beside their peers, in turns in one run, on the same weights and tokens.
#
#   bench/run_oracle.sh [FILE.jsonl…]
#
# Sets up what it needs: the models (`make models`), a release build, and a Python environment with ONNX Runtime and
# llama.cpp in bench/.venv-oracle (or $PLUMBLINE_ORACLE_VENV), the latter compiled for this processor. Files hold
# texts in a field `response`; without any, only texts of fixed length are run.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
venv=${PLUMBLINE_ORACLE_VENV:-$here/.venv-oracle}
models=${PLUMBLINE_MODELS:-$here/../models}

"$here/../scripts/models.sh" "$models" >&2
if ! "$venv/bin/python" -c 'import onnxruntime, llama_cpp, transformers, torch' 2>/dev/null; then
    echo "Installing ONNX Runtime, PyTorch (for the export) and llama.cpp into $venv (once; a long compilation)" >&2
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet onnx onnxruntime onnxscript tokenizers torch transformers cmake ninja
    CMAKE_ARGS="-DGGML_NATIVE=ON" "$venv/bin/pip" install --quiet llama-cpp-python
fi

cargo build --release --quiet --manifest-path "$here/../Cargo.toml" \
    -p plumbline-oracle-candle --example engines
engines=${CARGO_TARGET_DIR:-$here/../target}/release/examples/engines
for threads in 1 2; do
    "$venv/bin/python" "$here/oracle/encoder.py" --binary "$engines" --model "$models/minilm" --threads $threads "$@"
    echo
done
for threads in 1 2; do
    "$venv/bin/python" "$here/oracle/causal.py" --binary "$engines" --model "$models/gemma" --threads $threads
    echo
done
