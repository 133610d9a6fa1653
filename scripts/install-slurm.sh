#!/usr/bin/env bash
# Installs the Slurm daemons for the tests of its enforcer, if they are missing. They are not started.
set -euo pipefail
source "$(dirname "$0")/apt-install.sh"

missing=()
for program in slurmctld slurmd munged squeue; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] ||
  install_with_apt "The Slurm tests need ${missing[*]}" slurmctld slurmd slurm-client munge
