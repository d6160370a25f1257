//! What stands behind a hook's handles, and what may be done with it.
//!
//! Promise: nothing here gives a guest a byte, a length or a comparison; what fails is noted in [`Host`] and ends the
//! call, so a guest cannot even ask whether a secret has some form. Whatever was made with a token remembers the pieces
//! that must not be seen in an answer ([`Held::pieces`]).
//!
//! Bounds: the bytes behind all handles of a call together ([`Host::new`]), and [`MOST_HANDLES`].

use aws_lc_rs::{digest, hmac};
use base64::Engine as _;
use base64::engine::general_purpose::{GeneralPurpose, STANDARD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurposeConfig};
use bytes::Bytes;
use data_encoding::{HEXLOWER, HEXLOWER_PERMISSIVE};
use percent_encoding::{percent_decode, percent_encode};
use wasmtime::component::{Resource, ResourceTable};
use zeroize::Zeroizing;

use crate::egress::inject::RESERVED;
use crate::wasm::{Limits, Meter, Metered};

/// Handles of a call at once. Fewer than the engine allows, so that this room says what was too much.
const MOST_HANDLES: usize = 90;

type Piece = Zeroizing<Vec<u8>>;

/// Pieces that one value may be made of; with more, a hook only wants to be costly.
const MOST_PIECES: usize = 64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hash {
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Base64,
    Base64url,
    Hex,
    Percent,
}

/// Why a call was ended. Fixed words: nothing of the bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Fault {
    #[error("it decodes bytes that are not so encoded")]
    Encoding,
    #[error("it holds more bytes at once than its request allows")]
    Bytes,
    #[error("it holds more handles at once than are allowed")]
    Handles,
    #[error("it cuts out of a reply what is not there")]
    Absent,
    #[error("it cuts what is no reply")]
    Whole,
    #[error("it puts together more pieces of secrets than are allowed")]
    Pieces,
}

/// Bytes behind a handle. `Debug` shows none.
pub struct Held {
    bytes: Data,
    /// What was made with a token, as it may stand in an answer. Empty: the bytes follow from the request alone.
    pieces: Vec<Piece>,
    /// A provider's reply, or a part of one: it can be cut. A token cannot. Whether a cut is possible shows in whether a
    /// call goes well, and with a request's help that would tell a secret piece by piece.
    reply: bool,
}

enum Data {
    Own(Piece),
    /// The body of the request, not copied.
    Shared(Bytes),
}

impl Held {
    /// Bytes of the guest, or of the request.
    pub(super) fn open(bytes: Vec<u8>) -> Self {
        Self { bytes: Data::Own(Zeroizing::new(bytes)), pieces: Vec::new(), reply: false }
    }

    pub(super) fn body(bytes: Bytes) -> Self {
        Self { bytes: Data::Shared(bytes), pieces: Vec::new(), reply: false }
    }

    /// What a provider answered with secrets in it.
    pub(super) fn reply(bytes: Vec<u8>) -> Self {
        Self { reply: true, ..Self::secret(bytes) }
    }

    /// A token, or what was made with one.
    pub(super) fn secret(bytes: Vec<u8>) -> Self {
        let bytes = Zeroizing::new(bytes);
        Self { pieces: vec![bytes.clone()], bytes: Data::Own(bytes), reply: false }
    }

    fn made(bytes: Vec<u8>, secret: bool) -> Self {
        if secret { Self::secret(bytes) } else { Self::open(bytes) }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        match &self.bytes {
            Data::Own(bytes) => bytes,
            Data::Shared(bytes) => bytes,
        }
    }

    pub(super) fn len(&self) -> usize {
        self.bytes().len()
    }

    pub(super) fn is_secret(&self) -> bool {
        !self.pieces.is_empty()
    }

    /// The forms that the scrubber looks for.
    pub(super) fn into_pieces(self) -> Vec<Piece> {
        self.pieces
    }

    pub(super) fn concat(parts: &[&Self]) -> Self {
        let mut bytes = Zeroizing::new(Vec::with_capacity(parts.iter().map(|part| part.len()).sum()));
        for part in parts {
            bytes.extend_from_slice(part.bytes());
        }
        let pieces = parts.iter().flat_map(|part| part.pieces.iter().cloned()).collect();
        Self { bytes: Data::Own(bytes), pieces, reply: false }
    }

    pub(super) fn hmac(&self, hash: Hash, message: &Self) -> Self {
        let algorithm = match hash {
            Hash::Sha1 => hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => hmac::HMAC_SHA256,
            Hash::Sha384 => hmac::HMAC_SHA384,
            Hash::Sha512 => hmac::HMAC_SHA512,
        };
        let mac = hmac::sign(&hmac::Key::new(algorithm, self.bytes()), message.bytes());
        Self::made(mac.as_ref().to_vec(), self.is_secret() || message.is_secret())
    }

