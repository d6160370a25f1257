//! Writing at a JSON Pointer (RFC 6901): what is missing on the way is made, a number as a step makes a list.

use serde_json::{Map, Value};

/// Puts a value at the pointer. False where the way leads through something that is neither object nor list; nothing is
/// changed then but what was missing.
///
/// In a list an index past its end appends, so that a left-out item leaves no hole.
pub(in crate::step) fn set(root: &mut Value, pointer: &str, value: Value) -> bool {
    if pointer.is_empty() {
        *root = value;
        return true;
    }
    let Some(path) = pointer.strip_prefix('/') else { return false };
    let mut at = root;
    for step in path.split('/') {
        let step = step.replace("~1", "/").replace("~0", "~");
        if at.is_null() {
            *at = if is_index(&step) { Value::Array(Vec::new()) } else { Value::Object(Map::new()) };
        }
        at = match at {
            Value::Object(fields) => fields.entry(step).or_insert(Value::Null),
            Value::Array(items) if is_index(&step) => {
                let index = step.parse().unwrap_or(usize::MAX).min(items.len());
                if index == items.len() {
                    items.push(Value::Null);
                }
                &mut items[index]
            }
            _ => return false,
        };
    }
    *at = value;
    true
}

fn is_index(step: &str) -> bool {
    step == "0" || (!step.starts_with('0') && !step.is_empty() && step.bytes().all(|byte| byte.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(fields: &[(&str, Value)]) -> Value {
        let mut root = Value::Null;
        for (pointer, value) in fields {
            assert!(set(&mut root, pointer, value.clone()), "{pointer}");
        }
        root
    }

    #[test]
    fn pointers_make_objects_and_lists() {
        let sent = made(&[
            ("/personalizations/0/to/0/email", json!("a@b.c")),
            ("/personalizations/0/subject", json!("hi")),
            ("/from/email", json!("d@e.f")),
            ("/content/0", json!({"type": "text/plain"})),
        ]);
        let expected = json!({
            "personalizations": [{"to": [{"email": "a@b.c"}], "subject": "hi"}],
            "from": {"email": "d@e.f"},
            "content": [{"type": "text/plain"}],
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn a_left_out_item_leaves_no_hole() {
        assert_eq!(made(&[("/a/1/x", json!(1)), ("/a/9", json!(2))]), json!({"a": [{"x": 1}, 2]}));
    }

    #[test]
    fn names_are_unescaped_and_a_number_in_an_object_is_a_name() {
        assert_eq!(made(&[("/a~1b/~0c", json!(1))]), json!({"a/b": {"~c": 1}}));
        assert_eq!(made(&[("/a", json!({})), ("/a/0", json!(1))]), json!({"a": {"0": 1}}));
        assert_eq!(made(&[("/a/01", json!(1))]), json!({"a": {"01": 1}}));
        assert_eq!(made(&[("", json!([1])), ("/1", json!(2))]), json!([1, 2]));
        assert_eq!(made(&[("/", json!(1))]), json!({"": 1}));
    }

    #[test]
    fn what_is_no_place_is_refused() {
        let mut root = json!({"a": 1, "b": []});
        for pointer in ["a", "/a/b", "/b/x", "/b/-"] {
            assert!(!set(&mut root, pointer, json!(2)), "{pointer}");
        }
    }
}
