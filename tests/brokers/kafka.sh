#!/usr/bin/env bash
# Runs a Kafka broker (KRaft, one node) on loopback, in the foreground:
#
#   tests/brokers/kafka.sh DIRECTORY [PORT [CONTROLLER_PORT]]
#
# DIRECTORY keeps its data; a file `extra.conf` in it adds broker settings. Topics are created on first use, with one
# partition.
set -euo pipefail
jars=$("$(dirname "${BASH_SOURCE[0]}")/jars.sh" kafka)
mkdir -p "${1:?directory}/tmp"
directory=$(cd "$1" && pwd) port=${2:-9092} controller_port=${3:-9093}
rm -rf "$directory"/tmp/*

cat > "$directory/log4j2.xml" <<'XML'
<?xml version="1.0" encoding="UTF-8"?>
<Configuration status="warn" shutdownHook="disable">
  <Appenders>
    <Console name="out"><PatternLayout pattern="%d{ISO8601} %-5p [%t] %c{1} - %m%n"/></Console>
  </Appenders>
  <Loggers>
    <Root level="info"><AppenderRef ref="out"/></Root>
  </Loggers>
</Configuration>
XML
cat > "$directory/server.properties" <<CONF
process.roles=broker,controller
node.id=1
controller.quorum.bootstrap.servers=127.0.0.1:$controller_port
listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
advertised.listeners=PLAINTEXT://127.0.0.1:$port,CONTROLLER://127.0.0.1:$controller_port
listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=PLAINTEXT
controller.listener.names=CONTROLLER
log.dirs=$directory/log
num.partitions=1
auto.create.topics.enable=true
# a single node: every internal topic has one copy, and few partitions
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=1
group.initial.rebalance.delay.ms=0
num.network.threads=2
num.io.threads=4
log.cleaner.dedupe.buffer.size=33554432
CONF
if [[ -f $directory/extra.conf ]]; then cat "$directory/extra.conf" >> "$directory/server.properties"; fi

java=("${JAVA_HOME:+$JAVA_HOME/bin/}java" -Xms128m -Xmx512m -XX:+UseG1GC -XX:+ExitOnOutOfMemoryError
  -Djava.io.tmpdir="$directory/tmp" -Djava.net.preferIPv4Stack=true
  -Dlog4j2.configurationFile="$directory/log4j2.xml" -Dkafka.logs.dir="$directory" -cp "$jars/*")
if [[ ! -f $directory/log/meta.properties ]]; then
  # a Kafka id is 16 random bytes in unpadded base64url, and must not begin with a dash
  until id=$(head -c 16 /dev/urandom | base64 | tr '+/' '-_' | cut -c1-22) && [[ $id != -* ]]; do :; done
  "${java[@]}" kafka.tools.StorageTool format --standalone --cluster-id "$id" --config "$directory/server.properties"
fi
exec "${java[@]}" kafka.Kafka "$directory/server.properties"
