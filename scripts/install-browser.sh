#!/usr/bin/env bash
# Installs Chromium and its WebDriver for the page tests, if they are missing.
set -euo pipefail

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "The page tests need chromium and chromedriver: ask an administrator to run 'apt-get install chromium chromium-driver'." >&2
    exit 1
  }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || {
  echo "The page tests need chromium and chromedriver on the PATH; this system has no apt-get to install them with." >&2
  exit 1
}
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
# Ubuntu's package of the same name is a wrapper; its driver is called chromium-chromedriver.
"${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium chromium-driver fonts-dejavu-core ||
  "${as_root[@]}" apt-get install -y -qq --no-install-recommends chromium-browser chromium-chromedriver fonts-dejavu-core
