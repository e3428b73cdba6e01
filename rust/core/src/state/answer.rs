//! Results of `state::*` as JSON (the wire's rule 18).

use super::stored::Stored;
use super::striped_map::Written;
use super::update::{OpError, Updated};
use crate::codec::json::write_string;
use crate::log::Receipt;
use crate::parts::Parts;

/// The result of a state call.
#[derive(Debug, Clone)]
pub enum Answer {
    /// No `result` member: get and delete of a key that is not there.
    Absent,
    /// get and delete: the value itself.
    Value(Stored),
    /// set: the value before, if there was one, and the one that is stored now.
    Set {
        /// The value before.
        old: Option<Stored>,
        /// The value that was set.
        new: Stored,
    },
    /// list: the values in insertion order.
    Values(Vec<Stored>),
    /// `list_groups`: the scopes, sorted.
    Groups(Vec<Box<str>>),
    /// update.
    Updated(Updated),
}

/// An answer, and what the session has to know about it.
#[derive(Debug, Clone)]
pub struct Served {
    /// The result.
    pub answer: Answer,
    /// The write, if something was written: its reply waits until it is acknowledged, and one that cannot be sent says that it was
    /// applied (the wire's rule 23).
    pub receipt: Option<Receipt>,
    /// Whether the write left something that the control loop has to be woken for.
    pub noted: bool,
}

impl Served {
    pub(super) fn read(answer: Answer) -> Self {
        Served { answer, receipt: None, noted: false }
    }

    pub(super) fn written<T>(written: Written<T>, answer: impl FnOnce(T) -> Answer) -> Self {
        let receipt = written.position.map(|position| Receipt { position, durable: false });
        Served { answer: answer(written.outcome), receipt, noted: written.noted }
    }
}

impl Answer {
    /// Whether the reply has no `result` member.
    pub fn is_absent(&self) -> bool {
        matches!(self, Answer::Absent)
    }

    /// How many bytes [`Answer::write_to`] puts out.
    #[allow(clippy::len_without_is_empty)] // see is_absent
    pub fn len(&self) -> usize {
        if let Answer::Value(stored) = self {
            return stored.len();
        }
        let mut length = Length(0);
        self.write_to(&mut length);
        length.0
    }

    /// Puts the JSON of `result` into `out`; nothing when absent.
    pub fn write_to(&self, out: &mut impl Parts) {
        match self {
            Answer::Absent => {}
            Answer::Value(stored) => stored.write_to(out),
            Answer::Set { old, new } => write_old_and_new(old.as_ref(), Some(new), &[], out),
            Answer::Updated(Updated { old, new, errors, .. }) => {
                write_old_and_new(old.as_ref(), new.as_ref(), errors, out);
            }
            Answer::Values(values) => {
                out.bytes(b"[");
                for (i, stored) in values.iter().enumerate() {
                    if i > 0 {
                        out.bytes(b",");
                    }
                    stored.write_to(out);
                }
                out.bytes(b"]");
            }
            Answer::Groups(groups) => write_groups(groups, out),
        }
    }
}

fn write_old_and_new(old: Option<&Stored>, new: Option<&Stored>, errors: &[OpError], out: &mut impl Parts) {
    out.bytes(b"{\"old_value\":");
    Stored::write_or_null(old, out);
    out.bytes(b",\"new_value\":");
    Stored::write_or_null(new, out);
    for (i, error) in errors.iter().enumerate() {
        out.bytes(if i == 0 { b",\"errors\":[" } else { b"," });
        let mut text = Vec::new();
        error.write_json(&mut text);
        out.bytes(&text);
    }
    out.bytes(if errors.is_empty() { b"}" } else { b"]}" });
}

fn write_groups(groups: &[Box<str>], out: &mut impl Parts) {
    out.bytes(b"{\"groups\":[");
    let mut text = Vec::new();
    for (i, group) in groups.iter().enumerate() {
        text.clear();
        if i > 0 {
            text.push(b',');
        }
        write_string(&mut text, group);
        out.bytes(&text);
    }
    out.bytes(b"]}");
}

/// Counts what is put into it.
struct Length(usize);

impl Parts for Length {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
    fn shared(&mut self, bytes: &std::sync::Arc<[u8]>) {
        self.0 += bytes.len();
    }
}
