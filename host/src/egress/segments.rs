//! Path segments that carry a credential: `/bot{token}` between the app's base and the path that the caller asks for.
//!
//! Promise: the rendered path stands on the wire and nowhere else. Reach, errors and the audit see the caller's path,
//! or the template.

use deputy_declaration::types::{AuthMethod, Encoding, Part, Rule, Template};
use percent_encoding::{AsciiSet, percent_decode_str, percent_encode};
use url::Url;
use zeroize::Zeroizing;

use super::inject::{self, RESERVED};
use super::{EgressError, Live, reconnect};

/// Services write colons into a segment as they are, and RFC 3986 section 3.3 allows it.
const SEGMENT: &AsciiSet = &RESERVED.remove(b':');

/// What follows the base in a URL: empty, or with a slash first. None: the URL lies elsewhere.
pub(crate) fn below<'u>(base: &Url, url: &'u Url) -> Option<&'u str> {
    if url.origin() != base.origin() {
        return None;
    }
    let rest = url.path().strip_prefix(base.path().trim_end_matches('/'))?;
    (rest.is_empty() || rest.starts_with('/')).then_some(rest)
}

/// A template cut at its slashes. Validation lets a template begin with one.
pub(crate) fn cut(template: &Template) -> Vec<Template> {
    let mut segments: Vec<Template> = Vec::new();
    for part in template {
        let Part::Text(text) = part else {
            if let Some(last) = segments.last_mut() {
                last.push(part.clone());
            }
            continue;
        };
        for (at, piece) in text.split('/').enumerate() {
            if at > 0 {
                segments.push(Vec::new());
            }
            if let Some(last) = segments.last_mut().filter(|_| !piece.is_empty()) {
                last.push(Part::Text(piece.to_owned()));
            }
        }
    }
    segments
}

/// What the caller wrote where a rule puts a credential is refused, as far as it can be told from a path: where the
/// template has a text of its own.
pub(super) fn check_slots(live: &Live, method: &AuthMethod, url: &Url) -> Result<(), EgressError> {
    let Some(rest) = below(&live.base, url) else { return Ok(()) };
    let asked: Vec<String> =
        rest.split('/').skip(1).map(|segment| percent_decode_str(segment).decode_utf8_lossy().to_lowercase()).collect();
    for rule in method.rule_sets.iter().flat_map(|set| &set.rules) {
        let Rule::Path(template) = rule else { continue };
        let segments = cut(template);
        let told = segments.iter().flatten().any(|part| matches!(part, Part::Text(_)));
        if told && asked.len() >= segments.len() && segments.iter().zip(&asked).all(|(one, asked)| fits(one, asked)) {
            return Err(EgressError::denied(
                "path",
                format!("the path begins with `{}`, which carries the account's credential", shown(template)),
                "write the path without it; to send another credential, use another account",
            ));
        }
    }
    Ok(())
}

fn fits(segment: &Template, asked: &str) -> bool {
    let text = |part: Option<&Part>| match part {
        Some(Part::Text(text)) => text.to_lowercase(),
        _ => String::new(),
    };
    if let [Part::Text(whole)] = &segment[..] {
        return whole.to_lowercase() == asked;
    }
    let (before, after) = (text(segment.first()), text(segment.last()));
    asked.len() > before.len() + after.len() && asked.starts_with(&before) && asked.ends_with(&after)
}

/// Puts the segments into the URL. Returns its path with the template in their place.
pub(super) fn insert(
    live: &Live,
    template: &Template,
    url: &mut Url,
    forms: &mut Vec<Zeroizing<Vec<u8>>>,
) -> Result<String, EgressError> {
    let app = &live.declaration.slug;
    let Some(rest) = below(&live.base, url).map(str::to_owned) else {
        return Err(EgressError::denied(
            "path",
            format!(
                "{app} puts the credential into the path behind its base {}, and this URL is not below it",
                live.base
            ),
            "write a path below the base, such as /path",
        ));
    };
    let before = live.base.path().trim_end_matches('/');
    let mut path = Zeroizing::new(before.to_owned());
    for segment in cut(template) {
        let start = path.len() + 1;
        path.push('/');
        for part in &segment {
            let value = inject::render(live, std::slice::from_ref(part), forms)?;
            match part {
                Part::Text(text) => path.push_str(text),
                Part::Input(placeholder) | Part::Token(placeholder) | Part::Host(placeholder) => {
                    let text = std::str::from_utf8(&value).ok();
                    match text.filter(|_| placeholder.encodings.last() == Some(&Encoding::Percent)) {
                        Some(text) => path.push_str(text),
                        None => {
                            let encoded = Zeroizing::new(percent_encode(&value, SEGMENT).to_string());
                            path.push_str(&encoded);
                            if matches!(part, Part::Token(_)) {
                                forms.push(Zeroizing::new(encoded.as_bytes().to_vec()));
                            }
                        }
                    }
                }
            }
        }
        if matches!(path[start..].to_ascii_lowercase().replace("%2e", ".").as_str(), "" | "." | "..") {
            return Err(unfit(live));
        }
    }
    path.push_str(&rest);
    url.set_path(&path);
    // What the parser had to change is no path of plain segments.
    if url.path() != path.as_str() {
        return Err(unfit(live));
    }
    Ok(format!("{before}{}{rest}", shown(template)))
}

