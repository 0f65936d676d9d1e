#!/usr/bin/env bash
# A SLURM cluster on this machine for tests, without systemd, database, cgroups or GPU: start.sh STATE_FOLDER [NODES]
# Of several nodes, each has all of the machine's cores, and a share of its memory.
# Needs root and Debian's slurm-wlm and munge. Overwrites /etc/slurm: the caller keeps and restores what was there.
set -euo pipefail
state=$1
n_nodes=${2:-1}
host=$(hostname -s)
nodes=$(seq --format='node%g' --separator=, "$n_nodes")
if [ "$n_nodes" = 1 ]; then nodes=$host; fi
if (exec 3<> /dev/tcp/127.0.0.1/6817) 2> /dev/null; then
  echo "a SLURM controller runs on this machine already" >&2
  exit 1
fi
cores=$(env -u OMP_NUM_THREADS nproc) # nproc counts the threads that are allowed, not the cores
memory_mb=$(awk '/^MemTotal/ {print int($2 / 1024) - 512}' /proc/meminfo)
mkdir -p /etc/slurm /run/munge "$state/controller"

# munge signs what the daemons say to each other.
chown munge:munge /run/munge /etc/munge /var/lib/munge /var/log/munge
chmod 755 /run/munge
if [ ! -s /etc/munge/munge.key ]; then
  (umask 077; head -c 1024 /dev/urandom > /etc/munge/munge.key)
  chown munge:munge /etc/munge/munge.key
fi
if ! munge -n > /dev/null 2>&1; then
  runuser -u munge -- /usr/sbin/munged
  cp /run/munge/munged.pid "$state/munged.pid"
fi

# /etc/slurm is the only place that jobs look at: SLURM_CONF is dropped inside a job step.
# Both partitions have the same nodes: without a higher PriorityTier of `cpu`, a job that waits for the GPU holds up all others.
# The GPU is /dev/null: requests are counted and jobs see CUDA_VISIBLE_DEVICES, nothing more.
cat > /etc/slurm/gres.conf <<CONF
AutoDetect=off
NodeName=$nodes Name=gpu Type=pretend File=/dev/null
CONF
cat > /etc/slurm/slurm.conf <<CONF
ClusterName=test
SlurmctldHost=$host(127.0.0.1)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
MpiDefault=none
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
JobCompType=jobcomp/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core_Memory
SchedulerType=sched/backfill
SchedulerParameters=bf_interval=1,sched_interval=2,sched_min_interval=0
MinJobAge=3600
ReturnToService=2
InactiveLimit=0
KillWait=5
Waittime=0
StateSaveLocation=$state/controller
SlurmdSpoolDir=$state/%n
SlurmctldPidFile=$state/slurmctld.pid
SlurmdPidFile=$state/slurmd-%n.pid
SlurmctldLogFile=$state/slurmctld.log
SlurmdLogFile=$state/slurmd-%n.log
GresTypes=gpu
PartitionName=cpu Nodes=$nodes Default=YES MaxTime=INFINITE PriorityTier=2 State=UP
PartitionName=gpu Nodes=$nodes MaxTime=INFINITE State=UP
CONF
port=17000
for node in ${nodes//,/ }; do
  mkdir -p "$state/$node"
  port=$((port + 1))
  cat >> /etc/slurm/slurm.conf << CONF
NodeName=$node NodeHostname=$host NodeAddr=127.0.0.1 Port=$port CPUs=$cores Boards=1 SocketsPerBoard=1 CoresPerSocket=$cores ThreadsPerCore=1 RealMemory=$((memory_mb / n_nodes)) Gres=gpu:pretend:1 State=UNKNOWN
CONF
done

slurmctld -c
for node in ${nodes//,/ }; do slurmd -c -N "$node"; done
for _ in $(seq 60); do
  idle=$(sinfo --noheader --Node --partition=cpu --format=%T 2> /dev/null | grep -c idle) || true
  if [ "$idle" = "$n_nodes" ]; then exit 0; fi
  sleep 0.5
done
echo "not all nodes became idle in 30 s" >&2
tail -n 20 "$state"/*.log >&2
exit 1
