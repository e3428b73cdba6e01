//! `--name value` options of a subcommand, typed and with defaults; an unknown one is an error.

use std::collections::BTreeMap;
use std::str::FromStr;

use crate::failure::Failure;

/// What was given on the command line and not yet taken.
pub struct Options(BTreeMap<String, String>);

impl Options {
    /// Reads pairs of `--name value`.
    pub fn parse(arguments: impl Iterator<Item = String>) -> Result<Self, Failure> {
        let mut given = BTreeMap::new();
        let mut arguments = arguments.into_iter();
        while let Some(argument) = arguments.next() {
            let Some(name) = argument.strip_prefix("--") else {
                return Err(Failure::Usage(format!("expected an option, got `{argument}`")));
            };
            let value = arguments.next().ok_or_else(|| Failure::Usage(format!("--{name} needs a value")))?;
            if given.insert(name.to_owned(), value).is_some() {
                return Err(Failure::Usage(format!("--{name} is given twice")));
            }
        }
        Ok(Self(given))
    }

    /// Takes an option that may be absent.
    pub fn optional<T: FromStr>(&mut self, name: &str) -> Result<Option<T>, Failure> {
        let Some(text) = self.0.remove(name) else { return Ok(None) };
        text.parse().map(Some).map_err(|_| Failure::Usage(format!("--{name}: cannot use `{text}`")))
    }

    /// Takes an option, or its default.
    pub fn take<T: FromStr>(&mut self, name: &str, default: T) -> Result<T, Failure> {
        Ok(self.optional(name)?.unwrap_or(default))
    }

    /// Takes a number that must lie between two bounds.
    pub fn number(&mut self, name: &str, default: usize, least: usize, most: usize) -> Result<usize, Failure> {
        let number = self.take(name, default)?;
        if (least..=most).contains(&number) {
            return Ok(number);
        }
        Err(Failure::Usage(format!("--{name}: {number} is not between {least} and {most}")))
    }

    /// Takes an option that must be given.
    pub fn required<T: FromStr>(&mut self, name: &str) -> Result<T, Failure> {
        self.optional(name)?.ok_or_else(|| Failure::Usage(format!("--{name} is required")))
    }

    /// Refuses what nobody took.
    pub fn finish(self) -> Result<(), Failure> {
        match self.0.into_keys().next() {
            None => Ok(()),
            Some(name) => Err(Failure::Usage(format!("unknown option --{name}"))),
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may fail loudly")]
mod tests {
    use super::*;

    fn options(words: &[&str]) -> Result<Options, Failure> {
        Options::parse(words.iter().map(|word| (*word).to_owned()))
    }

    #[test]
    fn takes_what_was_given_and_defaults_the_rest() {
        let mut given = options(&["--ops", "7"]).unwrap();
        assert_eq!(given.take("ops", 1u64).unwrap(), 7);
        assert_eq!(given.take("keys", 10u64).unwrap(), 10);
        given.finish().unwrap();
    }

    #[test]
    fn refuses_what_it_cannot_use() {
        assert!(options(&["ops"]).is_err());
        assert!(options(&["--ops"]).is_err());
        assert!(options(&["--ops", "1", "--ops", "2"]).is_err());
        assert!(options(&["--ops", "x"]).unwrap().take("ops", 1u64).is_err());
        assert!(options(&["--ops", "0"]).unwrap().number("ops", 1, 1, 9).is_err());
        assert!(options(&["--opps", "1"]).unwrap().finish().is_err());
        assert!(options(&[]).unwrap().required::<String>("url").is_err());
    }
}
