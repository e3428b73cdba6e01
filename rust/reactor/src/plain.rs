//! Writing to a socket that is not encrypted; `tls` is for the others.

use iii_fast_core::outbox::Outbox;
use std::io::{self, IoSlice, Write};

/// Parts that one call to the system takes.
const SLICES_MAX: usize = 64;

/// Writes what the socket takes of `outbox`, about `budget` bytes. Returns whether it took any.
pub(crate) fn write(outbox: &mut Outbox, socket: &mut impl Write, budget: usize) -> io::Result<bool> {
    let (mut left, mut took) = (budget, false);
    while !outbox.is_empty() && left > 0 {
        let written = if outbox.is_single() {
            socket.write(outbox.first())
        } else {
            let mut slices = [IoSlice::new(&[]); SLICES_MAX];
            let filled = outbox.slices(&mut slices);
            socket.write_vectored(&slices[..filled])
        };
        match written {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(n) => {
                outbox.advance(n);
                left = left.saturating_sub(n);
                took = true;
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(took)
}
