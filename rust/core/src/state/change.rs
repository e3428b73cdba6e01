//! One mutation of state, and the event it becomes.

use super::stored::Stored;
use crate::codec::Codec;
use crate::codec::json::write_string;
use crate::codec::transcode::Inexpressible;
use crate::parts::Parts;

/// What a mutation did to its key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// The key did not exist.
    Created,
    /// The key existed, whatever its value was.
    Updated,
    /// The key is gone.
    Deleted,
    /// The key is gone because its time had come.
    Expired,
}

impl ChangeKind {
    /// `event_type` of the event.
    pub fn event_type(self) -> &'static str {
        match self {
            ChangeKind::Created => "state:created",
            ChangeKind::Updated => "state:updated",
            ChangeKind::Deleted => "state:deleted",
            ChangeKind::Expired => "state:expired",
        }
    }
}

/// A value as JSON text; null when there is none, or when JSON cannot express it, which is told.
fn write_value(name: &str, stored: Option<&Stored>, out: &mut impl Parts) -> Option<Inexpressible> {
    let mut stored = stored.cloned();
    let turned = stored.as_mut().map_or(Ok(()), |stored| stored.turn(Codec::Json));
    match (&stored, &turned) {
        (Some(stored), Ok(())) => stored.write_to(out),
        _ => out.bytes(b"null"),
    }
    turned.err().map(|problem| problem.within(name))
}

/// One mutation of a watched scope. `old` and `new` are what was and is stored; at least one of them is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The scope.
    pub scope: Box<str>,
    /// The key.
    pub key: Box<str>,
    /// What happened to it.
    pub kind: ChangeKind,
    /// Insertion order of changes: position of the write, and its place within it.
    pub order: (u64, u64),
    /// The value before; none when created.
    pub old: Option<Stored>,
    /// The value after; none when it is gone.
    pub new: Option<Stored>,
}

impl Change {
    /// Puts the state event into `out` (the wire's rule 22): a JSON object with `type`, `event_type`, `scope`, `key`,
    /// `old_value`, `new_value`; and `not_expressible`, which names what JSON cannot express: that value is null then.
    pub fn write_event(&self, out: &mut impl Parts) {
        let mut head = Vec::with_capacity(96 + self.scope.len() + self.key.len());
        head.extend_from_slice(b"{\"type\":\"state\",\"event_type\":\"");
        head.extend_from_slice(self.kind.event_type().as_bytes());
        head.extend_from_slice(b"\",\"scope\":");
        write_string(&mut head, &self.scope);
        head.extend_from_slice(b",\"key\":");
        write_string(&mut head, &self.key);
        head.extend_from_slice(b",\"old_value\":");
        out.bytes(&head);
        let old = write_value("old_value", self.old.as_ref(), out);
        out.bytes(b",\"new_value\":");
        let new = write_value("new_value", self.new.as_ref(), out);
        if let Some(problem) = old.or(new) {
            let mut member = b",\"not_expressible\":".to_vec();
            write_string(&mut member, &problem.to_string());
            out.bytes(&member);
        }
        out.bytes(b"}");
    }
}
