#!/usr/bin/env bash
# Installs the Slurm daemons for the tests of its enforcer, if they are missing. They are not started.
set -euo pipefail

missing=()
for program in slurmctld slurmd munged squeue; do
  PATH="$PATH:/usr/sbin:/sbin" command -v "$program" >/dev/null || missing+=("$program")
done
[ ${#missing[@]} -eq 0 ] && exit 0
as_root=()
if [ "$(id -u)" -ne 0 ]; then
  command -v sudo >/dev/null || {
    echo "The Slurm tests need ${missing[*]}: ask an administrator to run 'apt-get install slurmctld slurmd slurm-client munge'." >&2
    exit 1
  }
  as_root=(sudo)
fi
command -v apt-get >/dev/null || {
  echo "The Slurm tests need ${missing[*]} on the PATH; this system has no apt-get to install them with." >&2
  exit 1
}
export DEBIAN_FRONTEND=noninteractive
"${as_root[@]}" apt-get update -qq
"${as_root[@]}" apt-get install -y -qq --no-install-recommends slurmctld slurmd slurm-client munge
