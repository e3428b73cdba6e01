//! The working copy of one update: operations are applied to it one after the other (section 9.3 of the protocol).

use super::names::{NameId, Names};
use super::node::{Mismatch, Node};
use super::number::Number;
use super::op::{Action, Op, Problem, show};
use crate::codec::json::{JsonError, JsonKind};

/// Whether an operation changed something, or why it cannot be applied.
type Outcome = Result<bool, Problem>;

/// A broken stored text ends the whole update.
type Applied = Result<Outcome, JsonError>;

/// The value while operations are applied.
pub(super) struct Document<'d> {
    names: &'d Names<'d>,
    /// None until something is stored or an operation has changed something.
    root: Option<Node<'d>>,
}

impl<'d> Document<'d> {
    pub(super) fn new(stored: Option<&'d str>, names: &'d Names<'d>) -> Self {
        Document { names, root: stored.map(Node::text) }
    }

    /// The text of the value as it is now; none when there is nothing.
    pub(super) fn text(&self) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        self.root.as_ref()?.write(self.names, &mut text);
        Some(text)
    }

    /// Applies one operation; one that fails leaves everything as it was.
    pub(super) fn apply(&mut self, op: &'d Op<'d>) -> Applied {
        match &op.action {
            Action::Set(value) => self.set(op, value),
            Action::Merge(puts) => self.merge(op, puts),
            Action::Add { by, negative } => self.add(op, *by, *negative),
            Action::Append(value) => self.append(op, value),
            Action::Remove => self.remove(op),
        }
    }

    fn set(&mut self, op: &Op<'_>, value: &'d str) -> Applied {
        match op.path.split_last() {
            None => self.root = Some(Node::text(value)),
            Some((&name, _)) => match self.root_takes_members(op) {
                Err(problem) => return Ok(Err(problem)),
                Ok(()) => {
                    let names = self.names;
                    *self.make_root().open_or_replace(names)?.edit_or_add(name) = Node::text(value);
                }
            },
        }
        Ok(Ok(true))
    }

    fn merge(&mut self, op: &Op<'_>, puts: &[(NameId, &'d str)]) -> Applied {
        if op.path.is_empty()
            && let Err(problem) = self.root_takes_members(op)
        {
            return Ok(Err(problem));
        }
        let into_object = self.find(&op.path)?.is_some_and(|node| node.kind() == JsonKind::Object);
        if into_object && puts.is_empty() {
            return Ok(Ok(false));
        }
        let names = self.names;
        let object = self.reach(&op.path)?.open_or_replace(names)?;
        for &(name, value) in puts {
            *object.edit_or_add(name) = Node::text(value);
        }
        Ok(Ok(true))
    }

    fn add(&mut self, op: &Op<'_>, by: Option<Number>, negative: bool) -> Applied {
        if !op.path.is_empty()
            && let Err(problem) = self.root_takes_members(op)
        {
            return Ok(Err(problem));
        }
        let names = self.names;
        let number = self.find(&op.path)?.map_or(Ok(Some(Number::ZERO)), |node| node.number());
        let sum = match number {
            Err(found) => {
                let text = format!("Expected number at path '{}', got {}.", show(&op.path, names), found.name());
                return Ok(Err(Problem::new("not_number", text)));
            }
            Ok(number) => number.zip(by).and_then(|(number, by)| number.add(by, negative)),
        };
        let Some(sum) = sum else {
            let text = format!("Number overflow at path '{}'.", show(&op.path, names));
            return Ok(Err(Problem::new("not_number", text)));
        };
        self.place(&op.path, Node::count(sum))?;
        Ok(Ok(true))
    }

    fn append(&mut self, op: &Op<'_>, value: &'d str) -> Applied {
        if !op.path.is_empty()
            && let Err(problem) = self.root_takes_members(op)
        {
            return Ok(Err(problem));
        }
        let names = self.names;
        match self.find(&op.path)?.map(|node| node.append(value)) {
            Some(Ok(())) => {
                self.reach(&op.path)?;
            }
            Some(Err(mismatch)) => return Ok(Err(append_mismatch(&op.path, names, mismatch))),
            None => {
                // A leaf that is missing below the first level always becomes an array.
                let deep = op.path.len() > 1;
                let node = if deep { Node::array_of(value) } else { Node::appended_to_nothing(value) };
                self.place(&op.path, node)?;
            }
        }
        Ok(Ok(true))
    }

    fn remove(&mut self, op: &Op<'_>) -> Applied {
        let Some(root) = &mut self.root else { return Ok(Ok(false)) };
        match op.path.split_last() {
            None => *root = Node::text("null"),
            Some((&name, _)) => match root.open(self.names)? {
                Some(object) => return Ok(Ok(object.remove(name))),
                None => return Ok(self.root_takes_members(op).map(|()| false)),
            },
        }
        Ok(Ok(true))
    }

    /// Whether the root is an object, or nothing yet and so becomes one.
    fn root_takes_members(&self, op: &Op<'_>) -> Result<(), Problem> {
        let Some(root) = &self.root else { return Ok(()) };
        if root.kind() == JsonKind::Object {
            return Ok(());
        }
        let (verb, path, found) = (op.kind.name(), show(&op.path, self.names), root.kind().name());
        let text = format!("Cannot {verb} at path '{path}': target is {found}, expected object.");
        Err(Problem::new("target_not_object", text))
    }

    /// The root, `{}` where there was nothing.
    fn make_root(&mut self) -> &mut Node<'d> {
        self.root.get_or_insert_with(Node::empty_object)
    }

    /// What is at a path, without changing anything.
    fn find(&mut self, path: &[NameId]) -> Result<Option<&mut Node<'d>>, JsonError> {
        let Some(mut node) = self.root.as_mut() else { return Ok(None) };
        for &name in path {
            let Some(object) = node.open(self.names)? else { return Ok(None) };
            let Some(member) = object.get(name) else { return Ok(None) };
            node = member;
        }
        Ok(Some(node))
    }

    /// What is at a path, to be edited: steps that are missing or no objects become objects, a missing end `{}`.
    fn reach(&mut self, path: &[NameId]) -> Result<&mut Node<'d>, JsonError> {
        let names = self.names;
        let mut node = self.make_root();
        for &name in path {
            node = node.open_or_replace(names)?.edit_or_add(name);
        }
        Ok(node)
    }

    fn place(&mut self, path: &[NameId], node: Node<'d>) -> Result<(), JsonError> {
        if path.is_empty() {
            self.root = Some(node);
        } else {
            *self.reach(path)? = node;
        }
        Ok(())
    }
}

fn append_mismatch(path: &[NameId], names: &Names<'_>, mismatch: Mismatch) -> Problem {
    let path = show(path, names);
    let text = match mismatch {
        Mismatch::NotAString(found) => format!("Expected string append value at path '{path}', got {}.", found.name()),
        Mismatch::Target(found) => {
            let found = found.name();
            format!(
                "Cannot append at path '{path}': target is {found}, expected array, string, null, or missing field."
            )
        }
    };
    Problem::new("type_mismatch", text)
}
