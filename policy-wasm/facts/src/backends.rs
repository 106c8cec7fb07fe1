//! Ports, labels and names of internal backends: databases, caches, brokers, and other parts that
//! only their own cluster should reach.
//!
//! Sources: the recommended labels of Kubernetes, the labels that the operators of databases and
//! brokers set, IANA's registry of ports and the documentation of the products.

/// A port that marks an internal backend.
#[derive(Debug, Clone, Copy)]
pub struct KnownPort {
    /// The number.
    pub number: u16,
    /// The product that listens there.
    #[cfg(not(target_family = "wasm"))]
    pub used_by: &'static str,
}

#[cfg_attr(
    target_family = "wasm",
    expect(unused_variables, reason = "what listens there is for people")
)]
const fn port(number: u16, used_by: &'static str) -> KnownPort {
    KnownPort {
        number,
        #[cfg(not(target_family = "wasm"))]
        used_by,
    }
}

/// Ports that hardly anything else uses.
pub static STRICT_PORTS: [KnownPort; 45] = [
    port(1433, "Microsoft SQL Server"),
    port(1521, "Oracle Database"),
    port(2181, "ZooKeeper"),
    port(2375, "Docker, unencrypted"),
    port(2376, "Docker"),
    port(2379, "etcd, clients"),
    port(2380, "etcd, peers"),
    port(2888, "ZooKeeper, peers"),
    port(3306, "MySQL, MariaDB"),
    port(3888, "ZooKeeper, election"),
    port(4369, "Erlang's port mapper (RabbitMQ, CouchDB)"),
    port(5432, "PostgreSQL"),
    port(5433, "PostgreSQL, second instance"),
    port(5671, "AMQP with TLS"),
    port(5672, "AMQP"),
    port(5984, "CouchDB"),
    port(6379, "Redis, Valkey"),
    port(6380, "Redis with TLS"),
    port(6432, "PgBouncer"),
    port(7199, "Cassandra, JMX"),
    port(7474, "Neo4j, HTTP"),
    port(7687, "Neo4j, Bolt"),
    port(9042, "Cassandra, CQL"),
    port(9092, "Kafka"),
    port(9094, "Kafka, external listener"),
    port(9160, "Cassandra, Thrift"),
    port(9200, "Elasticsearch, OpenSearch"),
    port(9300, "Elasticsearch, OpenSearch, nodes"),
    port(10250, "kubelet"),
    port(10255, "kubelet, read-only"),
    port(11210, "Couchbase"),
    port(11211, "Memcached"),
    port(15672, "RabbitMQ, management"),
    port(16379, "Redis Cluster, bus"),
    port(19530, "Milvus"),
    port(25672, "RabbitMQ, nodes"),
    port(26257, "CockroachDB"),
    port(26379, "Redis Sentinel"),
    port(27017, "MongoDB"),
    port(27018, "MongoDB, shard"),
    port(27019, "MongoDB, configuration"),
    port(28015, "RethinkDB"),
    port(33060, "MySQL, X protocol"),
    port(47500, "Apache Ignite"),
    port(61616, "ActiveMQ"),
];

/// Ports that other things use, too.
pub static AMBIGUOUS_PORTS: [KnownPort; 30] = [
    port(389, "LDAP"),
    port(636, "LDAP with TLS"),
    port(1883, "MQTT"),
    port(2049, "NFS"),
    port(3000, "Grafana, many web applications"),
    port(3100, "Loki"),
    port(4222, "NATS"),
    port(5000, "container registries, many web applications"),
    port(5601, "Kibana"),
    port(6222, "NATS, cluster"),
    port(6333, "Qdrant"),
    port(6443, "kube-apiserver"),
    port(6650, "Pulsar"),
    port(7000, "Cassandra, nodes"),
    port(7001, "Cassandra, nodes with TLS; WebLogic"),
    port(8086, "InfluxDB"),
    port(8091, "Couchbase, web"),
    port(8123, "ClickHouse, HTTP"),
    port(8200, "Vault"),
    port(8222, "NATS, monitoring"),
    port(8300, "Consul, servers"),
    port(8500, "Consul, HTTP"),
    port(8529, "ArangoDB"),
    port(8883, "MQTT with TLS"),
    port(9000, "MinIO, ClickHouse, SonarQube"),
    port(9090, "Prometheus"),
    port(9093, "Alertmanager"),
    port(9411, "Zipkin"),
    port(9876, "RocketMQ"),
    port(50000, "Jenkins agents, Db2"),
];

/// Words for what a thing is, as values of a label.
pub static ROLES: [&str; 13] = [
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

/// Names of products, as values of a label.
pub static PRODUCTS: [&str; 25] = [
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

/// Words for a tier, as values of a label.
pub static TIERS: [&str; 5] = ["backend", "data", "database", "db", "cache"];

/// Labels that an operator sets on what it runs, whatever their value: cass-operator,
/// CloudNativePG, ECK, Crunchy, Strimzi.
pub static OPERATOR_LABELS: [&str; 5] = [
    "cassandra.datastax.com/cluster",
    "cnpg.io/cluster",
    "elasticsearch.k8s.elastic.co/cluster-name",
    "postgres-operator.crunchydata.com/cluster",
    "strimzi.io/cluster",
];

/// Port names and application protocols.
pub static PROTOCOLS: [&str; 32] = [
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
