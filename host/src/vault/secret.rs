//! A secret in memory: wiped when dropped, invisible to `Debug`, without `Display`, `Serialize` or `Clone`.
//!
//! `expose` is for the rooms `vault`, `auth` and `egress` alone; a test of the whole source holds that line.

use std::fmt;

use zeroize::Zeroizing;

/// The longest secret a person may paste, in bytes.
pub const MAX_SECRET_BYTES: usize = 16 * 1024;

pub struct Secret(Zeroizing<Vec<u8>>);

/// Why bytes cannot be a credential. A secret with a line break would become a header of its own.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum InvalidSecret {
    #[error("it is empty")]
    Empty,
    #[error("it has {0} bytes; the limit is {MAX_SECRET_BYTES}")]
    TooLong(usize),
    #[error("it holds a line break at byte {0}: paste one line only")]
    LineBreak(usize),
    #[error("it holds the control byte 0x{byte:02x} at byte {at}")]
    Control { byte: u8, at: usize },
    #[error("it is not UTF-8 from byte {0} on")]
    NotText(usize),
}

impl Secret {
    /// Bytes from a trusted place, such as the vault itself or a token reply.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// A secret that a person or a file gave: surrounding white space is no part of it, and what cannot stand in a
    /// header is refused by place.
    pub fn entered(bytes: Vec<u8>) -> Result<Self, InvalidSecret> {
        let bytes = Zeroizing::new(bytes);
        let start = bytes.len() - bytes.trim_ascii_start().len();
        let text = bytes.trim_ascii();
        if text.is_empty() {
            return Err(InvalidSecret::Empty);
        }
        if text.len() > MAX_SECRET_BYTES {
            return Err(InvalidSecret::TooLong(text.len()));
        }
        if let Err(error) = std::str::from_utf8(text) {
            return Err(InvalidSecret::NotText(start + error.valid_up_to()));
        }
        for (at, &byte) in text.iter().enumerate() {
            match byte {
                b'\r' | b'\n' => return Err(InvalidSecret::LineBreak(start + at)),
                0..=0x1f | 0x7f => return Err(InvalidSecret::Control { byte, at: start + at }),
                _ => {}
            }
        }
        Ok(Self::new(text.to_vec()))
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The plain bytes. Only for `vault`, `auth` and `egress`.
    pub(crate) fn expose(&self) -> &[u8] {
        &self.0
    }

    /// A second copy of the same secret, made on purpose.
    pub(crate) fn duplicate(&self) -> Self {
        Self(self.0.clone())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(redacted)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new(b"canary".to_vec())), "Secret(redacted)");
    }

    #[test]
    fn white_space_around_a_pasted_key_is_dropped() {
        assert_eq!(Secret::entered(b"  key\r\n".to_vec()).map(|s| s.expose().to_vec()), Ok(b"key".to_vec()));
    }

    #[test]
    fn what_would_break_a_header_is_refused_by_place() {
        let refuse = |bytes: &[u8]| Secret::entered(bytes.to_vec()).err();
        assert_eq!(refuse(b" \n"), Some(InvalidSecret::Empty));
        assert_eq!(refuse(b" ab\ncd"), Some(InvalidSecret::LineBreak(3)));
        assert_eq!(refuse(b"ab\x00cd"), Some(InvalidSecret::Control { byte: 0, at: 2 }));
        assert_eq!(refuse(b"ab\xffcd"), Some(InvalidSecret::NotText(2)));
        assert_eq!(refuse(&[b'a'; MAX_SECRET_BYTES + 1]), Some(InvalidSecret::TooLong(MAX_SECRET_BYTES + 1)));
    }
}
