#!/usr/bin/env bash
# Installs curl and jq, which the README's examples use and a test runs, if they are missing.
set -euo pipefail

missing=()
for program in curl jq; do
  command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "The tests of the documentation need ${missing[*]}: ask an administrator to run 'apt-get install ${missing[*]}'." >&2
    exit 1
  }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || {
  echo "The tests of the documentation need ${missing[*]} on the PATH; this system has no apt-get to install them with." >&2
  exit 1
}
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends "${missing[@]}"
