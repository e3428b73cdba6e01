//! JSON texts of what came as msgpack and is read as JSON.

use super::Refusal;
use super::fields::{Field, Fields};
use crate::codec::Value;
use elsa::FrozenVec;

/// Texts that live as long as the request that was read from them.
#[derive(Default)]
pub struct Texts(FrozenVec<String>);

impl Texts {
    /// The member `ops` of an update, which `name` names in error texts: updates work on JSON text.
    pub(in crate::state) fn ops<'a>(&'a self, fields: &Fields<'a>, name: &str) -> Result<&'a str, Refusal> {
        match fields.array(Field::Ops)? {
            Value::Json(text) => Ok(text),
            ops => {
                let text = ops.to_json().map_err(|error| error.within(&format!("data.{name}")))?;
                Ok(self.keep(text.into_owned()))
            }
        }
    }

    /// One more.
    pub(crate) fn keep(&self, text: String) -> &str {
        self.0.push_get(text)
    }
}
