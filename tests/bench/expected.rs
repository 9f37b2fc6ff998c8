//! What the operator is to ask of the API server and of AWS, and what a resource is to take. `make bench-quick` compares.

/// Requests of one resource, by verb and kind, a subresource after a slash.
pub type Requests = &'static [(&'static str, &'static str, u64)];

/// What a new resource costs.
pub const NEW: Requests = &[
    ("create", "secrets", 1),
    ("create", "events", 1),
    ("patch", "awsassumeroles/status", 1),
];

/// The calls of `AssumeRole` for a new resource.
pub const NEW_CALLS: u64 = 1;

/// What a refresh costs.
pub const REFRESH: Requests = &[("patch", "secrets", 1), ("patch", "awsassumeroles/status", 1)];

/// The calls of `AssumeRole` for a refresh.
pub const REFRESH_CALLS: u64 = 1;

/// What a restart costs each resource whose Secret is valid, besides reading.
pub const RESTART: Requests = &[];

/// The most that a restart reads for each of them, besides the lists.
pub const RESTART_READS_MAX: u64 = 0;

/// The calls of `AssumeRole` for each of them.
pub const RESTART_CALLS: u64 = 0;

/// The most list requests of a restart for a hundred resources: they come in pages, the resources and their Secrets.
pub const RESTART_LISTS_PER_HUNDRED_MAX: u64 = 12;

/// The most memory of a resource, in bytes, in the development build, after thousands were made at once. It is generous: allocators keep what
/// so many first cycles took.
pub const MEMORY_MAX: f64 = 64.0 * 1024.0;

/// Kinds of which a request belongs to no resource: the operator's own definition, and its leadership.
pub const OF_THE_OPERATOR: &[&str] = &["customresourcedefinitions", "leases"];
