//! How rows lie in sled, and why no value ever becomes a sled blob.
//!
//! sled moves a page larger than a quarter segment into a file under `blobs/`, which `flush` does not make durable and
//! which 0.34 does not reliably remove. So no page may grow that large: a leaf holds about 17 items and an index about
//! 257 keys, the segment is 1 MiB, keys end at 512 bytes, and a value over [`CHUNK_BYTES`] is cut into chunks, each an
//! item of its own: 17 × (512 + 4096 + 16) bytes and 257 × (519 + 8) bytes both stay below 256 KiB.
//!
//! ```text
//! 'r' key                        → generation u64 LE, 0, value
//! 'r' key                        → generation u64 LE, 1, length u64 LE           (cut)
//! 'c' key length u16 BE, key, n u32 BE → chunk n
//! ```

use bytes::{Bytes, BytesMut};
use sled::{Batch, Db, IVec};

use crate::store::plan::name;
use crate::store::{MAX_VALUE_BYTES, Row, StoreError};

pub(super) const SEGMENT_BYTES: usize = 1 << 20;
const CHUNK_BYTES: usize = 4096;

const HEAD_BYTES: usize = 9;
const WHOLE: u8 = 0;
const CUT: u8 = 1;

/// The item under which the row `key` lies; also the prefix of the rows whose keys start with `key`.
pub(super) fn item(key: &[u8]) -> Vec<u8> {
    let mut item = Vec::with_capacity(key.len() + 1);
    item.push(b'r');
    item.extend_from_slice(key);
    item
}

pub(super) fn read(db: &Db, key: &[u8]) -> Result<Option<Row>, StoreError> {
    match db.get(item(key)).map_err(failed)? {
        Some(stored) => decode(db, key, &stored).map(Some),
        None => Ok(None),
    }
}

/// The row `key` whose item is `stored`.
pub(super) fn decode(db: &Db, key: &[u8], stored: &IVec) -> Result<Row, StoreError> {
    let damaged = || StoreError::Corrupt(format!("the row {} is damaged", name(key)));
    let (head, rest) = stored.split_at_checked(HEAD_BYTES).ok_or_else(damaged)?;
    let generation = u64::from_le_bytes(head[..8].try_into().map_err(|_| damaged())?);
    let value = match head[8] {
        WHOLE => Bytes::copy_from_slice(rest),
        CUT => {
            let length = length(rest).ok_or_else(damaged)?;
            let mut value = BytesMut::with_capacity(length);
            for number in 0..chunks(length) {
                value.extend_from_slice(&db.get(chunk(key, number)).map_err(failed)?.ok_or_else(damaged)?);
            }
            if value.len() != length {
                return Err(damaged());
            }
            value.freeze()
        }
        _ => return Err(damaged()),
    };
    Ok(Row { value, generation })
}

/// Replaces the row `key`, which is `before` now, by `after`.
pub(super) fn replace(batch: &mut Batch, key: &[u8], before: Option<&Row>, after: Option<&Row>) {
    let count = |row: Option<&Row>| row.map_or(0, |row| cut(row.value.len()));
    match after {
        None => batch.remove(item(key)),
        Some(row) => {
            let mut stored = Vec::with_capacity(HEAD_BYTES + row.value.len().min(CHUNK_BYTES));
            stored.extend_from_slice(&row.generation.to_le_bytes());
            if count(after) == 0 {
                stored.push(WHOLE);
                stored.extend_from_slice(&row.value);
            } else {
                stored.push(CUT);
                stored.extend_from_slice(&(row.value.len() as u64).to_le_bytes());
                for (number, part) in row.value.chunks(CHUNK_BYTES).enumerate() {
                    batch.insert(chunk(key, number), part);
                }
            }
            batch.insert(item(key), stored);
        }
    }
    for number in count(after)..count(before) {
        batch.remove(chunk(key, number));
    }
}

/// What sled reports ends the store: see the module `sled`.
pub(super) fn failed(error: sled::Error) -> StoreError {
    match error {
        sled::Error::Corruption { .. } => {
            StoreError::Corrupt("the store's files are damaged: a checksum does not match".to_owned())
        }
        error => StoreError::Failed(error.to_string()),
    }
}

/// In how many chunks a value of `length` bytes lies; none when it is whole.
fn cut(length: usize) -> usize {
    if length > CHUNK_BYTES { chunks(length) } else { 0 }
}

fn chunks(length: usize) -> usize {
    length.div_ceil(CHUNK_BYTES)
}

fn chunk(key: &[u8], number: usize) -> Vec<u8> {
    let mut item = Vec::with_capacity(key.len() + 7);
    item.push(b'c');
    item.extend_from_slice(&(key.len() as u16).to_be_bytes());
    item.extend_from_slice(key);
    item.extend_from_slice(&(number as u32).to_be_bytes());
    item
}

fn length(bytes: &[u8]) -> Option<usize> {
    let length = usize::try_from(u64::from_le_bytes(bytes.try_into().ok()?)).ok()?;
    (length <= MAX_VALUE_BYTES).then_some(length)
}