    pub(super) fn digest(&self, hash: Hash) -> Self {
        let algorithm = match hash {
            Hash::Sha1 => &digest::SHA1_FOR_LEGACY_USE_ONLY,
            Hash::Sha256 => &digest::SHA256,
            Hash::Sha384 => &digest::SHA384,
            Hash::Sha512 => &digest::SHA512,
        };
        Self::made(digest::digest(algorithm, self.bytes()).as_ref().to_vec(), self.is_secret())
    }

    pub(super) fn encode(&self, coding: Coding) -> Self {
        let bytes = match coding {
            Coding::Base64 => STANDARD.encode(self.bytes()).into_bytes(),
            Coding::Base64url => URL_SAFE_NO_PAD.encode(self.bytes()).into_bytes(),
            Coding::Hex => HEXLOWER.encode(self.bytes()).into_bytes(),
            Coding::Percent => percent_encode(self.bytes(), RESERVED).to_string().into_bytes(),
        };
        Self::made(bytes, self.is_secret())
    }

    pub(super) fn decode(&self, coding: Coding) -> Result<Self, Fault> {
        let bytes = match coding {
            Coding::Base64 => LENIENT.decode(self.bytes()).map_err(|_| Fault::Encoding)?,
            Coding::Base64url => LENIENT_URL.decode(self.bytes()).map_err(|_| Fault::Encoding)?,
            Coding::Hex => HEXLOWER_PERMISSIVE.decode(self.bytes()).map_err(|_| Fault::Encoding)?,
            Coding::Percent => percent_decode(self.bytes()).collect(),
        };
        Ok(Self::made(bytes, self.is_secret()))
    }

    /// What stands between the first `after` and the next `before`; an empty `before`: up to the end.
    pub(super) fn between(&self, after: &[u8], before: &[u8]) -> Result<Self, Fault> {
        if !self.reply {
            return Err(Fault::Whole);
        }
        let find = |within: &[u8], what: &[u8]| match what.is_empty() {
            true => Some(0),
            false => within.windows(what.len()).position(|part| part == what),
        };
        let start = find(self.bytes(), after).ok_or(Fault::Absent)? + after.len();
        let rest = &self.bytes()[start..];
        let end = if before.is_empty() { rest.len() } else { find(rest, before).ok_or(Fault::Absent)? };
        Ok(Self::reply(rest[..end].to_vec()))
    }
}

const LENIENT_PADDING: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const LENIENT: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::STANDARD, LENIENT_PADDING);
const LENIENT_URL: GeneralPurpose = GeneralPurpose::new(&base64::alphabet::URL_SAFE, LENIENT_PADDING);

/// The store's data: the handles of one call.
pub struct Host {
    meter: Meter,
    table: ResourceTable,
    held_bytes: usize,
    most_bytes: usize,
    /// Why the call was ended, if this room ended it.
    fault: Option<Fault>,
}

impl Metered for Host {
    fn meter(&mut self) -> &mut Meter {
        &mut self.meter
    }
}

impl Host {
    /// `most_bytes` bounds what lies behind all handles together.
    pub(super) fn new(limits: &Limits, most_bytes: usize) -> Self {
        let mut table = ResourceTable::new();
        table.set_max_capacity(MOST_HANDLES.min(limits.handles));
        Self { meter: Meter::new(limits), table, held_bytes: 0, most_bytes, fault: None }
    }

    pub(super) fn meter_of(&self) -> &Meter {
        &self.meter
    }

    pub(super) fn fault(&self) -> Option<Fault> {
        self.fault
    }

    /// A new handle; the guest will own it.
    pub(super) fn keep(&mut self, held: Held) -> wasmtime::Result<Resource<Held>> {
        self.check_size(held.len())?;
        if held.pieces.len() > MOST_PIECES {
            return Err(self.end(Fault::Pieces));
        }
        let length = held.len();
        match self.table.push(held) {
            Ok(handle) => {
                self.held_bytes += length;
                Ok(handle)
            }
            Err(_) => Err(self.end(Fault::Handles)),
        }
    }

    pub(super) fn check_size(&mut self, more: usize) -> wasmtime::Result<()> {
        if self.held_bytes.saturating_add(more) > self.most_bytes {
            return Err(self.end(Fault::Bytes));
        }
        Ok(())
    }

    pub(super) fn get(&self, handle: &Resource<Held>) -> wasmtime::Result<&Held> {
        Ok(self.table.get(handle)?)
    }

    pub(super) fn release(&mut self, handle: Resource<Held>) -> wasmtime::Result<()> {
        self.take(handle).map(|_| ())
    }

    /// Out of the table: a slot's value, once the hook has given it back.
    pub(super) fn take(&mut self, handle: Resource<Held>) -> wasmtime::Result<Held> {
        let held = self.table.delete(handle)?;
        self.held_bytes -= held.len();
        Ok(held)
    }

    pub(super) fn or_fault<T>(&mut self, result: Result<T, Fault>) -> wasmtime::Result<T> {
        result.map_err(|fault| self.end(fault))
    }

    fn end(&mut self, fault: Fault) -> wasmtime::Error {
        self.fault = Some(fault);
        wasmtime::Error::msg(fault.to_string())
    }
}
