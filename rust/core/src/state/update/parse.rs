//! From the JSON text of `ops` to checked operations (the wire's rule 17).

use std::borrow::Cow;

use super::check;
use super::names::{NameId, Names};
use super::number::Number;
use super::op::{Action, Op, OpError, OpKind, Problem};
use crate::codec::Value;
use crate::codec::json::{Elements, JsonKind, Member, Members, kind, unescape};
use crate::limits::JSON_DEPTH_MAX;
use crate::state::input::Reason;

/// An operation that can be applied, or why it is skipped.
pub(super) type ParsedOp<'a> = Result<Op<'a>, OpError>;

/// Reads all operations; the first that is malformed fails the whole call. `array` names `ops` in error texts.
pub(super) fn ops<'a>(ops: &'a str, array: &str, names: &mut Names<'a>) -> Result<Vec<ParsedOp<'a>>, Reason> {
    let mut parsed = Vec::new();
    let mut elements = Elements::new(ops, JSON_DEPTH_MAX)?;
    while let Some(op) = elements.next()? {
        let index = parsed.len();
        let written =
            Fields::read(op, Place { array, index, inside: "" }, ["type", "path", "value", "by"])?.operation()?;
        let kind = written.kind;
        parsed.push(written.check(names)?.map_err(|problem| problem.of(index, kind)));
    }
    elements.finish()?;
    Ok(parsed)
}

/// Where in the input something is, for error texts: `ops[3]`, or `ops[3].increment`.
#[derive(Clone, Copy)]
struct Place<'p> {
    array: &'p str,
    index: usize,
    inside: &'static str,
}

impl Place<'_> {
    fn field(self, name: &str) -> String {
        let Place { array, index, inside } = self;
        let dots = [inside, name].map(|part| if part.is_empty() { "" } else { "." });
        format!("{array}[{index}]{}{inside}{}{name}", dots[0], dots[1])
    }
}

/// The text of the members with `names` in one object, and the only member it has, if it has one.
struct Fields<'a, 'p, const N: usize> {
    place: Place<'p>,
    names: [&'static str; N],
    values: [Option<&'a str>; N],
    only: Option<Member<'a>>,
}

impl<'a, 'p, const N: usize> Fields<'a, 'p, N> {
    fn read(object: &'a str, place: Place<'p>, names: [&'static str; N]) -> Result<Self, Reason> {
        if kind(object) != JsonKind::Object {
            return Err(Reason::field_type(&place.field(""), Value::Json(object), "an object"));
        }
        let mut fields = Fields { place, names, values: [None; N], only: None };
        let mut members = Members::new(object, JSON_DEPTH_MAX)?;
        let mut count = 0;
        while let Some(member) = members.next()? {
            count += 1;
            fields.only = (count == 1).then_some(member);
            if let Some(at) = names.iter().position(|name| member.key_is(name))
                && fields.values[at].replace(member.value).is_some()
            {
                return Err(Reason::new(format!("field `{}`: duplicate", place.field(names[at]))));
            }
        }
        Ok(fields)
    }

    fn get(&self, name: &str) -> Option<&'a str> {
        let at = self.names.iter().position(|known| *known == name)?;
        self.values[at]
    }

    fn required(&self, name: &str) -> Result<&'a str, Reason> {
        self.get(name).ok_or_else(|| Reason::new(format!("field `{}`: missing", self.place.field(name))))
    }

    fn string(&self, name: &str) -> Result<Cow<'a, str>, Reason> {
        string(self.place, name, self.required(name)?)
    }

