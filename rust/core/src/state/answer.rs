//! Results of `state::*` in either codec (the wire's rule 18, docs/state.md).

use super::form::{Form, JsonForm, MsgpackForm};
use super::stored::Stored;
use super::update::{OpError, Updated};
use super::{Entry, OpResult, Page, Swapped, cursor};
use crate::codec::Codec;
use crate::codec::transcode::Inexpressible;
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

    /// Turns the values in it into `codec`, in which it can be written then.
    ///
    /// # Errors
    /// The first thing in a value that `codec` does not have, with its place in the answer.
    #[inline]
    pub fn turn(&mut self, codec: Codec) -> Result<(), Inexpressible> {
        match self {
            Answer::Value(stored) => stored.turn(codec),
            Answer::Set { old, new } => turn_old_and_new(old.as_mut(), Some(new), codec),
            Answer::Absent | Answer::Groups(_) | Answer::Keys(_) | Answer::Written { .. } | Answer::Deleted { .. } => {
                Ok(())
            }
            _ => self.turn_many(codec),
        }
    }

    fn turn_many(&mut self, codec: Codec) -> Result<(), Inexpressible> {
        match self {
            Answer::Values(values) => turn_all("", values, |stored| stored.turn(codec)),
            Answer::Updated(updated) => turn_old_and_new(updated.old.as_mut(), updated.new.as_mut(), codec),
            Answer::Entry(entry) => turn_at(".value", Some(&mut entry.stored), codec),
            Answer::ValuesOrNull(entries) => {
                turn_all(".values", entries, |entry| entry.as_mut().map_or(Ok(()), |entry| entry.stored.turn(codec)))
            }
            Answer::Entries(entries) => turn_all(".entries", entries, |entry| {
                turn_at(".value", entry.as_mut().map(|entry| &mut entry.stored), codec)
            }),
            Answer::Page(page) => {
                turn_all(".entries", &mut page.entries, |(_, stored)| turn_at("[1]", Some(stored), codec))
            }
            Answer::Swapped(swapped) => turn_at(".current", swapped.current.as_mut().map(|(stored, _)| stored), codec),
            Answer::Committed { results, .. } => turn_all(".results", results, |result| match result {
                OpResult::Set { old, new } => turn_old_and_new(old.as_mut(), Some(new), codec),
                OpResult::Updated(updated) => turn_old_and_new(updated.old.as_mut(), updated.new.as_mut(), codec),
                OpResult::Deleted(old) => turn_at("", old.as_mut(), codec),
            }),
            _ => Ok(()),
        }
    }

    /// How many bytes [`Answer::write_to`] puts out.
    pub fn len(&self, codec: Codec) -> usize {
        if let Answer::Value(stored) = self {
            return stored.len();
        }
        let mut length = Length(0);
        self.write_to(codec, &mut length);
        length.0
    }

    /// Puts `result` into `out`, in the codec into which it was turned; nothing when absent.
    pub fn write_to(&self, codec: Codec, out: &mut impl Parts) {
        match (self, codec) {
            (Answer::Value(stored), _) => stored.write_to(out),
            (_, Codec::Json) => self.write(&mut JsonForm::new(out)),
            (_, Codec::Msgpack) => self.write(&mut MsgpackForm(out)),
        }
    }

    fn write(&self, out: &mut impl Form) {
        match self {
            Answer::Absent => {}
            Answer::Value(stored) => out.stored(stored),
            Answer::Set { old, new } => write_old_and_new(old.as_ref(), Some(new), &[], out),
            Answer::Updated(updated) => write_updated(updated, out),
            Answer::Values(values) => out.all(values, |out, value| out.stored(value)),
            Answer::Groups(groups) => write_names("\"groups\":", groups, out),
            Answer::Keys(keys) => write_names("\"keys\":", keys, out),
            Answer::Entry(entry) => write_entry(entry, out),
            Answer::ValuesOrNull(entries) => {
                write_only("\"values\":", out, |out| {
                    out.all(entries, |out, entry| out.stored_or_null(entry.as_ref().map(|entry| &entry.stored)));
                });
            }
            Answer::Entries(entries) => write_only("\"entries\":", out, |out| {
                out.all(entries, |out, entry| match entry {
                    Some(entry) => write_entry(entry, out),
                    None => out.boolean(None),
                });
            }),
            Answer::Page(page) => write_page(page, out),
            Answer::Swapped(swapped) => write_swapped(swapped, out),
            Answer::Written { written, version } => write_count("\"written\":", *written, *version, out),
            Answer::Deleted { deleted, version } => write_count("\"deleted\":", *deleted, *version, out),
            Answer::Committed { results, version } => write_committed(results, *version, out),
            Answer::CheckFailed { index, scope, key, version } => {
                write_failed("\"failed_check\":", (*index, scope, key), out, |out| {
                    out.name("\"version\":");
                    out.number_or_null(*version);
                });
            }
            Answer::OpFailed { index, scope, key, errors } => {
                write_failed("\"failed_op\":", (*index, scope, key), out, |out| write_errors(errors, out));
            }
        }
    }
}

fn turn_at(place: &str, stored: Option<&mut Stored>, codec: Codec) -> Result<(), Inexpressible> {
    stored.map_or(Ok(()), |stored| stored.turn(codec)).map_err(|error| error.within(place))
}

