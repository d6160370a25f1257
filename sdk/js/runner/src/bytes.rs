//! Bytes and texts between JavaScript and Rust.

use rquickjs::{ArrayBuffer, Ctx, Exception, Object, Result, String as JsString, TypedArray, Value};

/// A copy of what a `Uint8Array` or an `ArrayBuffer` holds.
pub fn bytes_of(ctx: &Ctx<'_>, value: &Value<'_>) -> Result<Vec<u8>> {
    let object = value.as_object();
    if let Some(array) = object.and_then(Object::as_typed_array::<u8>) {
        // SAFETY: copied before any JavaScript can run.
        return match unsafe { array.as_bytes() } {
            Some(bytes) => Ok(bytes.to_vec()),
            None => Err(Exception::throw_type(ctx, "the buffer is detached")),
        };
    }
    if let Some(buffer) = value.as_object().and_then(|object| ArrayBuffer::from_object(object.clone())) {
        // SAFETY: as above.
        return match buffer.as_raw() {
            Some(bytes) => Ok(unsafe { bytes.as_ref() }.to_vec()),
            None => Err(Exception::throw_type(ctx, "the buffer is detached")),
        };
    }
    Err(Exception::throw_type(ctx, "not a Uint8Array"))
}

/// In the script's heap, so that its limit counts them.
pub fn array<'js>(ctx: &Ctx<'js>, bytes: &[u8]) -> Result<TypedArray<'js, u8>> {
    TypedArray::new_copy(ctx.clone(), bytes)
}

/// UTF-8. A surrogate without its half becomes U+FFFD.
pub fn text(string: &JsString<'_>) -> Result<String> {
    match string.to_string() {
        Ok(text) => Ok(text),
        Err(rquickjs::Error::Utf8(_)) => Ok(well_formed(&raw(string)?)),
        Err(error) => Err(error),
    }
}

/// As QuickJS writes it: UTF-8, and three bytes for a lone surrogate.
fn raw(string: &JsString<'_>) -> Result<Vec<u8>> {
    use rquickjs::qjs;
    let ctx = string.ctx().as_raw().as_ptr();
    let mut len = std::mem::MaybeUninit::uninit();
    // SAFETY: the value is a string of this context; the text is copied, then freed.
    unsafe {
        let text = qjs::JS_ToCStringLen(ctx, len.as_mut_ptr(), string.as_raw());
        if text.is_null() {
            return Err(rquickjs::Error::Exception);
        }
        let bytes = std::slice::from_raw_parts(text.cast::<u8>(), len.assume_init()).to_vec();
        qjs::JS_FreeCString(ctx, text);
        Ok(bytes)
    }
}

fn well_formed(mut bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len());
    loop {
        match std::str::from_utf8(bytes) {
            Ok(rest) => {
                text.push_str(rest);
                return text;
            }
            Err(error) => {
                let (good, bad) = bytes.split_at(error.valid_up_to());
                text.push_str(&String::from_utf8_lossy(good));
                text.push('\u{fffd}');
                // ED A0..BF xx: one surrogate.
                let surrogate = matches!(bad, [0xed, 0xa0..=0xbf, 0x80..=0xbf, ..]);
                bytes = &bad[if surrogate { 3 } else { 1 }..];
            }
        }
    }
}

/// One byte a character, as header values are written.
pub fn latin1(text: &str) -> Option<Vec<u8>> {
    text.chars().map(|character| u8::try_from(u32::from(character)).ok()).collect()
}

pub fn from_latin1(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| char::from(*byte)).collect()
}

const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

pub fn to_base64(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let at = |index: usize| u32::from(chunk.get(index).copied().unwrap_or(0));
        let group = at(0) << 16 | at(1) << 8 | at(2);
        for place in 0..4 {
            let digit = (group >> (18 - 6 * place)) & 63;
            text.push(if place > chunk.len() { '=' } else { char::from(ALPHABET[digit as usize]) });
        }
    }
    text
}

/// Standard or URL alphabet; padding may be missing, white space is skipped. None: it is no base64.
pub fn from_base64(text: &str) -> Option<Vec<u8>> {
    let mut digits: Vec<u8> = text.bytes().filter(|byte| !byte.is_ascii_whitespace()).collect();
    if digits.len().is_multiple_of(4) {
        for _ in 0..2 {
            if digits.last() == Some(&b'=') {
                digits.pop();
            }
        }
    }
    let mut bytes = Vec::with_capacity(digits.len() / 4 * 3 + 2);
    for chunk in digits.chunks(4) {
        let mut group = 0;
        for byte in chunk {
            let digit = match byte {
                b'A'..=b'Z' => byte - b'A',
                b'a'..=b'z' => byte - b'a' + 26,
                b'0'..=b'9' => byte - b'0' + 52,
                b'+' | b'-' => 62,
                b'/' | b'_' => 63,
                _ => return None,
            };
            group = group << 6 | u32::from(digit);
        }
        let missing = 4 - chunk.len();
        if missing == 3 {
            return None;
        }
        let group = (group << (6 * missing)).to_be_bytes();
        bytes.extend_from_slice(&group[1..4 - missing]);
    }
    Some(bytes)
}