    fn number(&self, name: &str) -> Result<&'a str, Reason> {
        let value = self.required(name)?;
        if kind(value) == JsonKind::Number {
            return Ok(value);
        }
        Err(Reason::field_type(&self.place.field(name), Value::Json(value), "a number"))
    }

    /// The operation, in the order of checks: type, path, by or value.
    fn operation(&self) -> Result<Written<'a>, Reason> {
        if self.get("type").is_none()
            && let Some(only) = self.only
            && let Some(written) = self.short(only)?
        {
            return Ok(written);
        }
        let name = self.string("type")?;
        let Some(kind) = OpKind::ALL.into_iter().find(|kind| kind.name() == name) else {
            let (field, raw) = (self.place.field("type"), self.required("type")?);
            let known = OpKind::ALL.map(OpKind::name).join(", ");
            return Err(Reason::new(format!("field `{field}`: unknown operation {raw}, expected one of {known}")));
        };
        let path = match kind {
            OpKind::Merge | OpKind::Append => self.optional_path()?,
            _ => one_segment(self.string("path")?),
        };
        let operand = match kind {
            OpKind::Set => self.get("value").unwrap_or("null"),
            OpKind::Merge | OpKind::Append => self.required("value")?,
            OpKind::Increment | OpKind::Decrement => self.number("by")?,
            OpKind::Remove => "null",
        };
        Ok(Written { kind, path, operand })
    }

    /// How iii 0.10 wrote operations: `{"set":V}`, `{"merge":V}`, `{"increment":{"field":F,"by":N}}`, `{"decrement":...}`,
    /// `{"remove":F}`.
    fn short(&self, only: Member<'a>) -> Result<Option<Written<'a>>, Reason> {
        let Some(kind) = OpKind::ALL.into_iter().find(|kind| only.key_is(kind.name())) else { return Ok(None) };
        let (path, operand) = match kind {
            OpKind::Append => return Ok(None),
            OpKind::Set | OpKind::Merge => (Vec::new(), only.value),
            OpKind::Remove => (one_segment(string(self.place, kind.name(), only.value)?), "null"),
            OpKind::Increment | OpKind::Decrement => {
                let place = Place { inside: kind.name(), ..self.place };
                let fields = Fields::read(only.value, place, ["field", "by"])?;
                (one_segment(fields.string("field")?), fields.number("by")?)
            }
        };
        Ok(Some(Written { kind, path, operand }))
    }

    /// A path that may be absent, null, a string, or an array of strings.
    fn optional_path(&self) -> Result<Vec<Cow<'a, str>>, Reason> {
        let Some(path) = self.get("path") else { return Ok(Vec::new()) };
        let wrong =
            || Reason::field_type(&self.place.field("path"), Value::Json(path), "a string or an array of strings");
        match kind(path) {
            JsonKind::Null => Ok(Vec::new()),
            JsonKind::String => Ok(one_segment(unescape(path)?)),
            JsonKind::Array => {
                let mut segments = Vec::new();
                let mut elements = Elements::new(path, JSON_DEPTH_MAX)?;
                while let Some(segment) = elements.next()? {
                    if kind(segment) != JsonKind::String {
                        return Err(wrong());
                    }
                    segments.push(unescape(segment)?);
                }
                Ok(segments)
            }
            _ => Err(wrong()),
        }
    }
}

fn string<'a>(place: Place<'_>, name: &str, value: &'a str) -> Result<Cow<'a, str>, Reason> {
    if kind(value) != JsonKind::String {
        return Err(Reason::field_type(&place.field(name), Value::Json(value), "a string"));
    }
    Ok(unescape(value)?)
}

/// A string path: one literal first-level name, or the root when it is empty.
fn one_segment(name: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    if name.is_empty() { Vec::new() } else { vec![name] }
}

/// A well-formed operation, whichever way it was written. `operand` is the JSON text of value or by.
struct Written<'a> {
    kind: OpKind,
    path: Vec<Cow<'a, str>>,
    operand: &'a str,
}

impl<'a> Written<'a> {
    /// Checks the bounds: path first, then value. A problem skips only this operation.
    fn check(self, names: &mut Names<'a>) -> Result<Result<Op<'a>, Problem>, Reason> {
        let Written { kind, path, operand } = self;
        let path: Vec<NameId> = match check::path(path, names) {
            Ok(path) => path,
            Err(problem) => return Ok(Err(problem)),
        };
        let action = match kind {
            OpKind::Set => Ok(Action::Set(operand)),
            OpKind::Merge => check::merge(operand, names)?.map(Action::Merge),
            OpKind::Append => check::append(operand, &path, names).map(|()| Action::Append(operand)),
            OpKind::Increment => Ok(Action::Add { by: Number::parse(operand), negative: false }),
            OpKind::Decrement => Ok(Action::Add { by: Number::parse(operand), negative: true }),
            OpKind::Remove => Ok(Action::Remove),
        };
        Ok(action.map(|action| Op { kind, path, action }))
    }
}
