//! Unpredictable bytes, from the host.

use crate::bindings::deputy::step::random as wit;

/// At most 64 KiB a call.
pub fn bytes(len: u32) -> Vec<u8> {
    wit::bytes(len)
}
