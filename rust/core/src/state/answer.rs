//! Results of `state::*` as JSON (the wire's rule 18, docs/state.md).

use super::stored::Stored;
use super::update::{OpError, Updated};
use super::{Entry, OpResult, Page, Swapped, cursor};
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
    /// get with `meta`.
    Entry(Entry),
    /// `get_many`.
    ValuesOrNull(Vec<Option<Entry>>),
    /// `get_many` with `meta`.
    Entries(Vec<Option<Entry>>),
    /// `list_keys`.
    Keys(Vec<Box<str>>),
    /// `list_entries`.
    Page(Page),
    /// `compare-and-set`.
    Swapped(Swapped),
    /// `set_many`.
    Written {
        /// How many entries.
        written: u64,
        /// Their version.
        version: Option<u64>,
    },
    /// `delete_many` and `delete_scope`.
    Deleted {
        /// How many keys there were.
        deleted: u64,
        /// Position of the write; none when nothing was there.
        version: Option<u64>,
    },
    /// transact: everything was done.
    Committed {
        /// What each operation came to.
        results: Vec<OpResult>,
        /// Position of the write; none when nothing was changed.
        version: Option<u64>,
    },
    /// transact: nothing was done, because of a check.
    CheckFailed {
        /// Which one.
        index: usize,
        /// Its scope.
        scope: Box<str>,
        /// Its key.
        key: Box<str>,
        /// The version that is there.
        version: Option<u64>,
    },
    /// transact: nothing was done, because of an operation.
    OpFailed {
        /// Which one.
        index: usize,
        /// Its scope.
        scope: Box<str>,
        /// Its key.
        key: Box<str>,
        /// Why.
        errors: Vec<OpError>,
    },
}

/// An answer, and what the session has to know about it.
#[derive(Debug, Clone)]
pub struct Served {
    /// The result.
    pub answer: Answer,
    /// The write, if something was written: its reply waits until it is acknowledged, and one that cannot be sent says
    /// that it was applied (the wire's rule 23).
    pub receipt: Option<Receipt>,
    /// Whether the write left something that the control loop has to be woken for.
    pub noted: bool,
}

impl Served {
    pub(super) fn read(answer: Answer) -> Self {
        Served { answer, receipt: None, noted: false }
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
            Answer::Updated(updated) => write_updated(updated, out),
            Answer::Values(values) => {
                out.bytes(b"[");
                write_all(values, out, Stored::write_to);
                out.bytes(b"]");
            }
            Answer::Groups(groups) => write_names("groups", groups, out),
            Answer::Keys(keys) => write_names("keys", keys, out),
            Answer::Entry(entry) => write_entry(entry, out),
            Answer::ValuesOrNull(entries) => {
                out.bytes(b"{\"values\":[");
                write_all(entries, out, |entry, out| {
                    Stored::write_or_null(entry.as_ref().map(|entry| &entry.stored), out);
                });
                out.bytes(b"]}");
            }
            Answer::Entries(entries) => {
                out.bytes(b"{\"entries\":[");
                write_all(entries, out, |entry, out| match entry {
                    Some(entry) => write_entry(entry, out),
                    None => out.bytes(b"null"),
                });
                out.bytes(b"]}");
            }
            Answer::Page(page) => write_page(page, out),
            Answer::Swapped(swapped) => write_swapped(swapped, out),
            Answer::Written { written, version } => write_count("written", *written, *version, out),
            Answer::Deleted { deleted, version } => write_count("deleted", *deleted, *version, out),
            Answer::Committed { results, version } => write_committed(results, *version, out),
            Answer::CheckFailed { index, scope, key, version } => {
                write_failed("failed_check", *index, scope, key, out);
                out.bytes(format!(",\"version\":{}}}}}", number(*version)).as_bytes());
            }
            Answer::OpFailed { index, scope, key, errors } => {
                write_failed("failed_op", *index, scope, key, out);
                write_errors(errors, out);
                out.bytes(b"}}");
            }
        }
    }
}

fn write_all<T, P: Parts>(items: &[T], out: &mut P, write: impl Fn(&T, &mut P)) {
    for (i, item) in items.iter().enumerate() {
        if i > 0 {
            out.bytes(b",");
        }
        write(item, out);
    }
}

