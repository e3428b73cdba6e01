//! One mutation of state, and the event it becomes.

use super::stored::Stored;
use crate::codec::json::write_string;
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
    /// `old_value`, `new_value`.
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
        Stored::write_or_null(self.old.as_ref(), out);
        out.bytes(b",\"new_value\":");
        Stored::write_or_null(self.new.as_ref(), out);
        out.bytes(b"}");
    }
}
