//! Why a run ends early. Wrong answers are not here: they are counted (`meter::Findings`) and the run goes on.

use std::io;

/// Ends the process with exit code 2 and this text on standard error.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The command line cannot be used.
    #[error("{0}")]
    Usage(String),
    /// The system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was being done.
        what: &'static str,
        /// The system's reason.
        source: io::Error,
    },
    /// The other side's upgrade request or response is not a WebSocket upgrade.
    #[error("handshake: {0}")]
    Handshake(String),
    /// A connection broke RFC 6455 or ended while it was needed.
    #[error("connection {peer}: {reason}")]
    Peer {
        /// Index of the connection, in the order in which they were opened.
        peer: usize,
        /// What happened.
        reason: String,
    },
}

/// Names what was being done when the system refused.
pub trait During<T> {
    /// Turns a system error into a `Failure` that says `what` was being done.
    fn during(self, what: &'static str) -> Result<T, Failure>;
}

impl<T, E: Into<io::Error>> During<T> for Result<T, E> {
    fn during(self, what: &'static str) -> Result<T, Failure> {
        self.map_err(|source| Failure::Io { what, source: source.into() })
    }
}
