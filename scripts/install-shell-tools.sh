#!/usr/bin/env bash
# Installs curl, jq and b3sum, which examples of the documentation use, and Python with venv, in which other programs'
# clients and a second verifier are tried, if they are missing.
set -euo pipefail
source "$(dirname "$0")/apt-install.sh"

missing=()
for program in curl jq b3sum; do
  command -v "$program" >/dev/null || missing+=("$program")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
[ ${#missing[@]} -eq 0 ] || install_with_apt "Some tests need ${missing[*]}" "${missing[@]}"
