//! TLS between a socket and whatever it carries: bytes in, bytes out. Knows no socket; the protocol itself is `rustls`.

use iii_fast_core::outbox::Outbox;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection};
use std::io::{self, Read, Write};
use std::sync::Arc;

/// Plaintext that is encrypted before the socket gets its turn.
const CHUNK_BYTES: usize = 64 << 10;

/// Why a certificate and a key cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// Not PEM, or nothing of that kind in it.
    #[error("the {what} cannot be read: {error}")]
    Pem {
        /// `certificate` or `key`.
        what: &'static str,
        /// Why.
        error: rustls::pki_types::pem::Error,
    },
    /// There is no certificate.
    #[error("the certificate file has no certificate in it")]
    NoCertificate,
    /// They do not fit each other, or are of a kind that is not supported.
    #[error("certificate and key cannot be used: {0}")]
    Unusable(#[from] rustls::Error),
}

/// Who we are to our peers: a certificate chain with its key.
#[derive(Clone)]
pub struct TlsIdentity(Arc<ServerConfig>);

impl TlsIdentity {
    /// Of PEM texts: the chain, our own certificate first, and its private key (PKCS#8, PKCS#1 or SEC1, without password).
    pub fn from_pem(certificates: &[u8], key: &[u8]) -> Result<Self, TlsError> {
        let chain = CertificateDer::pem_slice_iter(certificates)
            .collect::<Result<Vec<_>, _>>()
            .map_err(|error| TlsError::Pem { what: "certificate", error })?;
        if chain.is_empty() {
            return Err(TlsError::NoCertificate);
        }
        let key = PrivateKeyDer::from_pem_slice(key).map_err(|error| TlsError::Pem { what: "key", error })?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(TlsIdentity(Arc::new(config)))
    }

    /// For a connection that was just accepted.
    pub fn connection(&self) -> Result<TlsConnection, TlsError> {
        Ok(TlsConnection { tls: ServerConnection::new(self.0.clone())?, closing: false })
    }
}

/// What has come of some bytes of the peer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Received {
    /// More may come.
    Open,
    /// The peer has said that it sends no more.
    Closed,
}

/// One connection's keys and what is under way between its two sides.
pub struct TlsConnection {
    tls: ServerConnection,
    closing: bool,
}

impl TlsConnection {
    /// Takes bytes of the socket; what they hold for us is appended to `plain`. After an error the connection is of no use,
    /// but what it wants to write should still be: it tells the peer why.
    pub fn receive(&mut self, mut bytes: &[u8], plain: &mut Vec<u8>) -> Result<Received, rustls::Error> {
        while !bytes.is_empty() {
            let before = bytes.len();
            // Reading from a slice fails only when rustls' own bound on what it keeps is reached.
            if self.tls.read_tls(&mut bytes).is_err() || bytes.len() == before {
                return Err(rustls::Error::General("more was sent than a record may have".into()));
            }
            let state = self.tls.process_new_packets()?;
            let begin = plain.len();
            plain.resize(begin + state.plaintext_bytes_to_read(), 0);
            let read = self.tls.reader().read_exact(&mut plain[begin..]);
            debug_assert!(read.is_ok());
            if state.peer_has_closed() {
                return Ok(Received::Closed);
            }
        }
        Ok(Received::Open)
    }

    /// Encrypts bytes for the peer, or keeps them until the handshake is over; then [`Self::take`] has them.
    pub fn send(&mut self, plain: &[u8]) -> io::Result<()> {
        self.tls.set_buffer_limit(None);
        self.tls.writer().write_all(plain)
    }

    /// Says that we send no more.
    pub fn close(&mut self) {
        if !self.closing {
            self.closing = true;
            self.tls.send_close_notify();
        }
    }

    /// What must be written to the socket.
    pub fn take(&mut self) -> io::Result<Vec<u8>> {
        let mut bytes = Vec::new();
        while self.tls.wants_write() {
            self.tls.write_tls(&mut bytes)?;
        }
        Ok(bytes)
    }

    /// Whether something waits for [`Self::write`].
    pub(crate) fn wants_write(&self) -> bool {
        self.tls.wants_write()
    }

    /// Whether nothing of ours can be encrypted yet.
    pub(crate) fn is_handshaking(&self) -> bool {
        self.tls.is_handshaking()
    }

    /// Writes what the socket takes of what waits here and then in `outbox`, about `budget` bytes. Returns whether it took any.
    pub(crate) fn write(&mut self, outbox: &mut Outbox, socket: &mut impl Write, budget: usize) -> io::Result<bool> {
        self.tls.set_buffer_limit(Some(CHUNK_BYTES));
        let (mut left, mut took) = (budget, false);
        loop {
            while self.tls.wants_write() {
                match self.tls.write_tls(socket) {
                    Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                    Ok(_) => took = true,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(took),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) => return Err(error),
                }
            }
            if outbox.is_empty() || left == 0 || self.tls.is_handshaking() {
                return Ok(took);
            }
            let first = outbox.first();
            let accepted = self.tls.writer().write(&first[..first.len().min(CHUNK_BYTES)])?;
            outbox.advance(accepted);
            left = left.saturating_sub(accepted);
        }
    }
}
