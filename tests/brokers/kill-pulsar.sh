#!/usr/bin/env bash
# Kills (-9) the Pulsar broker that runs in a directory, starts it again and returns once it is ready; the first call
# just starts one. For `headrace verify crash --log pulsar --kill-broker`:
#
#   tests/brokers/kill-pulsar.sh DIRECTORY [PORT [HTTP_PORT [BOOKIE_PORT]]]
#   kill "$(cat DIRECTORY/pid)"    # ends it
set -euo pipefail
mkdir -p "${1:?directory}"
directory=$(cd "$1" && pwd) http_port=${3:-8080}

if [[ -f $directory/pid ]]; then
  kill -9 "$(cat "$directory/pid")" 2>/dev/null || true
  while kill -0 "$(cat "$directory/pid")" 2>/dev/null; do sleep 0.05; done
fi
setsid "$(dirname "${BASH_SOURCE[0]}")/pulsar.sh" "$directory" "${@:2}" >>"$directory/broker.log" 2>&1 </dev/null &
echo $! >"$directory/pid"
for _ in {1..600}; do
  [[ $(curl -s "http://127.0.0.1:$http_port/admin/v2/brokers/health" || true) == ok ]] && exit 0
  kill -0 "$(cat "$directory/pid")" 2>/dev/null || break
  sleep 0.2
done
echo "no broker runs in $directory: see $directory/broker.log" >&2
exit 1
