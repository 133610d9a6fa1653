#!/usr/bin/env bash
# Installs Chromium and its WebDriver for the page tests, if they are missing.
set -euo pipefail
source "$(dirname "$0")/apt-install.sh"

if command -v chromium >/dev/null && command -v chromedriver >/dev/null; then
  exit 0
fi
needs="The page tests need chromium and chromedriver"
# Ubuntu's package of the same name is a wrapper; its driver is called chromium-chromedriver.
install_with_apt "$needs" chromium chromium-driver fonts-dejavu-core ||
  install_with_apt "$needs" chromium-browser chromium-chromedriver fonts-dejavu-core
