//! Words in names of ports that name a protocol or a part of a backend, and not the backend itself.

/// Transports and protocols that names of ports begin with (`tcp-postgresql`, `grpc-web-nats`).
/// Sources: Istio's protocol selection (`name: <protocol>[-<suffix>]`), Bitnami's charts (`tcp-`,
/// `http-`, `tls-`), and the standard values of `appProtocol`. The other words of Istio's list
/// (`mongo`, `mysql`, `redis`) are names of backends.
pub static PROTOCOL_PREFIXES: [&str; 21] = [
    "grpc", "grpcs", "h2", "h2c", "h3", "hbone", "http", "https", "mtls", "proxy", "quic", "sctp",
    "ssl", "starttls", "tcp", "thrift", "tls", "udp", "web", "ws", "wss",
];

/// Words for a part of a backend, or for its audience (`db-postgres`, `external-kafka`). `metrics`,
/// `exporter`, `ui` and similar words are not in the list: a port with such a name is not the
/// backend's own.
pub static PART_PREFIXES: [&str; 23] = [
    "backend", "broker", "cache", "client", "cluster", "database", "db", "default", "external",
    "internal", "main", "master", "mq", "node", "nosql", "plain", "primary", "private", "public",
    "queue", "replica", "server", "sql",
];
