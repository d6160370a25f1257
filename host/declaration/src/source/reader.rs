//! Walks the parsed TOML of an author's file: typed values out, faults with spans aside, and the span of every field of
//! the declaration kept, so that a later finding about a field can be shown at its line.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_spanned::Spanned;
use toml::de::{DeTable, DeValue};

use super::placeholder;
pub use super::placeholder::Offsets;
use crate::suggest;
use crate::types::Template;

#[derive(Debug)]
pub struct Fault {
    pub span: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

pub struct Reader<'s> {
    pub text: &'s str,
    pub faults: Vec<Fault>,
    spans: BTreeMap<String, Range<usize>>,
}

/// A table whose keys are all known, or whose keys are the author's own names; in the order of the text.
pub struct Table<'t> {
    pub span: Range<usize>,
    pub entries: Vec<Entry<'t>>,
}

#[derive(Clone)]
pub struct Entry<'t> {
    pub key: &'t str,
    pub key_span: Range<usize>,
    pub value: &'t Spanned<DeValue<'t>>,
}

impl<'t> Table<'t> {
    pub fn get(&self, key: &str) -> Option<&'t Spanned<DeValue<'t>>> {
        self.entries.iter().find(|entry| entry.key == key).map(|entry| entry.value)
    }

    pub fn has(&self, key: &str) -> bool {
        self.get(key).is_some()
    }
}

/// The names that a template may mention.
#[derive(Clone, Copy)]
pub(super) struct Names<'n> {
    pub inputs: &'n [String],
    pub tokens: &'n [String],
    /// Values that only the host has: `client_id`.
    pub host: &'n [&'static str],
    /// How to declare one: `declare an input, [inputs.…]`.
    pub declare: &'static str,
}

impl<'n> Names<'n> {
    pub fn with_host(self, host: &'n [&'static str]) -> Self {
        Self { host, ..self }
    }
}

/// The names of a place where the app's inputs may stand.
pub(super) const DECLARE_INPUT: &str = "declare an input, [inputs.…]";

/// What other descriptions of apps know and this host does not act on: refused by name.
const LATER: [(&str, &str); 14] = [
    ("jwt", "JWT bearer grants (RFC 7523)"),
    ("jwt-bearer", "JWT bearer grants (RFC 7523)"),
    ("assertion", "assertion grants (RFC 7521)"),
    ("mtls", "client certificates (RFC 8705)"),
    ("client-certificate", "client certificates (RFC 8705)"),
    ("dpop", "proof of possession (RFC 9449)"),
    ("discovery", "discovery of a server's endpoints (RFC 8414)"),
    ("discovery-url", "discovery of a server's endpoints (RFC 8414)"),
    ("oidc", "discovery of a server's endpoints (RFC 8414)"),
    ("registration", "registration of clients by program (RFC 7591)"),
    ("registration-url", "registration of clients by program (RFC 7591)"),
    ("oauth1", "OAuth 1.0a in three legs: give the tokens as keys, with a rule `sign.oauth1`"),
    ("request-token-url", "OAuth 1.0a in three legs: give the tokens as keys, with a rule `sign.oauth1`"),
    ("par", "pushed authorization requests (RFC 9126)"),
];

impl<'s> Reader<'s> {
    pub fn new(text: &'s str) -> Self {
        Self { text, faults: Vec::new(), spans: BTreeMap::new() }
    }

    pub fn fault(&mut self, span: Range<usize>, message: impl Into<String>, help: Option<String>) {
        self.faults.push(Fault { span, message: message.into(), help });
    }

    /// Remembers where a field of the declaration was written.
    pub fn at(&mut self, path: impl Into<String>, span: Range<usize>) {
        self.spans.insert(path.into(), span);
    }

    /// The span of the field, or of the nearest part around it that was written.
    pub fn span_of(&self, path: &str) -> Range<usize> {
        let mut path = path;
        loop {
            if let Some(span) = self.spans.get(path) {
                return span.clone();
            }
            match path.rfind(['.', '[']) {
                Some(at) => path = &path[..at],
                None => return 0..0,
            }
        }
    }

