#!/usr/bin/env bash
# Installs curl and jq, which the README's examples use, and Python with venv, in which other programs' clients and a
# second verifier are tried, if they are missing.
set -euo pipefail

missing=()
for program in curl jq; do
  command -v "$program" >/dev/null || missing+=("$program")
done
python3 -c 'import ensurepip, venv' 2>/dev/null || missing+=(python3 python3-venv)
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "Some tests need ${missing[*]}: ask an administrator to run 'apt-get install ${missing[*]}'." >&2
    exit 1
  }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || {
  echo "Some tests need ${missing[*]} on the PATH; this system has no apt-get to install them with." >&2
  exit 1
}
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
