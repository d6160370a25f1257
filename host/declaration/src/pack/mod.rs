//! Many apps in one file, read where it lies.
//!
//! `cargo xtask build` makes the pack from `app-plugins`, and the binary embeds it. Opening it costs nothing and
//! nothing is parsed before somebody asks for an app: a lookup is a binary search over fixed-size entries.
//!
//! ```text
//! "DEPUTYPK" | format u32 | count u32 | count entries, sorted by slug | texts and bytes
//! entry: level u32 | 7 spans (offset u32, length u32): slug, name, summary, date, methods, component, declaration
//!        | SHA-256 of the component | SHA-256 of the declaration
//! ```
//! All numbers are little-endian. `methods` are ids with `\n` between them; `declaration` is the JSON form of
//! [`App`](crate::types::App).

mod build;
pub mod sources;

pub use build::{BuildError, Built, build, write};

use crate::types::EvidenceLevel;

const MAGIC: &[u8; 8] = b"DEPUTYPK";
/// Rises when the layout or the content of a pack changes meaning.
pub const FORMAT: u32 = 1;
const HEADER_BYTES: usize = 16;
const SPANS: usize = 7;
const ENTRY_BYTES: usize = 4 + SPANS * 8 + 2 * 32;

/// An opened pack.
#[derive(Debug, Clone, Copy)]
pub struct Pack<'p> {
    bytes: &'p [u8],
    count: usize,
}

/// One app of a pack; every field points into it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry<'p> {
    pub slug: &'p str,
    pub name: &'p str,
    pub summary: &'p str,
    pub level: EvidenceLevel,
    /// Day of the evidence.
    pub date: &'p str,
    /// Method ids with `\n` between them; see [`Entry::methods`].
    methods: &'p str,
    pub component: &'p [u8],
    /// JSON.
    pub declaration: &'p [u8],
    pub component_sha256: &'p [u8; 32],
    pub declaration_sha256: &'p [u8; 32],
}

impl<'p> Entry<'p> {
    pub fn methods(&self) -> impl Iterator<Item = &'p str> {
        self.methods.split('\n').filter(|id| !id.is_empty())
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("this is no pack of apps of format {FORMAT}")]
    Format,
    #[error("the pack is cut short or damaged")]
    Damaged,
}

impl PackError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format => "pack_format",
            Self::Damaged => "pack_damaged",
        }
    }

    pub fn fix(&self) -> Option<String> {
        Some("build it again: cargo xtask build".into())
    }
}

impl<'p> Pack<'p> {
    pub fn open(bytes: &'p [u8]) -> Result<Self, PackError> {
        let header = bytes.get(..HEADER_BYTES).ok_or(PackError::Damaged)?;
        if &header[..8] != MAGIC || number(bytes, 8) != Some(FORMAT as usize) {
            return Err(PackError::Format);
        }
        let count = number(bytes, 12).ok_or(PackError::Damaged)?;
        let end = count.checked_mul(ENTRY_BYTES).and_then(|bytes| bytes.checked_add(HEADER_BYTES));
        if end.is_none_or(|end| end > bytes.len()) {
            return Err(PackError::Damaged);
        }
        Ok(Self { bytes, count })
    }

    pub fn len(&self) -> usize {
        self.count
    }

    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// In order of the slugs.
    pub fn entries(&self) -> impl Iterator<Item = Result<Entry<'p>, PackError>> {
        let pack = *self;
        (0..self.count).map(move |index| pack.entry(index).ok_or(PackError::Damaged))
    }

    pub fn find(&self, slug: &str) -> Result<Option<Entry<'p>>, PackError> {
        let (mut low, mut high) = (0, self.count);
        while low < high {
            let middle = low + (high - low) / 2;
            let found = self.span(middle, 0).and_then(text).ok_or(PackError::Damaged)?;
            match found.cmp(slug) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Greater => high = middle,
                std::cmp::Ordering::Equal => return self.entry(middle).map(Some).ok_or(PackError::Damaged),
            }
        }
        Ok(None)
    }

    fn entry(&self, index: usize) -> Option<Entry<'p>> {
        let start = HEADER_BYTES + index * ENTRY_BYTES;
        let digest = |at: usize| -> Option<&'p [u8; 32]> {
            let start = start + 4 + SPANS * 8 + at * 32;
            self.bytes.get(start..start + 32)?.try_into().ok()
        };
        Some(Entry {
            level: match number(self.bytes, start)? {
                0 => EvidenceLevel::Facts,
                1 => EvidenceLevel::Checked,
                2 => EvidenceLevel::Verified,
                _ => return None,
            },
            slug: text(self.span(index, 0)?)?,
            name: text(self.span(index, 1)?)?,
            summary: text(self.span(index, 2)?)?,
            date: text(self.span(index, 3)?)?,
            methods: text(self.span(index, 4)?)?,
            component: self.span(index, 5)?,
            declaration: self.span(index, 6)?,
            component_sha256: digest(0)?,
            declaration_sha256: digest(1)?,
        })
    }

    fn span(&self, index: usize, field: usize) -> Option<&'p [u8]> {
        let at = HEADER_BYTES + index * ENTRY_BYTES + 4 + field * 8;
        let (offset, length) = (number(self.bytes, at)?, number(self.bytes, at + 4)?);
        self.bytes.get(offset..offset.checked_add(length)?)
    }
}

fn number(bytes: &[u8], at: usize) -> Option<usize> {
    let four: [u8; 4] = bytes.get(at..at + 4)?.try_into().ok()?;
    usize::try_from(u32::from_le_bytes(four)).ok()
}

fn text(bytes: &[u8]) -> Option<&str> {
    std::str::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests;
