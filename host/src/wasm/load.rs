//! From bytes to a component: what is refused before anything compiles it.

use std::borrow::Cow;

use wasmtime::Engine;

use super::WasmError;

/// The largest component: a whole Python runtime has 18 MB. Compiling takes ten to twenty times the size in memory.
pub const MAX_COMPONENT_BYTES: usize = 32 << 20;

/// A component's bytes. A core module that says which world it is for (as the SDK makes it) is encoded here, so that
/// authors need no tool but cargo.
pub fn to_component(bytes: &[u8]) -> Result<Cow<'_, [u8]>, WasmError> {
    // First, because an artifact must never come near a loader.
    if Engine::detect_precompiled(bytes).is_some() {
        return Err(WasmError::Precompiled);
    }
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(WasmError::TooLarge { bytes: bytes.len(), limit: MAX_COMPONENT_BYTES });
    }
    if wasmparser::Parser::is_component(bytes) {
        return Ok(Cow::Borrowed(bytes));
    }
    if !wasmparser::Parser::is_core_wasm(bytes) {
        return Err(WasmError::NotWasm(what_it_is(bytes).to_owned()));
    }
    if !says_its_world(bytes)? {
        return Err(WasmError::CoreModule);
    }
    wit_component::ComponentEncoder::default()
        .validate(true)
        .module(bytes)
        .and_then(|mut encoder| encoder.encode())
        .map(Cow::Owned)
        .map_err(|error| WasmError::Invalid(format!("{error:#}")))
}

/// Does a core module carry the section in which wit-bindgen writes the world?
fn says_its_world(bytes: &[u8]) -> Result<bool, WasmError> {
    for payload in wasmparser::Parser::new(0).parse_all(bytes) {
        match payload {
            Ok(wasmparser::Payload::CustomSection(section)) if section.name().starts_with("component-type") => {
                return Ok(true);
            }
            Ok(_) => {}
            Err(error) => return Err(WasmError::Invalid(error.to_string())),
        }
    }
    Ok(false)
}

fn what_it_is(bytes: &[u8]) -> &'static str {
    match bytes {
        [] => "the file is empty",
        [0, b'a', b's', b'm', ..] => "it has wasm's first bytes but no known version",
        [0x7f, b'E', b'L', b'F', ..] => "it is a native program or library",
        [b'P', b'K', 3, 4, ..] => "it is a zip archive",
        [0x1f, 0x8b, ..] => "it is gzip data",
        [b'(', ..] => "it is WebAssembly text; give the binary",
        _ if std::str::from_utf8(&bytes[..bytes.len().min(512)]).is_ok() => "it is text",
        _ => "it does not start with wasm's first bytes",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_wasm_is_named() {
        for (bytes, word) in [
            (&b""[..], "empty"),
            (b"\x7fELF\x02\x01", "native"),
            (b"export default 1", "text"),
            (b"(component)", "text; give the binary"),
            (b"\0asm\x07\0\0\0", "no known version"),
        ] {
            let error = to_component(bytes).unwrap_err();
            assert!(error.to_string().contains(word), "{error}");
            assert_eq!(error.code(), "wasm_not_wasm");
        }
    }

    #[test]
    fn a_core_module_without_a_world_is_told_how_to_get_one() {
        let error = to_component(b"\0asm\x01\0\0\0").unwrap_err();
        assert_eq!(error.code(), "wasm_core_module");
        assert!(error.fix().unwrap().contains("SDK"));
    }

    #[test]
    fn what_is_too_large_is_not_parsed() {
        assert_eq!(to_component(&vec![0; MAX_COMPONENT_BYTES + 1]).unwrap_err().code(), "wasm_too_large");
    }
}
