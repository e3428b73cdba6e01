//! Every bound of the data plane: name, unit, default, reason.

use crate::state::Quotas;

/// Nested arrays and objects in one message. Rust workers parse at most 127 levels and the engine wraps a value in up
/// to four more (envelope, event, old and new value), so what is accepted can always be delivered.
pub const JSON_DEPTH_MAX: usize = 120;

/// Bytes of one WebSocket message: what the SDKs send and accept at most.
pub const MESSAGE_BYTES_MAX: usize = 64 << 20;

/// Bytes of the scopes, keys and values that one call sets: small operations on large values must not add up to more than
/// memory holds, and a record of the journal says its length in 32 bits.
pub const COMMIT_BYTES_MAX: usize = 256 << 20;

/// From this size on a payload is shared between the map and the outbox instead of copied: below it, copying costs less
/// than one more part in a scattered write.
pub const SHARE_BYTES_MIN: usize = 4 << 10;

/// Members of a call's input that are noted while the message is read. `state::get` and `state::set` have two or three and up to two options; other
/// inputs are read for themselves.
pub const OPENED_MEMBERS_MAX: usize = 4;

/// Messages of one session that are served while another one waits: some 30 microseconds of small calls.
pub const SHARE_MESSAGES_MAX: usize = 32;

/// From this size on a message is read by another thread, and the sockets of its reactor are served meanwhile: below, reading it takes about as long
/// as the way there and back.
pub const LARGE_BYTES_MIN: usize = 1 << 20;

/// Bounds that an installation may set; defaults and reasons are in `iii_fast/contracts.py` and ARCHITECTURE.md.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Largest message in either direction, bytes.
    pub message_bytes_max: usize,
    /// What state may hold.
    pub quotas: Quotas,
    /// Changes that wait for the disk; whoever adds to them is not read beyond that, bytes.
    pub log_bytes_max: usize,
    /// Changes that the feed remembers, bytes of their records.
    pub history_bytes_max: usize,
    /// With more than this in its outbox a peer is no longer read, bytes.
    pub outbox_throttle_bytes: usize,
    /// Beyond this no invocation is sent to a worker, bytes.
    pub outbox_bytes_max: usize,
    /// Invocations one connection may wait for.
    pub invocations_in_flight_max: u32,
    /// Functions one worker may register.
    pub functions_per_worker_max: usize,
    /// Largest `registerfunction` message, bytes: it is kept as it came.
    pub registration_bytes_max: usize,
    /// Silence after which a peer is pinged, ms.
    pub ping_interval_ms: u64,
    /// Silence after which a peer is given up, ms.
    pub silence_ms: u64,
    /// How long a full outbox may make no progress, ms.
    pub stall_ms: u64,
    /// How long the other half of the close handshake may take, ms.
    pub close_ms: u64,
    /// How long a turn looks again and again for what comes next before it waits asleep, us; 0: not at all.
    pub busy_poll_us: u64,
    /// Locks of the state map; a power of two.
    pub stripes: usize,
    /// Of http.
    pub http: HttpLimits,
}

/// Bounds of http clients; all but the last two are of each connection.
#[derive(Debug, Clone)]
pub struct HttpLimits {
    /// A request's head, and the trailers of its body, bytes.
    pub head_bytes_max: usize,
    /// A request's body, bytes.
    pub body_bytes_max: usize,
    /// With more than this waiting for a client, its next request is not begun, bytes.
    pub outbox_bytes_max: usize,
    /// How long a head may take, and a new connection before its first one, ms.
    pub head_ms: u64,
    /// How long a body may take, ms.
    pub body_ms: u64,
    /// How long a connection may be between two requests, ms.
    pub idle_ms: u64,
    /// How long a response may make no progress, ms.
    pub write_ms: u64,
    /// A request that takes longer than this ends when its client sends nothing more, ms.
    pub leave_ms: u64,
    /// How long a connection that ends is still read, so that the client can read its last response, ms.
    pub linger_ms: u64,
    /// As that, bytes.
    pub linger_bytes_max: usize,
    /// How long a request may take, ms.
    pub request_ms: u64,
    /// Connections.
    pub connections_max: usize,
    /// Requests that run; the others wait.
    pub requests_max: usize,
}

impl Default for HttpLimits {
    fn default() -> Self {
        HttpLimits {
            head_bytes_max: 64 << 10,
            body_bytes_max: 1 << 20,
            outbox_bytes_max: 256 << 10,
            head_ms: 10_000,
            body_ms: 30_000,
            idle_ms: 75_000,
            write_ms: 30_000,
            leave_ms: 1_000,
            linger_ms: 2_000,
            linger_bytes_max: 4 << 20,
            request_ms: 30_000,
            connections_max: 4_096,
            requests_max: 1_024,
        }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Limits {
            message_bytes_max: MESSAGE_BYTES_MAX,
            quotas: Quotas::default(),
            log_bytes_max: 64 << 20,
            history_bytes_max: 16 << 20,
            outbox_throttle_bytes: 8 << 20,
            outbox_bytes_max: 160 << 20,
            invocations_in_flight_max: 100_000,
            functions_per_worker_max: 10_000,
            registration_bytes_max: 1 << 20,
            ping_interval_ms: 20_000,
            silence_ms: 60_000,
            stall_ms: 30_000,
            close_ms: 5_000,
            busy_poll_us: 25,
            stripes: 64,
            http: HttpLimits::default(),
        }
    }
}
