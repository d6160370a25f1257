//! Reads typed values out of a TOML text; every error knows its line and column.

use std::ops::Range;
use std::path::Path;

use toml::Spanned;
use toml::de::{DeArray, DeTable, DeValue};

use super::ConfigError;
use super::values::Invalid;

pub(super) struct Reader<'t> {
    path: &'t Path,
    text: &'t str,
}

pub(super) type Value<'t> = Spanned<DeValue<'t>>;

impl<'t> Reader<'t> {
    pub(super) fn new(path: &'t Path, text: &'t str) -> Self {
        Self { path, text }
    }

    pub(super) fn document(&self) -> Result<Spanned<DeTable<'t>>, ConfigError> {
        DeTable::parse(self.text)
            .map_err(|error| self.error(&error.span().unwrap_or(0..0), error.message().to_owned(), None))
    }

    pub(super) fn error(&self, span: &Range<usize>, message: String, fix: Option<String>) -> ConfigError {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.matches('\n').count() + 1;
        let column = before.rsplit('\n').next().unwrap_or_default().chars().count() + 1;
        ConfigError::File { path: self.path.to_owned(), line, column, message, fix }
    }

    /// Refuses keys other than `known`. `name` is the table's own, empty at the top.
    pub(super) fn known(&self, name: &str, table: &DeTable<'_>, known: &[&str]) -> Result<(), ConfigError> {
        // The first one in the text, whatever order the parser keeps.
        let unknown = table.keys().filter(|key| !known.contains(&key.get_ref().as_ref()));
        let Some(key) = unknown.min_by_key(|key| key.span().start) else { return Ok(()) };
        let word = key.get_ref();
        let (what, place) = match name {
            "" => ("table", String::new()),
            name => ("key", format!(" in [{name}]")),
        };
        let fix = match deputy_declaration::nearest(word, known.iter().copied()) {
            Some(near) => format!("did you mean `{near}`?"),
            None => format!("known here: {}", known.join(", ")),
        };
        Err(self.error(&key.span(), format!("there is no {what} `{word}`{place}"), Some(fix)))
    }

    pub(super) fn table<'v>(&self, value: &'v Value<'t>) -> Result<&'v DeTable<'t>, ConfigError> {
        value.get_ref().as_table().ok_or_else(|| self.wrong_type(value, "a table"))
    }

    pub(super) fn array<'v>(&self, value: &'v Value<'t>) -> Result<&'v DeArray<'t>, ConfigError> {
        value.get_ref().as_array().ok_or_else(|| self.wrong_type(value, "a list"))
    }

    pub(super) fn text<'v>(&self, value: &'v Value<'t>) -> Result<&'v str, ConfigError> {
        value.get_ref().as_str().ok_or_else(|| self.wrong_type(value, "a text in quotes"))
    }

    pub(super) fn number(&self, value: &Value<'t>) -> Result<u64, ConfigError> {
        let number = value.get_ref().as_integer();
        let number = number.and_then(|number| u64::from_str_radix(number.as_str(), number.radix()).ok());
        number.ok_or_else(|| self.wrong_type(value, "a whole number, not negative"))
    }

    /// A text that `parse` takes.
    pub(super) fn parsed<T>(
        &self,
        value: &Value<'t>,
        parse: impl FnOnce(&str) -> Result<T, Invalid>,
    ) -> Result<T, ConfigError> {
        parse(self.text(value)?).map_err(|invalid| self.invalid(&value.span(), invalid))
    }

    pub(super) fn invalid(&self, span: &Range<usize>, invalid: Invalid) -> ConfigError {
        self.error(span, invalid.message, invalid.fix)
    }

    fn wrong_type(&self, value: &Value<'t>, wanted: &str) -> ConfigError {
        self.error(&value.span(), format!("here belongs {wanted}, not a {}", value.get_ref().type_str()), None)
    }
}
