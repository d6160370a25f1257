//! What a hostile guest finds in its own memory.

/// The first word of this module's memory that holds "canary". What it looks for stands nowhere in it: each letter is
/// one too high.
pub fn memory() -> String {
    let mut word = Vec::new();
    for address in 1..core::arch::wasm32::memory_size(0) * 65_536 {
        // SAFETY: the address lies in this module's own memory, which is plain bytes.
        let byte = unsafe { std::ptr::read_volatile(address as *const u8) };
        if byte.is_ascii_graphic() {
            word.push(byte);
            continue;
        }
        let shifted: Vec<u8> = word.iter().map(|byte| byte + 1).collect();
        if shifted.windows(6).any(|part| part == b"dbobsz") {
            return format!("found: {}", String::from_utf8_lossy(&word));
        }
        word.clear();
    }
    "found: nothing".to_owned()
}
