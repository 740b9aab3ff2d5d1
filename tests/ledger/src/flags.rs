//! The flags of the command line, as data: which a release has is what one of the disasters hangs on (a unit that passes
//! `--persist-config` does not start any more from 1.3.2 on).

/// What a flag holds; decides how its text is read and how the usage shows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// `--name`, `--name=false`.
    Bool,
    /// One text.
    Text,
    /// A comma-separated list; repeated flags add up.
    List,
    /// A whole number.
    Number,
    /// A Go duration; kept as text.
    Duration,
}

/// One flag.
#[derive(Clone, Copy, Debug)]
pub struct Flag {
    /// Its name, which is also the key in the environment and the file.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// The value without any setting; `~/` stands for the home folder.
    pub default: &'static str,
    /// The usage text.
    pub help: &'static str,
}

const fn flag(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Flag {
    Flag { name, kind, default, help }
}

/// In every release from 1.0 to 1.12.
pub const CORE: &[Flag] = &[
    flag("debug", Kind::Bool, "false", "Debug mode"),
    flag("otel-metrics", Kind::Bool, "false", "Enable OpenTelemetry metrics support"),
    flag("otel-metrics-exporter", Kind::Text, "stdout", "OpenTelemetry metrics exporter"),
    flag("otel-metrics-exporter-otlp-endpoint", Kind::Text, "", "OpenTelemetry metrics grpc endpoint"),
    flag("otel-metrics-exporter-otlp-insecure", Kind::Bool, "false", "OpenTelemetry metrics grpc insecure"),
    flag("otel-metrics-exporter-otlp-mode", Kind::Text, "grpc", "OpenTelemetry metrics OTLP exporter mode (grpc|http)"),
    flag("otel-traces", Kind::Bool, "false", "Enable OpenTelemetry traces support"),
    flag("otel-traces-batch", Kind::Bool, "false", "Use OpenTelemetry batching"),
    flag("otel-traces-exporter", Kind::Text, "stdout", "OpenTelemetry traces exporter"),
    flag("otel-traces-exporter-jaeger-endpoint", Kind::Text, "", "OpenTelemetry traces Jaeger exporter endpoint"),
    flag("otel-traces-exporter-jaeger-password", Kind::Text, "", "OpenTelemetry traces Jaeger exporter password"),
    flag("otel-traces-exporter-jaeger-user", Kind::Text, "", "OpenTelemetry traces Jaeger exporter user"),
    flag("otel-traces-exporter-otlp-endpoint", Kind::Text, "", "OpenTelemetry traces grpc endpoint"),
    flag("otel-traces-exporter-otlp-insecure", Kind::Bool, "false", "OpenTelemetry traces grpc insecure"),
    flag("otel-traces-exporter-otlp-mode", Kind::Text, "grpc", "OpenTelemetry traces OTLP exporter mode (grpc|http)"),
    flag("server.http.basic_auth", Kind::List, "", "Http basic auth"),
    flag("server.http.bind_address", Kind::Text, "localhost:3068", "API bind address"),
    flag("storage.cache", Kind::Bool, "true", "Storage cache"),
    flag("storage.dir", Kind::Text, "~/.numary/data", "Storage directory (for sqlite)"),
    flag("storage.driver", Kind::Text, "sqlite", "Storage driver"),
    flag("storage.postgres.conn_string", Kind::Text, "postgresql://localhost/postgres", "Postgre connection string"),
    flag("storage.sqlite.db_name", Kind::Text, "numary", "SQLite database name"),
    flag("ui.http.bind_address", Kind::Text, "localhost:3068", "UI bind address"),
];

/// Up to 1.3.1: the list of ledgers that the server remembers, and whether it writes it down.
pub const REMEMBERED_LEDGERS: &[Flag] = &[
    flag("ledgers", Kind::List, "quickstart", "Ledgers"),
    flag("persist-config", Kind::Bool, "true", "Persist config on disk"),
];

/// From 1.3.0 on.
pub const LOCKS_AND_PUBLISHERS: &[Flag] = &[
    flag("lock-strategy", Kind::Text, "memory", "Lock strategy (memory, none, redis)"),
    flag("lock-strategy-redis-duration", Kind::Duration, "1m0s", "Lock duration"),
    flag("lock-strategy-redis-retry", Kind::Duration, "1s", "Retry lock period"),
    flag("lock-strategy-redis-tls-enabled", Kind::Bool, "false", "Use tls on redis"),
    flag("lock-strategy-redis-tls-insecure", Kind::Bool, "false", "Whether redis is trusted or not"),
    flag("lock-strategy-redis-url", Kind::Text, "", "Redis url when using redis locking strategy"),
    flag("publisher-http-enabled", Kind::Bool, "false", "Sent write event to http endpoint"),
    flag("publisher-kafka-broker", Kind::List, "", "Kafka address is kafka enabled"),
    flag("publisher-kafka-enabled", Kind::Bool, "false", "Publish write events to kafka"),
    flag("publisher-kafka-sasl-enabled", Kind::Bool, "false", "Enable SASL authentication on kafka publisher"),
    flag("publisher-kafka-sasl-mechanism", Kind::Text, "", "SASL authentication mechanism"),
    flag("publisher-kafka-sasl-password", Kind::Text, "", "SASL password"),
    flag("publisher-kafka-sasl-scram-sha-size", Kind::Number, "512", "SASL SCRAM SHA size"),
    flag("publisher-kafka-sasl-username", Kind::Text, "", "SASL username"),
    flag("publisher-kafka-tls-enabled", Kind::Bool, "false", "Enable TLS to connect on kafka"),
    flag("publisher-topic-mapping", Kind::List, "", "Define mapping between internal event types and topics"),
];

/// From 1.3.2 and 1.4.0 on.
pub const AUTH_AND_SEGMENT: &[Flag] = &[
    flag("auth-basic-credentials", Kind::List, "", "HTTP basic auth credentials (<username>:<password>)"),
    flag("auth-basic-enabled", Kind::Bool, "false", "Enable basic auth"),
    flag("auth-bearer-audience", Kind::List, "", "Allowed audiences"),
    flag("auth-bearer-audiences-wildcard", Kind::Bool, "false", "Don't check audience"),
    flag("auth-bearer-enabled", Kind::Bool, "false", "Enable bearer auth"),
    flag("auth-bearer-introspect-url", Kind::Text, "", "OAuth2 introspect URL"),
    flag("segment-enabled", Kind::Bool, "true", "Is segment enabled"),
    flag("segment-heartbeat-interval", Kind::Duration, "24h0m0s", "Segment heartbeat interval"),
    flag("segment-write-key", Kind::Text, "", "Segment write key"),
];

/// From 1.3.2 on, but not in 1.4.0.
pub const BEARER_SCOPES: &[Flag] = &[flag(
    "auth-bearer-use-scopes",
    Kind::Bool,
    "false",
    "Use scopes as defined by rfc https://datatracker.ietf.org/doc/html/rfc8693",
)];

/// The name of the ledger that `storage init` creates, from 1.3.2 on; no key of the configuration.
pub const STORAGE_NAME: Flag = flag("name", Kind::Text, "default", "Ledger name");
