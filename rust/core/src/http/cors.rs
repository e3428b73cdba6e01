//! Whose pages may read responses (CORS: the Fetch standard, section 3.2). Nothing is refused by it: browsers hold it.

use super::head::Header;

/// What the operator allows; every origin and every method if nothing is said.
#[derive(Debug, Clone, Default)]
pub struct Cors {
    /// As browsers write them, sorted.
    origins: Option<Box<[Box<str>]>>,
    /// As one header.
    methods: Option<Box<str>>,
}

impl Cors {
    /// Only these origins (as browsers write them: in lower case, without the default port) and methods; `None` is every one.
    pub fn new(origins: Option<Vec<String>>, methods: Option<&[String]>) -> Self {
        let sorted = |mut origins: Vec<String>| {
            origins.sort_unstable();
            origins.into_iter().map(String::into_boxed_str).collect()
        };
        Cors { origins: origins.map(sorted), methods: methods.map(|methods| methods.join(", ").into()) }
    }

    /// Whether responses differ by the origin of their request.
    pub(super) fn is_listed(&self) -> bool {
        self.origins.is_some()
    }

    /// The place in the list of the origin that a request names; none when it is not in there, or when there is no list.
    pub(super) fn place(&self, headers: &[Header<'_>]) -> Option<u32> {
        let origins = self.origins.as_ref()?;
        let origin = headers.iter().rev().find(|header| header.name.eq_ignore_ascii_case("origin"))?;
        let place = origins.binary_search_by(|known| known.as_bytes().cmp(origin.value)).ok()?;
        u32::try_from(place).ok()
    }

    /// Who may read the response to a request from the origin at `place`, as a header says it; none: no other origin.
    pub(super) fn allow_origin(&self, place: Option<u32>) -> Option<&str> {
        match &self.origins {
            None => Some("*"),
            Some(origins) => origins.get(place? as usize).map(|origin| &**origin),
        }
    }

    /// The methods that a preflight allows, as a header says them.
    pub(super) fn allow_methods(&self) -> &str {
        self.methods.as_deref().unwrap_or("*")
    }
}