fn unfit(live: &Live) -> EgressError {
    EgressError::denied(
        "credential",
        format!("the credential of {} cannot stand in a path", live.name),
        reconnect(&live.name),
    )
}

fn shown(template: &Template) -> String {
    crate::app::words::template(template)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use deputy_declaration::types::RuleSet;

    use super::super::tests::{live, text, token};
    use super::*;
    use crate::vault::Secret;

    fn bot(origin: &str, template: &[Part]) -> Live {
        let mut live = live(origin);
        Arc::make_mut(&mut live.declaration).methods[0].rule_sets =
            vec![RuleSet { name: "bot".into(), rules: vec![Rule::Path(template.to_vec())] }];
        live.tokens.insert("key".into(), Secret::new(b"123:canary/ABC".to_vec()));
        live
    }

    fn inserted(live: &Live, url: &str) -> Result<(String, String), EgressError> {
        let Rule::Path(template) = &live.declaration.methods[0].rule_sets[0].rules[0] else { panic!() };
        let mut url = Url::parse(url).unwrap();
        check_slots(live, &live.declaration.methods[0], &url)?;
        insert(live, template, &mut url, &mut Vec::new()).map(|shown| (url.to_string(), shown))
    }

    #[test]
    fn segments_stand_behind_the_base() {
        let bot_token = [text("/bot"), token("key", &[])];
        for (base, url, expected, shown) in [
            (
                "https://a.test",
                "https://a.test/getMe?x=1",
                "https://a.test/bot123:canary%2FABC/getMe?x=1",
                "/bot{key}/getMe",
            ),
            ("https://a.test/v1", "https://a.test/v1/x", "https://a.test/v1/bot123:canary%2FABC/x", "/v1/bot{key}/x"),
            ("https://a.test/v1", "https://a.test/v1", "https://a.test/v1/bot123:canary%2FABC", "/v1/bot{key}"),
            ("https://a.test", "https://a.test/", "https://a.test/bot123:canary%2FABC/", "/bot{key}/"),
        ] {
            let live = bot(base, &bot_token);
            assert_eq!(inserted(&live, url).unwrap(), (expected.to_owned(), shown.to_owned()), "{url}");
        }
        let live = bot("https://a.test", &[text("/v1/"), token("key", &[Encoding::Percent]), text("/x")]);
        assert_eq!(inserted(&live, "https://a.test/y").unwrap().0, "https://a.test/v1/123%3Acanary%2FABC/x/y");
    }

    #[test]
    fn a_url_elsewhere_has_no_place_for_them() {
        let live = bot("https://a.test/v1", &[text("/bot"), token("key", &[])]);
        for url in ["https://a.test/", "https://a.test/v1x/y", "https://b.test/v1/x", "http://a.test/v1/x"] {
            let error = inserted(&live, url).unwrap_err();
            assert!(
                error.to_string().contains("https://a.test/v1") && !error.to_string().contains("canary"),
                "{error}"
            );
        }
    }

    #[test]
    fn what_stands_there_already_is_refused() {
        let live = bot("https://a.test", &[text("/bot"), token("key", &[])]);
        for path in ["/bot1:a/getMe", "/BOT1:a", "/%62ot1:a/x"] {
            let error = inserted(&live, &format!("https://a.test{path}")).unwrap_err();
            assert!(error.to_string().contains("`/bot{key}`"), "{error}");
        }
        for path in ["/bot", "/x/bot1:a", "/getbot"] {
            assert!(inserted(&live, &format!("https://a.test{path}")).is_ok(), "{path}");
        }
    }

    #[test]
    fn a_secret_that_is_no_segment_is_refused() {
        let mut live = bot("https://a.test", &[text("/"), token("key", &[])]);
        for secret in ["", ".", ".."] {
            live.tokens.insert("key".into(), Secret::new(secret.as_bytes().to_vec()));
            assert!(inserted(&live, "https://a.test/x").is_err(), "{secret}");
        }
        live.tokens.insert("key".into(), Secret::new(b"a?b#c/../d".to_vec()));
        assert_eq!(inserted(&live, "https://a.test/x").unwrap().0, "https://a.test/a%3Fb%23c%2F..%2Fd/x");
    }
}