    /// A table of which only `allowed` keys are known.
    pub fn table<'t>(
        &mut self,
        value: &'t Spanned<DeValue<'t>>,
        what: &str,
        allowed: &[&'static str],
    ) -> Option<Table<'t>> {
        let table = self.names(value, what)?;
        self.known(&table, what, allowed);
        Some(table)
    }

    /// A table whose keys are names of the author's choice.
    pub fn names<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, what: &str) -> Option<Table<'t>> {
        match value.get_ref() {
            DeValue::Table(table) => Some(entries(table, value.span())),
            other => {
                let message = format!("{what} is a table, not {}", a(other));
                self.fault(value.span(), message, None);
                None
            }
        }
    }

    pub fn known(&mut self, table: &Table<'_>, what: &str, allowed: &[&'static str]) {
        for entry in &table.entries {
            if !allowed.contains(&entry.key) {
                if let Some((_, name)) = LATER.iter().find(|(key, _)| *key == entry.key) {
                    let message = format!("this version does not act on {name} yet: `{}`", entry.key);
                    self.fault(entry.key_span.clone(), message, None);
                    continue;
                }
                let help = match suggest::nearest(entry.key, allowed.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None => format!("the keys of {what}: {}", allowed.join(", ")),
                };
                self.fault(entry.key_span.clone(), format!("{what} has no key `{}`", entry.key), Some(help));
            }
        }
    }

    pub fn text_of(&mut self, value: &Spanned<DeValue<'_>>, what: &str, path: &str) -> Option<String> {
        self.at(path, value.span());
        match value.get_ref().as_str() {
            Some(text) => Some(text.to_owned()),
            None => {
                let message = format!("`{what}` is a string, not {}", a(value.get_ref()));
                self.fault(value.span(), message, None);
                None
            }
        }
    }

    /// `prefix` is the declaration's path of the table; empty for the whole.
    pub fn optional(&mut self, table: &Table<'_>, key: &str, prefix: &str) -> Option<String> {
        let value = table.get(key)?;
        self.text_of(value, key, &join(prefix, key))
    }

    pub fn required(&mut self, table: &Table<'_>, what: &str, key: &str, prefix: &str) -> String {
        match table.get(key) {
            Some(value) => self.text_of(value, key, &join(prefix, key)).unwrap_or_default(),
            None => {
                self.missing(table, what, key);
                String::new()
            }
        }
    }

    pub fn missing(&mut self, table: &Table<'_>, what: &str, key: &str) {
        self.fault(table.span.clone(), format!("{what} lacks `{key}`"), None);
    }

    pub fn list<'t>(&mut self, value: &'t Spanned<DeValue<'t>>, what: &str) -> &'t [Spanned<DeValue<'t>>] {
        match value.get_ref().as_array() {
            Some(items) => items,
            None => {
                let message = format!("`{what}` is a list, not {}", a(value.get_ref()));
                self.fault(value.span(), message, None);
                &[]
            }
        }
    }

    pub fn strings(&mut self, table: &Table<'_>, key: &str, prefix: &str) -> Vec<String> {
        let Some(value) = table.get(key) else { return Vec::new() };
        let path = join(prefix, key);
        self.at(&*path, value.span());
        let items = self.list(value, key).iter().enumerate();
        items.filter_map(|(at, item)| self.text_of(item, key, &format!("{path}[{at}]"))).collect()
    }

    pub fn flag(&mut self, table: &Table<'_>, key: &str, default: bool) -> bool {
        let Some(value) = table.get(key) else { return default };
        value.get_ref().as_bool().unwrap_or_else(|| {
            let message = format!("`{key}` is true or false, not {}", a(value.get_ref()));
            self.fault(value.span(), message, None);
            default
        })
    }

    /// A whole number from 0.
    pub fn number<N: TryFrom<u64>>(&mut self, value: &Spanned<DeValue<'_>>, what: &str) -> Option<N> {
        let digits = value.get_ref().as_integer();
        let number = digits.and_then(|digits| {
            let text = digits.as_str().replace('_', "");
            u64::from_str_radix(text.trim_start_matches('+'), digits.radix()).ok()
        });
        let number = number.and_then(|number| N::try_from(number).ok());
        if number.is_none() {
            self.fault(value.span(), format!("`{what}` is a whole number in range"), None);
        }
        number
    }

    /// One of a few words.
    pub fn choice<T: Copy>(&mut self, value: &Spanned<DeValue<'_>>, what: &str, words: &[(&str, T)]) -> Option<T> {
        let given = value.get_ref().as_str();
        if let Some((_, choice)) = words.iter().find(|(word, _)| given == Some(word)) {
            return Some(*choice);
        }
        let all = words.iter().map(|(word, _)| *word);
        let help = match given.and_then(|given| suggest::nearest(given, all.clone())) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => format!("one of {}", all.collect::<Vec<_>>().join(", ")),
        };
        let shown = given.map_or_else(|| a(value.get_ref()), |given| format!("`{given}`"));
        self.fault(value.span(), format!("`{what}` cannot be {shown}"), Some(help));
        None
    }

    pub fn choice_or<T: Copy>(&mut self, table: &Table<'_>, key: &str, words: &[(&str, T)], default: T) -> T {
        table.get(key).and_then(|value| self.choice(value, key, words)).unwrap_or(default)
    }

    /// A template string; unknown names are faults at their own column.
    pub(super) fn template(
        &mut self,
        value: &Spanned<DeValue<'_>>,
        what: &str,
        path: &str,
        names: Names<'_>,
    ) -> Template {
        let Some(text) = self.text_of(value, what, path) else { return Vec::new() };
        let raw = self.text.get(value.span()).unwrap_or_default();
        let offsets = placeholder::Offsets::new(raw, &text, value.span());
        let (parts, faults) = placeholder::parse(&text, names);
        for (range, message, help) in faults {
            self.fault(offsets.span(range), message, help);
        }
        for (index, (_, range)) in parts.iter().enumerate() {
            self.at(format!("{path}[{index}]"), offsets.span(range.clone()));
        }
        parts.into_iter().map(|(part, _)| part).collect()
    }
}

/// The type of a value, with its article.
pub fn a(value: &DeValue<'_>) -> String {
    let word = value.type_str();
    format!("{} {word}", if word.starts_with(['a', 'i']) { "an" } else { "a" })
}

pub fn join(prefix: &str, key: &str) -> String {
    if prefix.is_empty() { key.to_owned() } else { format!("{prefix}.{key}") }
}

pub fn entries<'t>(table: &'t DeTable<'t>, span: Range<usize>) -> Table<'t> {
    let mut entries: Vec<_> =
        table.iter().map(|(key, value)| Entry { key: key.get_ref(), key_span: key.span(), value }).collect();
    // The parser sorts by name; the order of the text is the author's ("best first").
    entries.sort_by_key(|entry| entry.key_span.start);
    Table { span, entries }
}
