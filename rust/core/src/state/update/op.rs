//! The six operations, checked and ready to be applied.

use super::names::{NameId, Names};
use super::number::Number;

/// The operations of the protocol, by the name that `type` gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OpKind {
    Set,
    Merge,
    Increment,
    Decrement,
    Append,
    Remove,
}

impl OpKind {
    pub(super) const ALL: [OpKind; 6] =
        [OpKind::Set, OpKind::Merge, OpKind::Increment, OpKind::Decrement, OpKind::Append, OpKind::Remove];

    pub(super) fn name(self) -> &'static str {
        match self {
            OpKind::Set => "set",
            OpKind::Merge => "merge",
            OpKind::Increment => "increment",
            OpKind::Decrement => "decrement",
            OpKind::Append => "append",
            OpKind::Remove => "remove",
        }
    }
}

/// One operation that has passed every check that does not need the stored value.
#[derive(Debug)]
pub(super) struct Op<'a> {
    pub(super) kind: OpKind,
    /// Member names from the root down; none for the root itself.
    pub(super) path: Vec<NameId>,
    pub(super) action: Action<'a>,
}

/// What an operation does at its path. Values are JSON text.
#[derive(Debug)]
pub(super) enum Action<'a> {
    Set(&'a str),
    Merge(Vec<(NameId, &'a str)>),
    /// `by` is none when it is a whole number out of range: then it fails wherever it is applied.
    Add {
        by: Option<Number>,
        negative: bool,
    },
    Append(&'a str),
    Remove,
}

/// The path as error texts show it: `root`, the one segment, or `[a, b]`.
pub(super) fn show(path: &[NameId], names: &Names<'_>) -> String {
    match path {
        [] => "root".to_owned(),
        [one] => names.text(*one).to_owned(),
        many => {
            let segments: Vec<&str> = many.iter().map(|id| names.text(*id)).collect();
            format!("[{}]", segments.join(", "))
        }
    }
}

/// Why one operation was skipped; the others still apply.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpError {
    /// Index in `ops`.
    pub op_index: usize,
    /// `<op>.<what>`, as section 9.3 of the protocol lists them.
    pub code: String,
    /// Names path, what was found and what was expected.
    pub message: String,
}

impl OpError {
    /// `doc_url` of every entry.
    pub const DOC_URL: &str = "https://iii.dev/docs/workers/iii-state#error-codes";
}

/// An [`OpError`] that does not know its index and operation yet.
#[derive(Debug)]
pub(super) struct Problem {
    /// The code behind `<op>.`.
    what: &'static str,
    message: String,
}

impl Problem {
    pub(super) fn new(what: &'static str, message: String) -> Self {
        Problem { what, message }
    }

    pub(super) fn of(self, op_index: usize, kind: OpKind) -> OpError {
        OpError { op_index, code: format!("{}.{}", kind.name(), self.what), message: self.message }
    }
}
