//! The time of one pass: for deadlines, and for the `date` of responses.

/// Bytes of an HTTP date.
const DATE_BYTES: usize = 29;

/// What time it is. Copied into every pass over a connection.
#[derive(Debug, Clone, Copy)]
pub struct Clock {
    /// Monotonic, ms.
    pub now_ms: u64,
    unix_s: u64,
    date: [u8; DATE_BYTES],
}

impl Clock {
    /// The beginning of both times.
    pub fn new() -> Self {
        Clock { now_ms: 0, unix_s: 0, date: date(0) }
    }

    /// Time goes on.
    pub fn set(&mut self, now_ms: u64, unix_ms: u64) {
        self.now_ms = now_ms;
        if unix_ms / 1000 != self.unix_s {
            self.unix_s = unix_ms / 1000;
            self.date = date(self.unix_s);
        }
    }

    /// `Sun, 06 Nov 1994 08:49:37 GMT` (RFC 9110, section 5.6.7).
    pub fn date(&self) -> &[u8] {
        &self.date
    }
}

impl Default for Clock {
    fn default() -> Self {
        Clock::new()
    }
}

const DAYS: [&str; 7] = ["Thu", "Fri", "Sat", "Sun", "Mon", "Tue", "Wed"];
const MONTHS: [&str; 12] = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

fn date(unix_s: u64) -> [u8; DATE_BYTES] {
    let (year, month, day) = crate::utc::calendar(unix_s / 86_400);
    let (hour, minute, second) = (unix_s / 3_600 % 24, unix_s / 60 % 60, unix_s % 60);
    let weekday = DAYS[(unix_s / 86_400 % 7) as usize];
    let month = MONTHS[(month - 1) as usize];
    let text = format!("{weekday}, {day:02} {month} {year:04} {hour:02}:{minute:02}:{second:02} GMT");
    let mut bytes = [b' '; DATE_BYTES];
    bytes.iter_mut().zip(text.bytes()).for_each(|(to, from)| *to = from);
    bytes
}

#[cfg(test)]
mod tests {
    use super::Clock;

    #[test]
    fn the_date_is_that_of_rfc_9110() {
        let mut clock = Clock::new();
        assert_eq!(clock.date(), b"Thu, 01 Jan 1970 00:00:00 GMT");
        clock.set(0, 784_111_777_999);
        assert_eq!(clock.date(), b"Sun, 06 Nov 1994 08:49:37 GMT");
    }
}
