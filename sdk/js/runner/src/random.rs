//! Random numbers of this run: never the snapshot's.

use std::cell::Cell;

use crate::bindings::deputy::step::random;
use crate::engine;

/// The most that one call of the host gives.
pub const MAX_BYTES: usize = 64 << 10;

thread_local! {
    /// Of xoshiro256++; none until the script asks for its first number.
    static STATE: Cell<Option<[u64; 4]>> = const { Cell::new(None) };
    static SNAPSHOT: Cell<[u64; 4]> = const { Cell::new([1, 2, 3, 4]) };
}

/// For secrets: from the host's system.
pub fn bytes(len: usize) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(len);
    while bytes.len() < len {
        bytes.extend(random::bytes((len - bytes.len()).min(MAX_BYTES) as u32));
    }
    bytes
}

/// `Math.random`: seeded by the host, uniform in [0, 1).
pub fn number() -> f64 {
    // While the snapshot is made there is no chance, and what libraries name with it then is no secret. Nothing of it
    // is kept: a run begins with a seed of its own.
    let mut state = match engine::is_running() {
        true => STATE.get().unwrap_or_else(seed),
        false => SNAPSHOT.get(),
    };
    let number = next(&mut state);
    match engine::is_running() {
        true => STATE.set(Some(state)),
        false => SNAPSHOT.set(state),
    }
    // 53 bits, as many as a number holds.
    (number >> 11) as f64 / (1_u64 << 53) as f64
}

fn seed() -> [u64; 4] {
    let bytes = bytes(32);
    let mut state = [0; 4];
    for (word, bytes) in state.iter_mut().zip(bytes.chunks_exact(8)) {
        let mut eight = [0; 8];
        eight.copy_from_slice(bytes);
        *word = u64::from_le_bytes(eight);
    }
    state
}

/// xoshiro256++ of Blackman and Vigna.
fn next(state: &mut [u64; 4]) -> u64 {
    let result = state[0].wrapping_add(state[3]).rotate_left(23).wrapping_add(state[0]);
    let shifted = state[1] << 17;
    state[2] ^= state[0];
    state[3] ^= state[1];
    state[1] ^= state[2];
    state[0] ^= state[3];
    state[2] ^= shifted;
    state[3] = state[3].rotate_left(45);
    result
}
