//! `extends`: facts that apps share.
//!
//! Both texts stay what they are: the family's is read as if it stood behind the app's, so that every span tells which
//! of the two it lies in, and a mistake is shown in the file where it was made.

use toml::de::{DeTable, DeValue};

use super::reader::{Fault, Reader};

/// An `app.toml` and its family, one behind the other.
pub(super) struct Texts {
    /// What spans point into.
    pub whole: String,
    /// The family's text, moved to where it stands in `whole` by space before it.
    moved: Option<String>,
    /// Where the app's own text ends.
    own: usize,
}

impl Texts {
    pub fn new(own: &str, family: Option<&str>) -> Self {
        match family {
            None => Self { whole: own.to_owned(), moved: None, own: own.len() },
            Some(family) => Self {
                whole: format!("{own}\n{family}"),
                moved: Some(format!("{}\n{family}", " ".repeat(own.len()))),
                own: own.len(),
            },
        }
    }

    /// The app's table with the family's keys where it has none; none when one of the texts is no TOML.
    pub fn tables(&self, reader: &mut Reader<'_>) -> Option<DeTable<'_>> {
        let own = table(reader, &self.whole[..self.own]);
        let family = match &self.moved {
            Some(text) => Some(table(reader, text)?),
            None => None,
        };
        let mut own = own?;
        if let Some(family) = family {
            for key in ["slug", "extends"] {
                if let Some((key, _)) = family.get_key_value(key) {
                    let message = format!("a family has no `{}`: each app says it", key.get_ref());
                    reader.fault(key.span(), message, None);
                }
            }
            merge(&mut own, family);
        }
        Some(own)
    }

    /// The faults of the app's own text, and those of the family's with their spans in it.
    pub fn split(&self, faults: Vec<Fault>) -> (Vec<Fault>, Vec<Fault>) {
        let (own, mut family): (Vec<_>, Vec<_>) = faults.into_iter().partition(|fault| fault.span.start <= self.own);
        for fault in &mut family {
            let start = fault.span.start - self.own - 1;
            fault.span = start..fault.span.end.saturating_sub(self.own + 1).max(start);
        }
        (own, family)
    }
}

fn table<'t>(reader: &mut Reader<'_>, text: &'t str) -> Option<DeTable<'t>> {
    let (root, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        reader.fault(error.span().unwrap_or(0..0), error.message(), None);
    }
    errors.is_empty().then(|| root.into_inner())
}

/// What the app says wins; tables merge deeply.
fn merge<'t>(own: &mut DeTable<'t>, family: DeTable<'t>) {
    for (key, value) in family {
        match own.get_mut(key.get_ref().as_ref()) {
            None => {
                own.insert(key, value);
            }
            Some(known) => {
                if let (DeValue::Table(own), DeValue::Table(family)) = (known.get_mut(), value.into_inner()) {
                    merge(own, family);
                }
            }
        }
    }
}
