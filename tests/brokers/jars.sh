#!/usr/bin/env bash
# Prints the directory with a broker's jars, fetched from Maven Central the first time:
#
#   tests/brokers/jars.sh pulsar|kafka
#
# They are kept below $HEADRACE_BROKERS, by default ~/.cache/headrace/brokers.
set -euo pipefail
name=${1:?pulsar or kafka}
pom=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)/pom.xml
version=$(sed -n "s:.*<$name\.version>\(.*\)</.*:\1:p" "$pom")
cache=${HEADRACE_BROKERS:-${XDG_CACHE_HOME:-$HOME/.cache}/headrace/brokers}
jars=$cache/$name-$version

fetch() {
  local fetched
  fetched=$(mktemp -d "$cache/fetching.XXXXXX")
  mvn -B -q -ntp -f "$pom" -P "$name" dependency:copy-dependencies \
    -DincludeScope=runtime -DoutputDirectory="$fetched" >&2 || { rm -rf "$fetched"; return 1; }
  rm -f "$fetched"/*-osx-*.jar "$fetched"/*-windows-*.jar
  mv "$fetched" "$jars"
}

mkdir -p "$cache"
(
  flock 9 # two test runs may start at once
  [[ -d $jars ]] || fetch
) 9>"$cache/lock"
printf '%s\n' "$jars"
