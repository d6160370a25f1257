//! Decodes answers that come compressed although `identity` was asked for (R9).
//!
//! Bounds: the decoded size, and from 1 MiB on a hundred decoded bytes for each received one; a bomb is stopped before
//! it is in memory.

use std::io::{self, Write};

use bytes::Bytes;
use flate2::write::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::{HeaderMap, header};

/// The ratio is not looked at below this.
const RATIO_FROM_BYTES: u64 = 1 << 20;
const RATIO: u64 = 100;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Identity,
    Gzip,
    Deflate,
}

#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub(super) enum DecodeError {
    #[error("the answer has a content encoding that was not asked for and is not understood")]
    Unknown,
    #[error("the answer does not decode")]
    Malformed,
    #[error("the answer decodes to more than a hundred times its size")]
    Bomb,
    #[error("the decoded answer is too large")]
    TooLarge,
}

/// What the headers say. More than one coding is refused.
pub(super) fn coding(headers: &HeaderMap) -> Result<Coding, DecodeError> {
    let mut coding = Coding::Identity;
    for value in headers.get_all(header::CONTENT_ENCODING) {
        for name in value.to_str().map_err(|_| DecodeError::Unknown)?.split(',') {
            let next = match name.trim().to_ascii_lowercase().as_str() {
                "" | "identity" => continue,
                "gzip" | "x-gzip" => Coding::Gzip,
                "deflate" => Coding::Deflate,
                _ => return Err(DecodeError::Unknown),
            };
            if coding != Coding::Identity {
                return Err(DecodeError::Unknown);
            }
            coding = next;
        }
    }
    Ok(coding)
}

/// A push decoder.
pub(super) struct Decoder {
    state: State,
    limit: u64,
}

enum State {
    Gzip(Box<MultiGzDecoder<Sink>>),
    /// RFC 9110 says zlib, some servers send raw deflate: the first two bytes tell.
    Undecided(Vec<u8>),
    Zlib(Box<ZlibDecoder<Sink>>),
    Raw(Box<DeflateDecoder<Sink>>),
}

impl Decoder {
    /// None for `identity`. `limit` bounds the decoded bytes.
    pub(super) fn new(coding: Coding, limit: u64) -> Option<Self> {
        let state = match coding {
            Coding::Identity => return None,
            Coding::Gzip => State::Gzip(Box::new(MultiGzDecoder::new(Sink::new(limit)))),
            Coding::Deflate => State::Undecided(Vec::new()),
        };
        Some(Self { state, limit })
    }

    pub(super) fn push(&mut self, input: &[u8]) -> Result<Bytes, DecodeError> {
        if let State::Undecided(start) = &mut self.state {
            start.extend_from_slice(input);
            if start.len() < 2 {
                return Ok(Bytes::new());
            }
            let start = std::mem::take(start);
            let is_zlib = start[0] & 0x0f == 8 && u16::from_be_bytes([start[0], start[1]]) % 31 == 0;
            let sink = Sink::new(self.limit);
            self.state = if is_zlib {
                State::Zlib(Box::new(ZlibDecoder::new(sink)))
            } else {
                State::Raw(Box::new(DeflateDecoder::new(sink)))
            };
            return self.write(&start);
        }
        self.write(input)
    }

    fn write(&mut self, input: &[u8]) -> Result<Bytes, DecodeError> {
        match &mut self.state {
            State::Gzip(decoder) => {
                decoder.get_mut().received += input.len() as u64;
                let outcome = decoder.write_all(input).and_then(|()| decoder.flush());
                decoder.get_mut().take(outcome)
            }
            State::Zlib(decoder) => {
                decoder.get_mut().received += input.len() as u64;
                let outcome = decoder.write_all(input).and_then(|()| decoder.flush());
                decoder.get_mut().take(outcome)
            }
            State::Raw(decoder) => {
                decoder.get_mut().received += input.len() as u64;
                let outcome = decoder.write_all(input).and_then(|()| decoder.flush());
                decoder.get_mut().take(outcome)
            }
            State::Undecided(_) => Ok(Bytes::new()),
        }
    }

    /// The end of the body: what is still inside, or that it was cut.
    pub(super) fn finish(&mut self) -> Result<Bytes, DecodeError> {
        match &mut self.state {
            // A body without any byte is an empty body, whatever its headers say.
            State::Gzip(decoder) if decoder.get_ref().received == 0 => Ok(Bytes::new()),
            State::Gzip(decoder) => {
                let outcome = decoder.try_finish();
                decoder.get_mut().take(outcome)
            }
            State::Zlib(decoder) => {
                let outcome = decoder.try_finish();
                decoder.get_mut().take(outcome)
            }
            State::Raw(decoder) => {
                let outcome = decoder.try_finish();
                decoder.get_mut().take(outcome)
            }
            State::Undecided(start) if start.is_empty() => Ok(Bytes::new()),
            State::Undecided(_) => Err(DecodeError::Malformed),
        }
    }
}

