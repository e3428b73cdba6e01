//! What the change feed can still tell: the latest records, as they were written, within a bound of bytes.

use crate::codec::json::write_string;
use crate::error::{WireError, code};
use crate::log::record::{self, Broken, Op, kind};
use crate::state::Stored;
use std::collections::VecDeque;
use std::sync::Arc;

/// Records are copied into chunks of this size, or of this part of all that is remembered, since it is forgotten chunk by chunk.
const CHUNK_BYTES: usize = 1 << 20;
const CHUNKS_MIN: usize = 16;
/// More than this part of a chunk is one by itself, so that little of a chunk stays empty.
const OWN_PART: usize = 4;

/// Records that follow each other without a gap.
pub struct Chunk {
    bytes: Vec<u8>,
    last: u64,
}

/// The latest chunks. Changes after `start` are known, up to the end of the last chunk.
pub struct History {
    chunks: VecDeque<Arc<Chunk>>,
    bytes: usize,
    bytes_max: usize,
    /// Of a chunk that is forgotten, for the next one.
    spare: Vec<u8>,
    start: u64,
    begun: bool,
}

/// What a feed wants: changes of one scope and, in it, of keys with a prefix.
#[derive(Debug, Clone, Copy, Default)]
pub struct Filter<'a> {
    /// Only this scope.
    pub scope: Option<&'a str>,
    /// Only keys that begin so.
    pub prefix: Option<&'a str>,
}

/// A piece of the feed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Found {
    /// JSON texts of the changes, in order.
    pub items: Vec<Vec<u8>>,
    /// Up to where the feed has been read, what the filter left out included.
    pub position: u64,
}

impl History {
    /// Remembers at most `bytes_max` bytes, in whole chunks.
    pub fn new(bytes_max: usize) -> Self {
        History { chunks: VecDeque::new(), bytes: 0, bytes_max, spare: Vec::new(), start: 0, begun: false }
    }

    /// Nothing before `position` will come; what was pushed already stays if it ends there.
    pub fn begin(&mut self, position: u64) {
        if self.chunks.back().is_none_or(|last| last.last != position) {
            self.forget(position);
        }
        self.begun = true;
    }

    /// Nothing up to `position` is known any more.
    fn forget(&mut self, position: u64) {
        self.chunks.clear();
        self.bytes = 0;
        self.start = position;
    }

    /// Adds records with the positions `first` to `last`, and leaves `bytes` empty. A gap before them loses what was there.
    pub fn push(&mut self, bytes: &mut Vec<u8>, first: u64, last: u64) {
        if self.chunks.back().map_or(self.start, |chunk| chunk.last) + 1 != first {
            self.forget(first - 1);
        }
        self.push_next(bytes, last);
    }

    /// Adds the records that follow, and leaves `bytes` empty.
    pub fn push_next(&mut self, bytes: &mut Vec<u8>, last: u64) {
        self.bytes += bytes.len();
        let chunk_bytes = CHUNK_BYTES.min(self.bytes_max / CHUNKS_MIN);
        if bytes.len() > chunk_bytes / OWN_PART {
            let mut bytes = std::mem::take(bytes);
            bytes.shrink_to_fit();
            self.chunks.push_back(Arc::new(Chunk { bytes, last }));
        } else {
            self.join(bytes, last, chunk_bytes);
            bytes.clear();
        }
        while self.bytes > self.bytes_max
            && let Some(oldest) = self.chunks.pop_front()
        {
            self.bytes -= oldest.bytes.len();
            self.start = oldest.last;
            self.reuse(oldest, chunk_bytes);
        }
    }

    /// Copies `bytes` behind what the last chunk has, unless it is full or a reader has it.
    fn join(&mut self, bytes: &[u8], last: u64, chunk_bytes: usize) {
        match self.chunks.back_mut().and_then(Arc::get_mut) {
            Some(chunk) if chunk.bytes.len() + bytes.len() <= chunk_bytes => {
                let (len, capacity) = (chunk.bytes.len(), chunk.bytes.capacity());
                if len + bytes.len() > capacity {
                    // Not all of a chunk at once: a reader may end it early.
                    chunk.bytes.reserve_exact((2 * capacity).clamp(len + bytes.len(), chunk_bytes) - len);
                }
                chunk.bytes.extend_from_slice(bytes);
                chunk.last = last;
            }
            _ => {
                let mut own = std::mem::take(&mut self.spare);
                own.reserve_exact(bytes.len());
                own.extend_from_slice(bytes);
                self.chunks.push_back(Arc::new(Chunk { bytes: own, last }));
            }
        }
    }

    /// Keeps the memory of a chunk that was filled by joining.
    fn reuse(&mut self, chunk: Arc<Chunk>, chunk_bytes: usize) {
        if let Some(chunk) = Arc::into_inner(chunk)
            && chunk.bytes.capacity() == chunk_bytes
        {
            self.spare = chunk.bytes;
            self.spare.clear();
        }
    }

    /// The chunks with changes after `since`.
    ///
    /// # Errors
    /// `HISTORY_LOST` when some are not there any more, when none are remembered, or when `since` is after `upto`.
    pub fn after(&self, since: u64, upto: u64) -> Result<Vec<Arc<Chunk>>, WireError> {
        if !self.begun || since < self.start || since > upto {
            let text = format!(
                "changes after position {since} are not known any more; read the entries and watch from position {upto}"
            );
            return Err(WireError::new(code::HISTORY_LOST, text));
        }
        let from = self.chunks.partition_point(|chunk| chunk.last <= since);
        Ok(self.chunks.range(from..).cloned().collect())
    }
}

