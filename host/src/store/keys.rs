//! Keys made of text segments, so that a prefix scan over (kind, owner, app) can meet no neighbour.
//!
//! Encoding: within a segment the byte 00 is written as 01 01 and 01 as 01 02; every segment ends with 00. So 00 stands
//! only at ends of segments: `key(&["a"])` is no prefix of `key(&["ab"])` nor of `key(&["a\0b"])`, different lists of
//! segments make different keys, and keys sort as the lists of their segments do.

/// The key of these segments; also the prefix of every key that continues them.
pub fn key(parts: &[&str]) -> Vec<u8> {
    let mut key = Vec::with_capacity(parts.iter().map(|part| part.len() + 1).sum());
    for part in parts {
        escape(part, &mut key);
        key.push(0);
    }
    key
}

/// The prefix of all keys whose next segment after `parts` begins with `start`: for searches by the first letters.
pub fn starting(parts: &[&str], start: &str) -> Vec<u8> {
    let mut prefix = key(parts);
    escape(start, &mut prefix);
    prefix
}

/// The segments of a key, or none when it was not made by [`key`].
pub fn parts(key: &[u8]) -> Option<Vec<String>> {
    let mut parts = Vec::new();
    let mut part = Vec::new();
    let mut bytes = key.iter();
    while let Some(&byte) = bytes.next() {
        match byte {
            0 => parts.push(String::from_utf8(std::mem::take(&mut part)).ok()?),
            1 => match bytes.next() {
                Some(1) => part.push(0),
                Some(2) => part.push(1),
                _ => return None,
            },
            byte => part.push(byte),
        }
    }
    part.is_empty().then_some(parts)
}

/// A number as a segment that sorts by its value: for indexes by due time.
pub fn ordered(number: i64) -> String {
    format!("{:016x}", number.cast_unsigned() ^ (1 << 63))
}

/// The number of a segment that [`ordered`] made.
pub fn unordered(segment: &str) -> Option<i64> {
    let digits = segment.len() == 16 && segment.bytes().all(|byte| byte.is_ascii_hexdigit());
    let number = digits.then(|| u64::from_str_radix(segment, 16).ok()).flatten()?;
    Some((number ^ (1 << 63)).cast_signed())
}

fn escape(part: &str, key: &mut Vec<u8>) {
    for &byte in part.as_bytes() {
        match byte {
            0 => key.extend([1, 1]),
            1 => key.extend([1, 2]),
            byte => key.push(byte),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Segments rich in the bytes that the encoding treats apart.
    fn segments() -> impl Strategy<Value = Vec<String>> {
        let letter = prop_oneof![Just('\0'), Just('\u{1}'), Just('\u{2}'), Just('a'), Just('b'), any::<char>()];
        let segment = prop::collection::vec(letter, 0..5).prop_map(String::from_iter);
        prop::collection::vec(segment, 0..4)
    }

    fn encode(parts: &[String]) -> Vec<u8> {
        key(&parts.iter().map(String::as_str).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn a_key_gives_back_its_segments(segments in segments()) {
            prop_assert_eq!(parts(&encode(&segments)), Some(segments));
        }

        #[test]
        fn keys_sort_as_their_segments(a in segments(), b in segments()) {
            prop_assert_eq!(encode(&a).cmp(&encode(&b)), a.cmp(&b));
        }

        #[test]
        fn a_prefix_matches_exactly_the_keys_that_continue_it(a in segments(), b in segments()) {
            prop_assert_eq!(encode(&b).starts_with(&encode(&a)), b.starts_with(&a));
        }

        #[test]
        fn a_start_matches_exactly_the_segments_that_begin_so(start in "[\\x00-\\x03a]{0,3}", next in "[\\x00-\\x03a]{0,4}") {
            prop_assert_eq!(key(&["x", &next]).starts_with(&starting(&["x"], &start)), next.starts_with(&start));
        }

        #[test]
        fn numbers_sort_by_value(a in any::<i64>(), b in any::<i64>()) {
            prop_assert_eq!(ordered(a).cmp(&ordered(b)), a.cmp(&b));
        }
    }

    #[test]
    fn neighbours_are_told_apart() {
        assert!(!key(&["acc", "user:localhost"]).starts_with(&key(&["acc", "user:local"])));
        assert!(!key(&["acc", "user:local\0x"]).starts_with(&key(&["acc", "user:local"])));
        assert_ne!(key(&["a", "b"]), key(&["a\0b"]));
        assert_eq!(parts(b"no end"), None);
        assert_eq!(parts(&[1, 3, 0]), None);
    }
}