#[inline]
fn turn_old_and_new(old: Option<&mut Stored>, new: Option<&mut Stored>, codec: Codec) -> Result<(), Inexpressible> {
    turn_at(".old_value", old, codec)?;
    turn_at(".new_value", new, codec)
}

fn turn_all<T>(
    place: &str,
    items: &mut [T],
    turn: impl Fn(&mut T) -> Result<(), Inexpressible>,
) -> Result<(), Inexpressible> {
    items
        .iter_mut()
        .enumerate()
        .try_for_each(|(index, item)| turn(item).map_err(|error| error.within(&format!("{place}[{index}]"))))
}

fn write_old_and_new(old: Option<&Stored>, new: Option<&Stored>, errors: &[OpError], out: &mut impl Form) {
    out.map(if errors.is_empty() { 2 } else { 3 });
    out.name("\"old_value\":");
    out.stored_or_null(old);
    out.name("\"new_value\":");
    out.stored_or_null(new);
    if !errors.is_empty() {
        write_errors(errors, out);
    }
    out.end_map();
}

fn write_updated(Updated { old, new, errors, .. }: &Updated, out: &mut impl Form) {
    write_old_and_new(old.as_ref(), new.as_ref(), errors, out);
}

/// A map of one member.
fn write_only<F: Form>(name: &'static str, out: &mut F, value: impl FnOnce(&mut F)) {
    out.map(1);
    out.name(name);
    value(out);
    out.end_map();
}

/// A further member `errors`.
fn write_errors(errors: &[OpError], out: &mut impl Form) {
    out.name("\"errors\":");
    out.all(errors, |out, error| {
        out.map(4);
        out.name("\"op_index\":");
        out.number(error.op_index as u64);
        out.name("\"code\":");
        out.text(&error.code);
        out.name("\"message\":");
        out.text(&error.message);
        out.name("\"doc_url\":");
        out.text(OpError::DOC_URL);
        out.end_map();
    });
}

fn write_names(member: &'static str, names: &[Box<str>], out: &mut impl Form) {
    write_only(member, out, |out| out.all(names, |out, name| out.text(name)));
}

fn write_entry(entry: &Entry, out: &mut impl Form) {
    out.map(3);
    out.name("\"value\":");
    out.stored(&entry.stored);
    out.name("\"version\":");
    out.number(entry.version);
    out.name("\"expires_at\":");
    out.number_or_null(entry.expires_at);
    out.end_map();
}

fn write_page(page: &Page, out: &mut impl Form) {
    out.map(4);
    out.name("\"entries\":");
    out.all(&page.entries, |out, (key, stored)| {
        out.array(2);
        out.text(key);
        out.stored(stored);
        out.end_array();
    });
    out.name("\"next_cursor\":");
    match page.next {
        Some(seq) => out.text(&cursor::text(seq)),
        None => out.boolean(None),
    }
    out.name("\"done\":");
    out.boolean(Some(page.next.is_none()));
    out.name("\"total\":");
    out.number(page.total);
    out.end_map();
}

fn write_swapped(Swapped { swapped, current }: &Swapped, out: &mut impl Form) {
    out.map(3);
    out.name("\"swapped\":");
    out.boolean(Some(*swapped));
    out.name("\"current\":");
    out.stored_or_null(current.as_ref().map(|(stored, _)| stored));
    out.name("\"version\":");
    out.number_or_null(current.as_ref().map(|(_, version)| *version));
    out.end_map();
}

fn write_count(member: &'static str, count: u64, version: Option<u64>, out: &mut impl Form) {
    out.map(2);
    out.name(member);
    out.number(count);
    out.name("\"version\":");
    out.number_or_null(version);
    out.end_map();
}

fn write_committed(results: &[OpResult], version: Option<u64>, out: &mut impl Form) {
    out.map(3);
    out.name("\"committed\":");
    out.boolean(Some(true));
    out.name("\"version\":");
    out.number_or_null(version);
    out.name("\"results\":");
    out.all(results, |out, result| match result {
        OpResult::Set { old, new } => write_old_and_new(old.as_ref(), Some(new), &[], out),
        OpResult::Updated(updated) => write_updated(updated, out),
        OpResult::Deleted(old) => out.stored_or_null(old.as_ref()),
    });
    out.end_map();
}

/// An answer that says what failed, where, and why.
fn write_failed<F: Form>(
    what: &'static str,
    (index, scope, key): (usize, &str, &str),
    out: &mut F,
    why: impl FnOnce(&mut F),
) {
    out.map(2);
    out.name("\"committed\":");
    out.boolean(Some(false));
    out.name(what);
    out.map(4);
    out.name("\"index\":");
    out.number(index as u64);
    out.name("\"scope\":");
    out.text(scope);
    out.name("\"key\":");
    out.text(key);
    why(out);
    out.end_map();
    out.end_map();
}

/// Counts what is put into it.
struct Length(usize);

impl Parts for Length {
    fn bytes(&mut self, bytes: &[u8]) {
        self.0 += bytes.len();
    }
    fn shared(&mut self, bytes: &std::sync::Arc<[u8]>, from: usize) {
        self.0 += bytes.len() - from;
    }
}
