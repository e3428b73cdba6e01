//! What sockets take and have, without encryption; `tls` is between that and the outbox of an encrypted one.
//!
//! Straight to the kernel: the C library's calls are points at which a thread may be cancelled, and say so each time.

use iii_fast_core::outbox::Outbox;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, recv, send};
use std::io::{self, IoSlice};
use std::net::TcpStream;

/// Parts that one call to the system takes.
const SLICES_MAX: usize = 64;

/// Reads once; 0 when the peer sends nothing more.
#[inline]
pub(crate) fn read(socket: &TcpStream, buffer: &mut [u8]) -> io::Result<usize> {
    let (read, _) = recv(socket, buffer, RecvFlags::empty())?;
    Ok(read)
}

/// Writes what the socket takes of `outbox`, about `budget` bytes. Returns whether it took any.
pub(crate) fn write(outbox: &mut Outbox, socket: &TcpStream, budget: usize) -> io::Result<bool> {
    let (mut left, mut took) = (budget, false);
    while !outbox.is_empty() && left > 0 {
        let written = if outbox.is_single() {
            send(socket, outbox.first(), SendFlags::NOSIGNAL)
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outbox.slices(&mut slices);
            rustix::io::writev(socket, &slices[..filled])
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                outbox.advance(n);
                left = left.saturating_sub(n);
                took = true;
            }
            Err(Errno::AGAIN) => break,
            Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(took)
}
