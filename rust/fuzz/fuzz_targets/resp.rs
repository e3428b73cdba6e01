//! Answers of a Redis server from any bytes, in any pieces: nothing panics, the pieces do not matter, and what was found complete can be read.
#![no_main]

use iii_fast_core::remote::resp::{Reply, Scanner};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|data: &[u8]| {
    let Some((&step, bytes)) = data.split_first() else { return };
    let mut rest = bytes;
    loop {
        let whole = Scanner::default().scan(rest);
        let mut pieces = Scanner::default();
        let step = usize::from(step).max(1);
        let in_pieces = (0..rest.len()).step_by(step).chain([rest.len()]).map(|end| pieces.scan(&rest[..end]));
        let in_pieces = in_pieces.into_iter().find(|found| *found != Ok(None)).unwrap_or(Ok(None));
        assert_eq!(whole, in_pieces);
        let Ok(Some(end)) = whole else { return };
        assert!(0 < end && end <= rest.len());
        let (reply, after) = rest.split_at(end);
        assert!(Reply::read(reply).is_ok());
        rest = after;
    }
});
