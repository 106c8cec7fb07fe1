//! What marks an internal backend by default.
//!
//! Sources: the recommended labels of Kubernetes, the labels that the operators of databases and brokers set, IANA's registry
//! of ports and the documentation of the products.

use super::settings::{OnUnknown, Ports, Settings};

/// Words for what a thing is.
const ROLES: &[&str] = &[
    "database",
    "db",
    "datastore",
    "cache",
    "queue",
    "broker",
    "message-queue",
    "messaging",
    "backend",
    "storage",
    "primary",
    "replica",
    "secondary",
];

/// Names of products.
const PRODUCTS: &[&str] = &[
    "postgresql",
    "postgres",
    "mysql",
    "mariadb",
    "mongodb",
    "redis",
    "valkey",
    "memcached",
    "kafka",
    "zookeeper",
    "rabbitmq",
    "nats",
    "cassandra",
    "scylla",
    "elasticsearch",
    "opensearch",
    "etcd",
    "clickhouse",
    "cockroachdb",
    "neo4j",
    "couchdb",
    "influxdb",
    "minio",
    "vault",
    "consul",
];

/// Words for a tier.
const TIERS: &[&str] = &["backend", "data", "database", "db", "cache"];

/// Labels that an operator sets on what it runs, whatever their value.
const OPERATORS: [&str; 5] = [
    "cassandra.datastax.com/cluster",
    "cnpg.io/cluster",
    "elasticsearch.k8s.elastic.co/cluster-name",
    "postgres-operator.crunchydata.com/cluster",
    "strimzi.io/cluster",
];

/// Ports that hardly anything else uses.
const STRICT: [u16; 45] = [
    1433, 1521, 2181, 2375, 2376, 2379, 2380, 2888, 3306, 3888, 4369, 5432, 5433, 5671, 5672, 5984, 6379, 6380, 6432,
    7199, 7474, 7687, 9042, 9092, 9094, 9160, 9200, 9300, 10250, 10255, 11210, 11211, 15672, 16379, 19530, 25672,
    26257, 26379, 27017, 27018, 27019, 28015, 33060, 47500, 61616,
];

/// Ports that other things use, too.
const AMBIGUOUS: [u16; 30] = [
    389, 636, 1883, 2049, 3000, 3100, 4222, 5000, 5601, 6222, 6333, 6443, 6650, 7000, 7001, 8086, 8091, 8123, 8200,
    8222, 8300, 8500, 8529, 8883, 9000, 9090, 9093, 9411, 9876, 50000,
];

/// Port names and application protocols.
const NAMES: &[&str] = &[
    "postgres",
    "postgresql",
    "pgsql",
    "mysql",
    "mariadb",
    "mssql",
    "ms-sql-s",
    "oracle",
    "mongo",
    "mongodb",
    "redis",
    "valkey",
    "sentinel",
    "memcache",
    "memcached",
    "cassandra",
    "cql",
    "elasticsearch",
    "opensearch",
    "kafka",
    "zookeeper",
    "amqp",
    "amqps",
    "rabbitmq",
    "epmd",
    "nats",
    "etcd",
    "ldap",
    "clickhouse",
    "couchdb",
    "neo4j",
    "bolt",
];

pub(crate) fn settings() -> Settings {
    Settings {
        labels: marks(),
        selectors: marks(),
        namespace_labels: vec![],
        ports: Ports { strict: STRICT.to_vec(), ambiguous: AMBIGUOUS.to_vec() },
        names: words(NAMES),
        allow_internal_lb: false,
        protect_labels: false,
        on_unknown: OnUnknown::Deny,
        coerce: false,
        coerce_existing: false,
    }
}

fn marks() -> Vec<(String, Vec<String>)> {
    let mut marks = vec![];
    for (key, values) in [
        ("app", PRODUCTS),
        ("app.kubernetes.io/component", ROLES),
        ("app.kubernetes.io/name", PRODUCTS),
        ("role", TIERS),
        ("tier", TIERS),
        ("type", TIERS),
    ] {
        marks.push((key.to_owned(), words(values)));
    }
    for key in OPERATORS {
        marks.push((key.to_owned(), vec![]));
    }
    marks
}

fn words(texts: &[&str]) -> Vec<String> {
    let mut words = vec![];
    for text in texts {
        words.push((*text).to_owned());
    }
    words
}
