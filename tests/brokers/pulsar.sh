#!/usr/bin/env bash
# Runs a Pulsar broker (standalone: one broker, one bookie, metadata in RocksDB) on loopback, in the foreground:
#
#   tests/brokers/pulsar.sh DIRECTORY [PORT [HTTP_PORT [BOOKIE_PORT]]]
#
# DIRECTORY keeps its data; a file `extra.conf` in it adds broker settings. It is ready when
# http://127.0.0.1:HTTP_PORT/admin/v2/brokers/health says ok. Every write is in the page cache before it is
# acknowledged, not on the disk: a kill of the broker loses nothing, a crash of the machine may.
set -euo pipefail
jars=$("$(dirname "${BASH_SOURCE[0]}")/jars.sh" pulsar)
mkdir -p "${1:?directory}/tmp"
directory=$(cd "$1" && pwd) port=${2:-6650} http_port=${3:-8080} bookie_port=${4:-3181}
rm -rf "$directory"/tmp/* # native libraries that a killed JVM left

cat > "$directory/log4j2.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="warn" shutdownHook="disable">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p [%t] %c{1} - %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Logger name="RequestLog" level="warn"/>
    <Logger name="org.apache.bookkeeper" level="warn"/>
    <Logger name="org.eclipse.jetty" level="warn"/>
    <Root level="info"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
XML
cat > "$directory/standalone.conf" <<CONF
clusterName=standalone
bindAddress=127.0.0.1
advertisedAddress=127.0.0.1
brokerServicePort=$port
webServicePort=$http_port
webSocketServiceEnabled=false
numIOThreads=4
numHttpServerThreads=8
brokerDeleteInactiveTopicsEnabled=false
forceDeleteNamespaceAllowed=true
# a single node: one copy, nothing to balance
managedLedgerDefaultEnsembleSize=1
managedLedgerDefaultWriteQuorum=1
managedLedgerDefaultAckQuorum=1
managedLedgerCacheSizeMB=64
loadManagerClassName=org.apache.pulsar.broker.loadbalance.NoopLoadManager
loadBalancerEnabled=false
defaultNumberOfNamespaceBundles=4
# the bookie reads this file too
ledgerStorageClass=org.apache.bookkeeper.bookie.storage.ldb.DbLedgerStorage
dbStorage_writeCacheMaxSizeMb=64
dbStorage_readAheadCacheMaxSizeMb=32
dbStorage_rocksDB_blockCacheSize=33554432
journalMaxGroupWaitMSec=1
journalMaxSizeMB=256
journalSyncData=false
diskUsageThreshold=0.99
diskUsageWarnThreshold=0.99
nettyMaxFrameSizeBytes=5253120
# otherwise the bookie takes a random port on every interface
allowLoopback=true
allowEphemeralPorts=true
listeningInterface=lo
CONF
if [[ -f $directory/extra.conf ]]; then cat "$directory/extra.conf" >> "$directory/standalone.conf"; fi

cd "$directory"
exec "${JAVA_HOME:+$JAVA_HOME/bin/}java" \
  -Xms256m -Xmx1g -XX:MaxDirectMemorySize=512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError \
  -Djava.io.tmpdir="$directory/tmp" -Djava.net.preferIPv4Stack=true -Dio.netty.tryReflectionSetAccessible=true \
  -Dlog4j.configurationFile="$directory/log4j2.xml" -Dlog4j.shutdownHookEnabled=false \
  -Dbookkeeper.metadata.bookie.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataBookieDriver \
  -Dbookkeeper.metadata.client.drivers=org.apache.pulsar.metadata.bookkeeper.PulsarMetadataClientDriver \
  --add-opens java.base/java.nio=ALL-UNNAMED --add-opens java.base/jdk.internal.misc=ALL-UNNAMED \
  --add-opens java.base/java.io=ALL-UNNAMED --add-opens java.base/java.util.zip=ALL-UNNAMED \
  --add-opens java.base/sun.net=ALL-UNNAMED --add-opens java.management/sun.management=ALL-UNNAMED \
  -cp "$jars/*" org.apache.pulsar.PulsarStandaloneStarter \
  --config "$directory/standalone.conf" --metadata-dir "$directory/metadata" --bookkeeper-dir "$directory/bookie" \
  --bookkeeper-port "$bookie_port" --advertised-address 127.0.0.1 --no-functions-worker --no-stream-storage