/// The changes of `chunks` after `since` and up to `upto` that `filter` wants: `count_max` of them and about `bytes_max`
/// bytes, but never part of a commit only.
pub fn read(
    chunks: &[Arc<Chunk>],
    since: u64,
    upto: u64,
    filter: Filter<'_>,
    count_max: usize,
    bytes_max: usize,
) -> Found {
    let mut found = Found { items: Vec::new(), position: since };
    let mut bytes = 0;
    for chunk in chunks {
        let mut rest = chunk.bytes.as_slice();
        while let Ok(record) = record::decode(rest) {
            rest = &rest[record.size()..];
            if record.kind != kind::COMMIT || record.position <= since {
                continue;
            }
            if record.position > upto || found.items.len() >= count_max || bytes >= bytes_max {
                return found;
            }
            let from = found.items.len();
            // Made by ourselves and checked on the way in: it cannot be broken.
            let _ = record::ops(record.body, |op| {
                found.items.extend(change(record.position, &op, filter));
                Ok::<_, Broken>(())
            });
            bytes += found.items[from..].iter().map(Vec::len).sum::<usize>();
            found.position = record.position;
        }
    }
    found
}

/// One change as JSON (docs/state.md, 15), if it is wanted.
fn change(position: u64, op: &Op<'_>, filter: Filter<'_>) -> Option<Vec<u8>> {
    let (scope, key, what) = match *op {
        Op::Set { scope, key, created, .. } => (scope, Some(key), if created { "created" } else { "updated" }),
        Op::Delete { scope, key } => (scope, Some(key), "deleted"),
        Op::Expire { scope, key } => (scope, Some(key), "expired"),
        Op::DeleteScope { scope } => (scope, None, "scope_deleted"),
    };
    let in_scope = filter.scope.is_none_or(|wanted| wanted == scope);
    let in_prefix = key.is_none_or(|key| filter.prefix.is_none_or(|prefix| key.starts_with(prefix)));
    if !in_scope || !in_prefix {
        return None;
    }
    let mut out = format!("{{\"position\":{position},\"type\":\"{what}\",\"scope\":").into_bytes();
    write_string(&mut out, scope);
    if let Some(key) = key {
        out.extend_from_slice(b",\"key\":");
        write_string(&mut out, key);
    }
    if let Op::Set { value, expires_at, .. } = *op {
        out.extend_from_slice(b",\"value\":");
        match Stored::json_text(value) {
            Ok(text) => out.extend_from_slice(&text),
            Err(problem) => {
                out.extend_from_slice(b"null,\"not_expressible\":");
                write_string(&mut out, &problem.within("value").to_string());
            }
        }
        if let Some(expires_at) = expires_at {
            out.extend_from_slice(format!(",\"expires_at\":{expires_at}").as_bytes());
        }
    }
    out.push(b'}');
    Some(out)
}

#[cfg(test)]
#[allow(clippy::unwrap_used)]
mod tests {
    use super::*;
    use crate::state::Stored;

    fn push_sets(history: &mut History, count: u64) {
        for position in 1..=count {
            let mut bytes = Vec::new();
            let key = position.to_string();
            let value = Stored::new("1");
            let op = Op::Set { scope: "s", key: &key, value: &value, created: true, expires_at: None };
            record::encode_commit(&mut bytes, position, &[op]);
            history.push(&mut bytes, position, position);
        }
    }

    /// Whoever writes and waits for the disk leaves one small record after the other.
    #[test]
    fn small_records_share_chunks_so_that_a_feed_far_behind_costs_little() {
        let mut history = History::new(1 << 20);
        history.begin(0);
        push_sets(&mut history, 1000);
        let chunks = history.after(0, 1000).unwrap();
        assert!(chunks.len() <= 4, "{} chunks", chunks.len());
        let found = read(&chunks, 0, 1000, Filter::default(), usize::MAX, usize::MAX);
        assert_eq!((found.items.len(), found.position), (1000, 1000));
        let found = read(&history.after(501, 1000).unwrap(), 501, 1000, Filter::default(), 3, usize::MAX);
        assert_eq!((found.items.len(), found.position), (3, 504));
        // What a reader still has is left as it is.
        history.push_next(&mut chunks[0].bytes.clone(), 1001);
        assert_eq!(read(&chunks, 0, u64::MAX, Filter::default(), usize::MAX, usize::MAX).position, 1000);
    }

    #[test]
    fn a_small_history_forgets_one_record_after_the_other() {
        let mut history = History::new(500);
        history.begin(0);
        push_sets(&mut history, 100);
        let start = (0..100).find(|&since| history.after(since, 100).is_ok()).unwrap();
        let bytes: usize = history.after(start, 100).unwrap().iter().map(|chunk| chunk.bytes.len()).sum();
        assert!(bytes <= 500 && bytes > 400, "{bytes} bytes");
    }

    /// A feed that reads while others write has chunks in its hands, again and again: the next record begins another one.
    #[test]
    fn chunks_that_readers_have_ended_early_keep_no_more_memory_than_is_counted() {
        let bytes_max = 4 << 20;
        let mut history = History::new(bytes_max);
        history.begin(0);
        let value = Stored::new(&format!("\"{}\"", "x".repeat(300)));
        for position in 1..=10_000 {
            let read = (position % 3 == 0).then(|| history.after(position - 1, position - 1).unwrap());
            let last = (position % 3 == 0).then(|| history.chunks.back().cloned());
            let mut bytes = Vec::new();
            let op = Op::Set { scope: "s", key: "k", value: &value, created: true, expires_at: None };
            record::encode_commit(&mut bytes, position, &[op]);
            history.push(&mut bytes, position, position);
            drop((read, last));
        }
        let capacity: usize = history.chunks.iter().map(|chunk| chunk.bytes.capacity()).sum();
        assert!(capacity <= 2 * bytes_max, "{} chunks have {capacity} bytes", history.chunks.len());
    }
}
