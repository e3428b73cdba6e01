//! Cursors of `state::list_entries` (docs/state.md, 8): `c` and the insertion number of the last entry looked at.

/// The text of a cursor.
pub(super) fn text(seq: u64) -> String {
    format!("c{seq}")
}

/// The insertion number in a text that [`text`] could have given.
pub(super) fn parse(cursor: &str) -> Option<u64> {
    let digits = cursor.strip_prefix('c')?;
    let canonical = digits.starts_with(|first| matches!(first, '1'..='9'));
    digits.parse().ok().filter(|_| canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_given_is_a_cursor() {
        for seq in [1, 10, 4_294_967_296, u64::MAX] {
            assert_eq!(parse(&text(seq)), Some(seq));
        }
        for other in [
            "",
            "c",
            "1",
            "c0",
            "c01",
            "c+1",
            "c-1",
            "C1",
            "c1 ",
            " c1",
            "c1.0",
            "cx",
            "c18446744073709551616",
            "c\u{661}",
        ] {
            assert_eq!(parse(other), None, "{other}");
        }
    }
}
