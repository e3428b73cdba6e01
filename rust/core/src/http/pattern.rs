//! The path of a route, read: `users/:id`, `/users/{id}`, `files/*path`.

use super::decode::percent;

/// Characters of a route's path: far above real use.
pub const PATH_CHARACTERS_MAX: usize = 2_048;
/// Segments of a route's path.
pub const SEGMENTS_MAX: usize = 64;

/// One part of a path between two slashes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Segment {
    /// This text, percent-decoded.
    Static(Box<str>),
    /// Anything but nothing.
    Parameter,
    /// Everything that is left, slashes included; the last one only.
    Wildcard,
}

/// A path that can be routed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pattern {
    /// From left to right.
    pub segments: Vec<Segment>,
    /// Of parameters and wildcard, in order; `*` is the name of a wildcard without one.
    pub names: Vec<Box<str>>,
}

impl Pattern {
    /// Reads a path; the leading slash is optional, a trailing one counts.
    ///
    /// # Errors
    /// What cannot be served, for the worker that wants to register it.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.chars().count() > PATH_CHARACTERS_MAX {
            return Err(format!("api_path is longer than {PATH_CHARACTERS_MAX} characters"));
        }
        if path.chars().any(|char| char <= ' ' || matches!(char, '?' | '#' | '\u{7f}')) {
            return Err(format!("api_path '{path}' has a space, a control character, `?` or `#` in it"));
        }
        let texts: Vec<&str> = path.strip_prefix('/').unwrap_or(path).split('/').collect();
        if texts.len() > SEGMENTS_MAX {
            return Err(format!("api_path '{path}' has more than {SEGMENTS_MAX} segments"));
        }
        let mut pattern = Pattern { segments: Vec::with_capacity(texts.len()), names: Vec::new() };
        for (at, text) in texts.iter().enumerate() {
            pattern.push(text, path, at + 1 == texts.len())?;
        }
        let mut names: Vec<_> = pattern.names.iter().collect();
        names.sort_unstable();
        if names.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(format!("api_path '{path}' names a parameter twice"));
        }
        Ok(pattern)
    }

    fn push(&mut self, text: &str, path: &str, is_last: bool) -> Result<(), String> {
        let name = text.strip_prefix('{').and_then(|text| text.strip_suffix('}')).or_else(|| text.strip_prefix(':'));
        if let Some(wildcard) = name.unwrap_or(text).strip_prefix('*') {
            if !is_last {
                return Err(format!("api_path '{path}': the wildcard `{text}` is not the last segment"));
            }
            self.names.push(if wildcard.is_empty() { "*" } else { wildcard }.into());
            self.segments.push(Segment::Wildcard);
            return Ok(());
        }
        match name {
            Some("") => return Err(format!("api_path '{path}': `{text}` is no parameter name")),
            Some(name) => {
                self.names.push(name.into());
                self.segments.push(Segment::Parameter);
            }
            None => self.segments.push(Segment::Static(percent(text).into())),
        }
        Ok(())
    }
}
