#!/usr/bin/env bash
# A whole Slurm cluster of virtual nodes in one folder, on loopback, beside any other Slurm of this machine.
#
#   scripts/slurm-sandbox.sh start FOLDER [NODES]    then: export SLURM_CONF=FOLDER/slurm.conf
#   scripts/slurm-sandbox.sh stop FOLDER
set -euo pipefail
export PATH="$PATH:/usr/sbin:/sbin"

usage() {
  sed -n '2,5s/^# \{0,1\}//p' "$0" >&2
  exit 2
}

[ $# -ge 2 ] || usage
folder=$(mkdir -p "$2" && cd "$2" && pwd)
nodes=${3:-4}

# Ports that nobody listens on now; a port that is taken in between fails the start, which says so.
free_ports() {
  local found=0 port
  while [ "$found" -lt "$1" ]; do
    port=$((20000 + RANDOM % 12000))
    if ! (exec 3<>"/dev/tcp/127.0.0.1/$port") 2>/dev/null; then
      echo "$port"
      found=$((found + 1))
    fi
  done | sort -u
}

as_munge() {
  if [ "$(id -u)" -eq 0 ]; then
    chown -R munge: "$folder/munge"
    runuser -u munge -- "$@"
  else
    "$@"
  fi
}

configure() {
  local host user ports
  host=$(hostname -s)
  user=$(id -un)
  mapfile -t ports < <(free_ports $((nodes + 3)))
  cat <<CONF
ClusterName=sandbox
SlurmctldHost=$host(127.0.0.1)
SlurmctldPort=${ports[0]}
AuthType=auth/munge
AuthInfo=socket=$folder/munge/socket
CredType=cred/munge
SlurmUser=$user
SlurmdUser=$user
StateSaveLocation=$folder/state
SlurmdSpoolDir=$folder/spool/%n
SlurmctldPidFile=$folder/slurmctld.pid
SlurmdPidFile=$folder/slurmd-%n.pid
SlurmctldLogFile=$folder/slurmctld.log
SlurmdLogFile=$folder/slurmd-%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SwitchType=switch/none
MpiDefault=none
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
PriorityType=priority/basic
ReturnToService=2
JobRequeue=1
KillWait=2
SlurmdParameters=config_overrides
SchedulerParameters=bf_interval=1,sched_interval=2
CONF
  for ((node = 1; node <= nodes; node++)); do
    echo "NodeName=n$node NodeHostname=$host NodeAddr=127.0.0.1 Port=${ports[node]} CPUs=1 State=UNKNOWN"
  done
  echo "PartitionName=main Nodes=ALL Default=YES MaxTime=INFINITE State=UP"
}

start() {
  for program in munged slurmctld slurmd sinfo; do
    command -v "$program" >/dev/null || {
      echo "There is no $program: run scripts/install-slurm.sh." >&2
      exit 1
    }
  done
  mkdir -p "$folder"/{munge,state,spool}
  # munged refuses a folder that others may write; Slurm's programs must reach its socket.
  chmod 755 "$folder"
  chmod 711 "$folder/munge"
  head -c 1024 /dev/urandom >"$folder/munge/key"
  chmod 400 "$folder/munge/key"
  configure >"$folder/slurm.conf"
  export SLURM_CONF="$folder/slurm.conf"
  as_munge munged --key-file="$folder/munge/key" --socket="$folder/munge/socket" --num-threads=2 \
    --pid-file="$folder/munge/pid" --log-file="$folder/munge/log" --seed-file="$folder/munge/seed"
  slurmctld
  for ((node = 1; node <= nodes; node++)); do
    mkdir -p "$folder/spool/n$node"
    slurmd -N "n$node"
  done
  for _ in $(seq 150); do
    if [ "$(sinfo --noheader --states=idle --format=%D 2>/dev/null | tr -d ' ')" = "$nodes" ]; then
      echo "export SLURM_CONF=$folder/slurm.conf"
      return
    fi
    sleep 0.2
  done
  echo "The $nodes nodes were not ready within 30 s. The last that the controller wrote:" >&2
  tail -n 20 "$folder/slurmctld.log" >&2
  stop
  exit 1
}

stop() {
  local pidfile
  # Steps of jobs outlive their slurmd, so they go first.
  if [ -s "$folder/slurmctld.pid" ]; then
    export SLURM_CONF="$folder/slurm.conf"
    timeout 5 scancel --quiet --partition=main 2>/dev/null || true
    for _ in $(seq 40); do
      [ -z "$(timeout 5 squeue --noheader --states=RUNNING,COMPLETING 2>/dev/null)" ] && break
      sleep 0.1
    done
  fi
  # Nothing in the folder is needed any more: the daemons are not given time to tidy up.
  for pidfile in "$folder"/slurmd-*.pid "$folder/slurmctld.pid" "$folder/munge/pid"; do
    [ -s "$pidfile" ] && kill -9 "$(cat "$pidfile")" 2>/dev/null || true
  done
}

case "$1" in
  start) start ;;
  stop) stop ;;
  *) usage ;;
esac