/// Takes decoded bytes and counts.
struct Sink {
    out: Vec<u8>,
    received: u64,
    decoded: u64,
    limit: u64,
    stop: Option<DecodeError>,
}

impl Sink {
    fn new(limit: u64) -> Self {
        Self { out: Vec::new(), received: 0, decoded: 0, limit, stop: None }
    }

    fn take(&mut self, outcome: io::Result<()>) -> Result<Bytes, DecodeError> {
        if let Some(stop) = self.stop.take() {
            return Err(stop);
        }
        outcome.map_err(|_| DecodeError::Malformed)?;
        Ok(Bytes::from(std::mem::take(&mut self.out)))
    }
}

impl Write for Sink {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.decoded += bytes.len() as u64;
        if self.decoded > self.limit {
            self.stop = Some(DecodeError::TooLarge);
        } else if self.decoded > RATIO_FROM_BYTES && self.decoded > RATIO * self.received {
            self.stop = Some(DecodeError::Bomb);
        }
        if self.stop.is_some() {
            return Err(io::Error::other("stopped"));
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use flate2::Compression;
    use http::HeaderValue;

    use super::*;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decode(coding: Coding, limit: u64, body: &[u8], step: usize) -> Result<Vec<u8>, DecodeError> {
        let mut decoder = Decoder::new(coding, limit).unwrap();
        let mut out = Vec::new();
        for chunk in body.chunks(step) {
            out.extend_from_slice(&decoder.push(chunk)?);
        }
        out.extend_from_slice(&decoder.finish()?);
        Ok(out)
    }

    #[test]
    fn gzip_and_both_kinds_of_deflate_in_any_chunks() {
        let text = b"hello hello hello".repeat(50);
        let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), Compression::default());
        zlib.write_all(&text).unwrap();
        let zlib = zlib.finish().unwrap();
        let mut raw = flate2::write::DeflateEncoder::new(Vec::new(), Compression::default());
        raw.write_all(&text).unwrap();
        let raw = raw.finish().unwrap();
        for step in [1, 2, 7, 4096] {
            assert_eq!(decode(Coding::Gzip, 1 << 20, &gzip(&text), step).unwrap(), text);
            assert_eq!(decode(Coding::Deflate, 1 << 20, &zlib, step).unwrap(), text);
            assert_eq!(decode(Coding::Deflate, 1 << 20, &raw, step).unwrap(), text);
        }
        let two = [gzip(&text), gzip(&text)].concat();
        assert_eq!(decode(Coding::Gzip, 1 << 20, &two, 9).unwrap(), text.repeat(2));
    }

    #[test]
    fn r9_bombs_and_sizes_end_early() {
        let bomb = gzip(&vec![0; 20 << 20]);
        assert_eq!(decode(Coding::Gzip, 50 << 20, &bomb, 1 << 14), Err(DecodeError::Bomb));
        assert_eq!(decode(Coding::Gzip, 1 << 16, &bomb, 1 << 14), Err(DecodeError::TooLarge));
    }

    #[test]
    fn what_is_cut_or_malformed_is_an_error() {
        let whole = gzip(b"hello hello hello");
        assert_eq!(decode(Coding::Gzip, 1 << 20, &whole[..whole.len() - 3], 4), Err(DecodeError::Malformed));
        assert_eq!(decode(Coding::Gzip, 1 << 20, b"no gzip at all", 4), Err(DecodeError::Malformed));
        assert_eq!(decode(Coding::Gzip, 1 << 20, b"", 4), Ok(Vec::new()));
    }

    #[test]
    fn codings_that_were_not_asked_for() {
        let with = |values: &[&'static str]| {
            let mut headers = HeaderMap::new();
            for value in values {
                headers.append(header::CONTENT_ENCODING, HeaderValue::from_static(value));
            }
            coding(&headers)
        };
        assert_eq!(with(&[]), Ok(Coding::Identity));
        assert_eq!(with(&["identity"]), Ok(Coding::Identity));
        assert_eq!(with(&["GZIP"]), Ok(Coding::Gzip));
        assert_eq!(with(&["x-gzip"]), Ok(Coding::Gzip));
        for values in [&["br"][..], &["zstd"], &["gzip, gzip"], &["gzip", "deflate"], &["compress"]] {
            assert_eq!(with(values), Err(DecodeError::Unknown), "{values:?}");
        }
    }
}
