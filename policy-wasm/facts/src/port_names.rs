//! Words in names of ports that say how something is spoken to, or which part of it, and not what
//! it is.

/// Transports and protocols that names of ports begin with (`tcp-postgresql`, `grpc-web-nats`).
/// Sources: Istio's protocol selection (`name: <protocol>[-<suffix>]`), Bitnami's charts (`tcp-`,
/// `http-`, `tls-`), and the standard values of `appProtocol`. What Istio's list has besides
/// (`mongo`, `mysql`, `redis`) is a backend's own name.
pub static PROTOCOL_PREFIXES: [&str; 21] = [
    "grpc", "grpcs", "h2", "h2c", "h3", "hbone", "http", "https", "mtls", "proxy", "quic", "sctp",
    "ssl", "starttls", "tcp", "thrift", "tls", "udp", "web", "ws", "wss",
];

/// Words for the part of a backend, or for who it is for (`db-postgres`, `external-kafka`).
/// `metrics`, `exporter`, `ui` and the like are not among them: what they begin is no backend's own
/// port.
pub static PART_PREFIXES: [&str; 23] = [
    "backend", "broker", "cache", "client", "cluster", "database", "db", "default", "external",
    "internal", "main", "master", "mq", "node", "nosql", "plain", "primary", "private", "public",
    "queue", "replica", "server", "sql",
];
