#!/usr/bin/env bash
# Instructions of a forward and a backward, by valgrind, for three small cases. Instructions hardly vary from run to run, where times
# on a shared machine do. Fails if a case takes over 10 % more than benches/instructions.txt says; --store writes that file anew.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v valgrind > /dev/null; then
  echo "valgrind is not installed: no instructions counted"
  exit 0
fi

stored=benches/instructions.txt
program=$(cargo bench --bench instructions --no-run 2>&1 | sed -n 's/^ *Executable .*(\(.*\))$/\1/p')
[ -n "$program" ] || { echo "the benchmark does not build: cargo bench --bench instructions --no-run"; exit 1; }
out=$(mktemp)
trap 'rm -f "$out"' EXIT

count() {
  valgrind --tool=callgrind --callgrind-out-file="$out" "$program" "$1" "$2" > "$out.log" 2>&1 || { cat "$out.log"; exit 1; }
  rm -f "$out.log"
  sed -n 's/^totals: *//p' "$out"
}

status=0
if [ "${1:-}" = --store ]; then
  : > "$stored"
fi
for case in qp-dense-20-cold mpc-20-warm exp-200-cold; do
  # Start-up is in both counts.
  few=$(count "$case" 4)
  many=$(count "$case" 12)
  now=$(((many - few) / 8))
  before=$(sed -n "s/^$case //p" "$stored" 2> /dev/null || true)
  if [ "${1:-}" = --store ]; then
    echo "$case $now" >> "$stored"
    echo "$case: $now instructions a step"
  elif [ -z "$before" ]; then
    echo "$case: $now instructions a step, none stored"
  else
    echo "$case: $now instructions a step, $((100 * now / before)) % of $before"
    if [ $((10 * now)) -gt $((11 * before)) ]; then
      echo "$case is more than 10 % worse"
      status=1
    fi
  fi
done
exit $status