fn write_old_and_new(old: Option<&Stored>, new: Option<&Stored>, errors: &[OpError], out: &mut impl Parts) {
    out.bytes(b"{\"old_value\":");
    Stored::write_or_null(old, out);
    out.bytes(b",\"new_value\":");
    Stored::write_or_null(new, out);
    if !errors.is_empty() {
        write_errors(errors, out);
    }
    out.bytes(b"}");
}

fn write_updated(Updated { old, new, errors, .. }: &Updated, out: &mut impl Parts) {
    write_old_and_new(old.as_ref(), new.as_ref(), errors, out);
}

/// A further member `errors`.
fn write_errors(errors: &[OpError], out: &mut impl Parts) {
    let mut text = b",\"errors\":[".to_vec();
    write_all(errors, &mut text, |error, text| error.write_json(text));
    text.push(b']');
    out.bytes(&text);
}

fn write_names(member: &str, names: &[Box<str>], out: &mut impl Parts) {
    out.bytes(format!("{{\"{member}\":[").as_bytes());
    let mut text = Vec::new();
    for (i, name) in names.iter().enumerate() {
        text.clear();
        if i > 0 {
            text.push(b',');
        }
        write_string(&mut text, name);
        out.bytes(&text);
    }
    out.bytes(b"]}");
}

fn write_entry(entry: &Entry, out: &mut impl Parts) {
    out.bytes(b"{\"value\":");
    entry.stored.write_to(out);
    let rest = format!(",\"version\":{},\"expires_at\":{}}}", entry.version, number(entry.expires_at));
    out.bytes(rest.as_bytes());
}

fn write_page(page: &Page, out: &mut impl Parts) {
    let mut text = b"{\"entries\":[".to_vec();
    for (i, (key, stored)) in page.entries.iter().enumerate() {
        text.extend_from_slice(if i > 0 { b",[" } else { b"[" });
        write_string(&mut text, key);
        text.push(b',');
        out.bytes(&text);
        stored.write_to(out);
        text.clear();
        text.push(b']');
    }
    let next = page.next.map_or_else(|| "null".to_owned(), |seq| format!("\"{}\"", cursor::text(seq)));
    let done = page.next.is_none();
    let rest = format!("],\"next_cursor\":{next},\"done\":{done},\"total\":{}}}", page.total);
    text.extend_from_slice(rest.as_bytes());
    out.bytes(&text);
}

fn write_swapped(Swapped { swapped, current }: &Swapped, out: &mut impl Parts) {
    out.bytes(format!("{{\"swapped\":{swapped},\"current\":").as_bytes());
    Stored::write_or_null(current.as_ref().map(|(stored, _)| stored), out);
    let version = number(current.as_ref().map(|(_, version)| *version));
    out.bytes(format!(",\"version\":{version}}}").as_bytes());
}

fn write_count(member: &str, count: u64, version: Option<u64>, out: &mut impl Parts) {
    out.bytes(format!("{{\"{member}\":{count},\"version\":{}}}", number(version)).as_bytes());
}

fn write_committed(results: &[OpResult], version: Option<u64>, out: &mut impl Parts) {
    out.bytes(format!("{{\"committed\":true,\"version\":{},\"results\":[", number(version)).as_bytes());
    write_all(results, out, |result, out| match result {
        OpResult::Set { old, new } => write_old_and_new(old.as_ref(), Some(new), &[], out),
        OpResult::Updated(updated) => write_updated(updated, out),
        OpResult::Deleted(old) => Stored::write_or_null(old.as_ref(), out),
    });
    out.bytes(b"]}");
}

/// The beginning of an answer that says what failed, up to its key.
fn write_failed(what: &str, index: usize, scope: &str, key: &str, out: &mut impl Parts) {
    let mut text = format!("{{\"committed\":false,\"{what}\":{{\"index\":{index},\"scope\":").into_bytes();
    write_string(&mut text, scope);
    text.extend_from_slice(b",\"key\":");
    write_string(&mut text, key);
    out.bytes(&text);
}

/// A number or `null`.
fn number(number: Option<u64>) -> String {
    number.map_or_else(|| "null".to_owned(), |number| number.to_string())
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
