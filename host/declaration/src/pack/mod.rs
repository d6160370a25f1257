//! Many apps in one file, read where it lies.
//!
//! `cargo xtask build` makes the pack from `app-plugins`, and the binary embeds it. Opening it costs nothing and
//! nothing is parsed before somebody asks for an app: a lookup is a binary search over fixed-size entries.
//!
//! ```text
//! "DEPUTYPK" | format u32 | count u32 | count entries, sorted by slug | texts of all apps | declarations
//! entry: level u8, logo u8, nothing u16 | bytes of the declaration u32
//!        | 7 spans (offset u32, length u32): slug, name, summary, date, categories, methods, declaration
//!        | SHA-256 of the component | SHA-256 of the declaration
//! ```
//! All numbers are little-endian. `categories` and `methods` are lines; a method is its kind, a space and its id.
//! `declaration` is the deflated JSON form of [`App`]. A list reads entries and texts, which lie together; the component
//! is not stored: it follows from the declaration, and its hash says that it is the very one.

mod build;
pub mod sources;

pub use build::{BuildError, Built, build, write};

use std::io::Read as _;

use aws_lc_rs::digest::{SHA256, digest};

use crate::image;
use crate::types::{App, EvidenceLevel};

const MAGIC: &[u8; 8] = b"DEPUTYPK";
/// Rises when the layout or the content of a pack changes meaning.
pub const FORMAT: u32 = 2;
/// No declaration comes near: what `inspect` takes for a component bounds it.
const MAX_DECLARATION_BYTES: usize = 8 << 20;
const HEADER_BYTES: usize = 16;
const SPANS: usize = 7;
const ENTRY_BYTES: usize = 8 + SPANS * 8 + 2 * 32;

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
    /// Whether the app has a logo.
    pub logo: bool,
    categories: &'p str,
    methods: &'p str,
    declaration: &'p [u8],
    declaration_bytes: usize,
    pub component_sha256: &'p [u8; 32],
    pub declaration_sha256: &'p [u8; 32],
}

impl<'p> Entry<'p> {
    /// Ids, best first.
    pub fn methods(&self) -> impl Iterator<Item = &'p str> {
        self.methods.lines().filter_map(|line| line.split_once(' ')).map(|(_, id)| id)
    }

    /// `oauth2`, `keys` or `exchange`, one for each of [`Entry::methods`].
    pub fn kinds(&self) -> impl Iterator<Item = &'p str> {
        self.methods.lines().filter_map(|line| line.split_once(' ')).map(|(kind, _)| kind)
    }

    pub fn categories(&self) -> impl Iterator<Item = &'p str> {
        self.categories.lines()
    }

    /// The JSON bytes of which the entry has the hash.
    pub fn declaration(&self) -> Result<Vec<u8>, PackError> {
        // The length comes from the file: no more than one over it is ever read.
        let mut bytes = Vec::with_capacity(self.declaration_bytes.min(MAX_DECLARATION_BYTES));
        let most = self.declaration_bytes.min(MAX_DECLARATION_BYTES) as u64 + 1;
        flate2::read::DeflateDecoder::new(self.declaration)
            .take(most)
            .read_to_end(&mut bytes)
            .map_err(|_| PackError::Damaged)?;
        match bytes.len() == self.declaration_bytes {
            true => Ok(bytes),
            false => Err(PackError::Damaged),
        }
    }

    /// The component, made anew from the declaration and held against its hash.
    pub fn component(&self) -> Result<Vec<u8>, PackError> {
        let app: App = serde_json::from_slice(&self.declaration()?).map_err(|_| PackError::Damaged)?;
        let component = image::component(&app).map_err(|_| PackError::Damaged)?;
        match digest(&SHA256, &component).as_ref() == self.component_sha256 {
            true => Ok(component),
            false => Err(PackError::Stale),
        }
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PackError {
    #[error("this is no pack of apps of format {FORMAT}")]
    Format,
    #[error("the pack is cut short or damaged")]
    Damaged,
    #[error("the pack was made by another version of its builder")]
    Stale,
}

impl PackError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Format => "pack_format",
            Self::Damaged => "pack_damaged",
            Self::Stale => "pack_stale",
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
            let start = start + 8 + SPANS * 8 + at * 32;
            self.bytes.get(start..start + 32)?.try_into().ok()
        };
        Some(Entry {
            level: match *self.bytes.get(start)? {
                0 => EvidenceLevel::Facts,
                1 => EvidenceLevel::Checked,
                2 => EvidenceLevel::Verified,
                _ => return None,
            },
            logo: *self.bytes.get(start + 1)? == 1,
            declaration_bytes: number(self.bytes, start + 4)?,
            slug: text(self.span(index, 0)?)?,
            name: text(self.span(index, 1)?)?,
            summary: text(self.span(index, 2)?)?,
            date: text(self.span(index, 3)?)?,
            categories: text(self.span(index, 4)?)?,
            methods: text(self.span(index, 5)?)?,
            declaration: self.span(index, 6)?,
            component_sha256: digest(0)?,
            declaration_sha256: digest(1)?,
        })
    }

    fn span(&self, index: usize, field: usize) -> Option<&'p [u8]> {
        let at = HEADER_BYTES + index * ENTRY_BYTES + 8 + field * 8;
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
