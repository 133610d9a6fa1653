#!/usr/bin/env bash
# Installs what the page tests need, if it is missing: Chromium with its WebDriver, and the accessibility rules of
# axe-core, at the version that tests/browser/package-lock.json pins, in target/browser.
set -euo pipefail
cd "$(dirname "$0")/.."
source scripts/apt-install.sh

needs="The page tests need chromium, chromedriver and npm"
if ! command -v chromium >/dev/null || ! command -v chromedriver >/dev/null; then
  # Ubuntu's package of the same name is a wrapper; its driver is called chromium-chromedriver.
  install_with_apt "$needs" chromium chromium-driver fonts-dejavu-core ||
    install_with_apt "$needs" chromium-browser chromium-chromedriver fonts-dejavu-core
fi

lock=tests/browser/package-lock.json
if ! cmp -s "$lock" target/browser/package-lock.json || [ ! -f target/browser/node_modules/axe-core/axe.min.js ]; then
  command -v npm >/dev/null || install_with_apt "$needs" npm
  mkdir -p target/browser
  cp tests/browser/package.json "$lock" target/browser/
  npm ci --prefix target/browser --ignore-scripts --no-audit --no-fund --loglevel=error
fi
