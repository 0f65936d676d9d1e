#!/usr/bin/env bash
# Stop what start.sh started, by recorded process id, nodes first: stop.sh STATE_FOLDER
set -u
state=$1
scancel --user=root --state=PENDING,RUNNING 2> /dev/null
for file in "$state"/slurmd-*.pid "$state/slurmctld.pid" "$state/munged.pid"; do
  [ -s "$file" ] || continue
  pid=$(cat "$file")
  kill "$pid" 2> /dev/null
  for _ in $(seq 100); do
    kill -0 "$pid" 2> /dev/null || break
    sleep 0.1
  done
  rm -f "$file"
done
