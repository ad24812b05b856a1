#!/bin/sh
# Run a command whose temporary files are gone after it. They lie in memory where the machine has plenty of it: the
# tests make some hundred thousand small files, each of which costs eight times the CPU on a disk.
memory=/dev/shm
plenty_kb=12000000
free_kb=$(awk '/^MemAvailable:/ {print $2}' /proc/meminfo 2>/dev/null)
room_kb=$(df -Pk "$memory" 2>/dev/null | awk 'NR == 2 {print $4}')
parent=${TMPDIR:-/tmp}
if [ -w "$memory" ] && [ "${free_kb:-0}" -gt "$plenty_kb" ] && [ "${room_kb:-0}" -gt "$plenty_kb" ]; then
    parent=$memory
fi
TMPDIR=$(mktemp -d "$parent/datamart-tests.XXXXXX") || exit
export TMPDIR
# PostgreSQL's programs, which root has another user run, lie in it.
chmod 711 "$TMPDIR"
trap 'rm -rf "$TMPDIR"' EXIT
trap 'exit 130' INT
trap 'exit 143' TERM
"$@"
