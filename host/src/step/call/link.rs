//! The `Link` header (RFC 8288 section 3), read as its appendix B.3 says: what cannot be read ends the field.

use http::{HeaderMap, header};

/// The target of the first link with `rel="next"` that is about the answer itself.
pub(super) fn next(headers: &HeaderMap) -> Option<String> {
    headers.get_all(header::LINK).iter().filter_map(|value| value.to_str().ok()).find_map(next_in)
}

fn next_in(field: &str) -> Option<String> {
    let mut rest = field;
    loop {
        rest = rest.trim_start_matches([' ', '\t', ',']);
        let (target, after) = rest.strip_prefix('<')?.split_once('>')?;
        rest = after;
        let mut rel = None;
        let mut about_another = false;
        while let Some(after) = rest.trim_start_matches([' ', '\t']).strip_prefix(';') {
            let (name, value, after) = parameter(after)?;
            rest = after;
            match name.to_ascii_lowercase().as_str() {
                // A second one must be ignored.
                "rel" if rel.is_none() => rel = Some(value),
                "anchor" => about_another = true,
                _ => {}
            }
        }
        let is_next = rel.is_some_and(|rel| rel.split_ascii_whitespace().any(|rel| rel.eq_ignore_ascii_case("next")));
        if is_next && !about_another {
            return Some(target.to_owned());
        }
        rest = rest.trim_start_matches([' ', '\t']);
        if !rest.is_empty() && !rest.starts_with(',') {
            return None;
        }
    }
}

/// Name, value and what follows. A parameter may lack its value; a quoted one may hold `,` `;` and escapes.
fn parameter(text: &str) -> Option<(&str, String, &str)> {
    let text = text.trim_start_matches([' ', '\t']);
    let (name, rest) = text.split_at(text.find([' ', '\t', '=', ';', ',']).unwrap_or(text.len()));
    let Some(rest) = rest.trim_start_matches([' ', '\t']).strip_prefix('=') else {
        return Some((name, String::new(), rest));
    };
    let rest = rest.trim_start_matches([' ', '\t']);
    let Some(quoted) = rest.strip_prefix('"') else {
        let (value, rest) = rest.split_at(rest.find([';', ',']).unwrap_or(rest.len()));
        return Some((name, value.trim_end_matches([' ', '\t']).to_owned(), rest));
    };
    let mut value = String::new();
    let mut chars = quoted.char_indices();
    while let Some((at, c)) = chars.next() {
        match c {
            '"' => return Some((name, value, &quoted[at + 1..])),
            '\\' => value.push(chars.next()?.1),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_next_link_is_found_in_all_its_spellings() {
        for (field, target) in [
            (r#"<https://api.example/x?page=2>; rel="next""#, Some("https://api.example/x?page=2")),
            (r#"<https://a/1>; rel="prev", <https://a/3>; rel="next", <https://a/9>; rel="last""#, Some("https://a/3")),
            ("<https://a/2>;rel=next", Some("https://a/2")),
            ("<https://a/2> ; REL = NEXT ; title=x", Some("https://a/2")),
            (r#"<https://a/2>; rel="last next""#, Some("https://a/2")),
            (r#"<https://a/a,b;c>; rel="next""#, Some("https://a/a,b;c")),
            (r#"<https://a/1>; title="a, <https://evil>; rel=\"next\""; rel="prev""#, None),
            (r#"<https://a/1>; title="a \" b"; rel="next""#, Some("https://a/1")),
            (r#", ,<https://a/2>; rel="next","#, Some("https://a/2")),
            ("</x?page=2>; rel=next", Some("/x?page=2")),
            (r#"<https://a/1>; rel="prev"; rel="next""#, None),
            (r#"<https://a/1>; rel="next"; anchor="https://b""#, None),
            (r#"<https://a/1>; rel="nextish""#, None),
            ("<https://a/1>; next", None),
            ("<https://a/1", None),
            (r#"<https://a/1>; rel="next"#, None),
            ("https://a/1; rel=next", None),
            (r#"<https://a/1> x; rel="next""#, None),
            ("", None),
        ] {
            assert_eq!(next_in(field).as_deref(), target, "{field}");
        }
    }

    #[test]
    fn several_fields_are_one_list() {
        let mut headers = HeaderMap::new();
        headers.append("link", HeaderValue::from_static("<https://a/1>; rel=prev"));
        headers.append("link", HeaderValue::from_static("<https://a/3>; rel=next"));
        assert_eq!(next(&headers).as_deref(), Some("https://a/3"));
    }

    proptest! {
        #[test]
        fn no_field_breaks_the_reader(field in r#"[<>;,="\\ a-z/relnxt]{0,80}"#) {
            let _ = next_in(&field);
        }
    }
}
