//! What a commit would change, decided before anything is written: the same rules for every backend.

use std::collections::BTreeMap;

use bytes::Bytes;

use super::{Expect, MAX_COMMIT_BYTES, MAX_KEY_BYTES, MAX_OPERATIONS, MAX_VALUE_BYTES, Op, Row, StoreError};

/// Rows after a commit; none where a row is deleted.
pub(super) type Changes = BTreeMap<Vec<u8>, Option<Row>>;

/// Holds the operations against the store's limits.
pub(super) fn validate(operations: &[Op]) -> Result<(), StoreError> {
    let check = |what, size, limit| {
        if size > limit { Err(StoreError::TooLarge { what, size, limit }) } else { Ok(()) }
    };
    check("commit (in operations)", operations.len(), MAX_OPERATIONS)?;
    let mut total = 0;
    for operation in operations {
        let (Op::Put { key, .. } | Op::Delete { key, .. } | Op::Check { key, .. } | Op::Add { key, .. }) = operation;
        check("key (in bytes)", key.len(), MAX_KEY_BYTES)?;
        total += key.len();
        if let Op::Put { value, .. } = operation {
            check("value (in bytes)", value.len(), MAX_VALUE_BYTES)?;
            total += value.len();
        }
    }
    check("commit (in bytes)", total, MAX_COMMIT_BYTES)
}

/// The changes of `operations` over the rows that `read` gives, or the conflict that forbids them.
pub(super) fn plan(
    operations: Vec<Op>,
    mut read: impl FnMut(&[u8]) -> Result<Option<Row>, StoreError>,
) -> Result<Changes, StoreError> {
    let mut changes = Changes::new();
    for operation in operations {
        let (Op::Put { key, .. } | Op::Delete { key, .. } | Op::Check { key, .. } | Op::Add { key, .. }) = &operation;
        let before = match changes.get(key) {
            Some(changed) => changed.clone(),
            None => read(key)?,
        };
        match operation {
            Op::Put { key, value, expect } => {
                meets(expect, &before, &key)?;
                changes.insert(key, Some(next(&before, value)));
            }
            Op::Delete { key, expect } => {
                meets(expect, &before, &key)?;
                changes.insert(key, None);
            }
            Op::Check { key, expect } => meets(expect, &before, &key)?,
            Op::Add { key, delta } => {
                let sum = counter(&before, &key)?
                    .checked_add(delta)
                    .ok_or_else(|| StoreError::Corrupt(format!("the counter {} overflows", name(&key))))?;
                changes.insert(key, Some(next(&before, sum.to_le_bytes().to_vec())));
            }
        }
    }
    Ok(changes)
}

fn meets(expect: Expect, before: &Option<Row>, key: &[u8]) -> Result<(), StoreError> {
    let met = match expect {
        Expect::Any => true,
        Expect::Absent => before.is_none(),
        Expect::Generation(generation) => before.as_ref().is_some_and(|row| row.generation == generation),
    };
    if met { Ok(()) } else { Err(StoreError::Conflict { key: key.to_vec() }) }
}

fn next(before: &Option<Row>, value: Vec<u8>) -> Row {
    Row { value: Bytes::from(value), generation: before.as_ref().map_or(0, |row| row.generation) + 1 }
}

fn counter(before: &Option<Row>, key: &[u8]) -> Result<i64, StoreError> {
    let Some(row) = before else { return Ok(0) };
    let bytes = row.value.as_ref().try_into();
    bytes.map(i64::from_le_bytes).map_err(|_| {
        StoreError::Corrupt(format!("the row {} is no counter: it has {} bytes, not 8", name(key), row.value.len()))
    })
}

/// A key in words, for errors.
pub(super) fn name(key: &[u8]) -> String {
    super::parts(key).map_or_else(|| key.escape_ascii().to_string(), |parts| parts.join("/"))
}
