//! One value in an update: text until an operation reaches into it.

use super::names::Names;
use super::number::Number;
use super::object::Object;
use crate::codec::json::{JsonError, JsonKind, kind};

const WHITE_SPACE: [char; 4] = [' ', '\t', '\n', '\r'];

/// A JSON value, opened only as far as the operations so far went.
#[derive(Debug)]
pub(super) struct Node<'a> {
    form: Form<'a>,
    /// The value, once an operation has reached into it; `form` counts no more then.
    object: Option<Box<Object<'a>>>,
}

#[derive(Debug)]
enum Form<'a> {
    Text(&'a str),
    Number(Number),
    Grown(Grown<'a>),
}

/// An array or string that was appended to: many appends cost as much as the text they add.
#[derive(Debug)]
struct Grown<'a> {
    kind: JsonKind,
    /// Up to the last element, or the last character.
    base: &'a str,
    added: String,
    /// From there on.
    tail: &'a str,
}

/// Why a value cannot be appended.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Mismatch {
    /// The target is of a kind that nothing can be appended to.
    Target(JsonKind),
    /// The target is a string and the value of this kind is none.
    NotAString(JsonKind),
}

impl<'a> Node<'a> {
    pub(super) fn text(text: &'a str) -> Self {
        Node { form: Form::Text(text), object: None }
    }

    pub(super) fn count(number: Number) -> Self {
        Node { form: Form::Number(number), object: None }
    }

    pub(super) fn empty_object() -> Self {
        Node::text("{}")
    }

    /// The array with one element.
    pub(super) fn array_of(element: &str) -> Self {
        let grown = Grown { kind: JsonKind::Array, base: "[", added: element.to_owned(), tail: "]" };
        Node { form: Form::Grown(grown), object: None }
    }

    /// What appending to nothing gives: a string itself, anything else as an array of it.
    pub(super) fn appended_to_nothing(value: &'a str) -> Self {
        if kind(value) == JsonKind::String { Node::text(value) } else { Node::array_of(value) }
    }

    pub(super) fn kind(&self) -> JsonKind {
        match &self.form {
            _ if self.object.is_some() => JsonKind::Object,
            Form::Text(text) => kind(text),
            Form::Number(_) => JsonKind::Number,
            Form::Grown(grown) => grown.kind,
        }
    }

    /// Of a number the one to count from, none inside when it is out of range; of anything else its kind.
    pub(super) fn number(&self) -> Result<Option<Number>, JsonKind> {
        match self.form {
            Form::Text(text) if self.kind() == JsonKind::Number => Ok(Number::parse(text)),
            Form::Number(number) if self.object.is_none() => Ok(Some(number)),
            _ => Err(self.kind()),
        }
    }

    /// Opens an object; nothing else can be opened.
    pub(super) fn open(&mut self, names: &Names<'_>) -> Result<Option<&mut Object<'a>>, JsonError> {
        if self.kind() == JsonKind::Object { self.open_or_replace(names).map(Some) } else { Ok(None) }
    }

    /// Opens an object; what is none becomes an empty one.
    pub(super) fn open_or_replace(&mut self, names: &Names<'_>) -> Result<&mut Object<'a>, JsonError> {
        match self.object {
            Some(ref mut object) => Ok(object),
            None => {
                let text = match self.form {
                    Form::Text(text) if kind(text) == JsonKind::Object => text,
                    _ => "{}",
                };
                Ok(self.object.insert(Box::new(Object::open(text, names)?)))
            }
        }
    }

    /// Pushes `value` into an array, or its content onto a string; null becomes what appending to nothing gives.
    pub(super) fn append(&mut self, value: &'a str) -> Result<(), Mismatch> {
        if self.object.is_some() {
            return Err(Mismatch::Target(JsonKind::Object));
        }
        match &mut self.form {
            Form::Grown(grown) => return grown.push(value),
            Form::Text(text) => match kind(text) {
                JsonKind::Array | JsonKind::String => {
                    let mut grown = Grown::open(text);
                    grown.push(value)?;
                    self.form = Form::Grown(grown);
                }
                JsonKind::Null => *self = Node::appended_to_nothing(value),
                other => return Err(Mismatch::Target(other)),
            },
            Form::Number(_) => return Err(Mismatch::Target(JsonKind::Number)),
        }
        Ok(())
    }

    /// Appends the text of the value as it is now.
    pub(super) fn write(&self, names: &Names<'_>, out: &mut Vec<u8>) {
        if let Some(object) = &self.object {
            return object.write(names, out);
        }
        match &self.form {
            Form::Text(text) => out.extend_from_slice(text.as_bytes()),
            Form::Number(number) => number.write(out),
            Form::Grown(grown) => {
                for text in [grown.base, &grown.added, grown.tail] {
                    out.extend_from_slice(text.as_bytes());
                }
            }
        }
    }
}

impl<'a> Grown<'a> {
    /// Opens the text of an array or a string.
    fn open(text: &'a str) -> Self {
        let kind = kind(text);
        let inner = &text[..text.len() - 1];
        let base = if kind == JsonKind::Array { inner.trim_end_matches(WHITE_SPACE) } else { inner };
        // The white space of an empty array stays behind what is added.
        Grown { kind, base, added: String::new(), tail: &text[base.len()..] }
    }

    fn push(&mut self, value: &str) -> Result<(), Mismatch> {
        if self.kind == JsonKind::Array {
            if self.base.len() + self.added.len() > 1 {
                self.added.push(',');
            }
            self.added.push_str(value);
            return Ok(());
        }
        match kind(value) {
            JsonKind::String => self.added.push_str(&value[1..value.len() - 1]),
            other => return Err(Mismatch::NotAString(other)),
        }
        Ok(())
    }
}
