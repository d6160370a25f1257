//! What a person types at connect, checked and brought into its one form.

use url::Url;

use crate::types::{Input, InputKind};

/// The longest value of an input.
pub const MAX_INPUT_BYTES: usize = 2048;

/// The value in the form that is stored, or a sentence that says what is wrong with it.
///
/// Space around the value is dropped. A host label is lower-cased; a base URL is normalised and loses its trailing
/// slashes. Plain http is let through here: the operator's egress rules decide which addresses may be reached by it.
pub fn check_input(input: &Input, value: &str) -> Result<String, String> {
    let value = value.trim();
    if value.is_empty() {
        return Err("it is empty".into());
    }
    if value.len() > MAX_INPUT_BYTES {
        return Err(format!("it is longer than {MAX_INPUT_BYTES} bytes"));
    }
    if value.chars().any(char::is_control) {
        return Err("it holds a line break or another control character".into());
    }
    let value = match input.kind {
        InputKind::Text => value.to_owned(),
        InputKind::HostLabel => host_label(value)?,
        InputKind::BaseUrl => {
            let value = base_url(value)?;
            bounded(&value, &input.hosts)?;
            value
        }
    };
    if !input.choices.is_empty() && !input.choices.contains(&value) {
        return Err(format!("it must be one of {}", input.choices.join(", ")));
    }
    if let Some(pattern) = &input.pattern {
        let whole = whole(pattern).map_err(|reason| format!("the declared pattern is broken: {reason}"))?;
        if !whole.is_match(&value) {
            return Err(match &input.example {
                Some(example) => format!("it must look like {example}"),
                None => format!("it must match {pattern}"),
            });
        }
    }
    Ok(value)
}

/// A pattern that must match the whole value. Bounded: a pattern comes from a stranger.
pub(crate) fn whole(pattern: &str) -> Result<regex_lite::Regex, String> {
    if pattern.len() > 512 {
        return Err("it is longer than 512 bytes".into());
    }
    // On its own first: `a)(b` would be closed by the group around it.
    regex_lite::Regex::new(pattern).map_err(|error| error.to_string())?;
    regex_lite::RegexBuilder::new(&format!("^(?:{pattern})$"))
        .size_limit(1 << 18)
        .build()
        .map_err(|error| error.to_string())
}

fn host_label(value: &str) -> Result<String, String> {
    let value = value.to_ascii_lowercase();
    if is_host_label(&value) {
        return Ok(value);
    }
    let rest = value.split_once("://").map_or(value.as_str(), |(_, rest)| rest);
    match rest.split_once('.') {
        Some((label, _)) if is_host_label(label) => {
            Err(format!("only the first part of the host name is wanted: {label}"))
        }
        _ => Err("it must be one part of a host name: letters, digits and hyphens, at most 63".into()),
    }
}

/// One DNS label, lower case (RFC 1035 section 2.3.1, a leading digit as RFC 1123 allows).
pub(crate) fn is_host_label(text: &str) -> bool {
    let bytes = text.as_bytes();
    let edge = |byte: Option<&u8>| byte.is_some_and(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
    bytes.len() <= 63
        && edge(bytes.first())
        && edge(bytes.last())
        && bytes.iter().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || *byte == b'-')
}

fn base_url(value: &str) -> Result<String, String> {
    let example = "write it like https://api.example.com/v1";
    if !value.contains("://") {
        return Err(format!("it lacks https://; {example}"));
    }
    let url = Url::parse(value).map_err(|error| format!("it is no URL ({error}); {example}"))?;
    if !matches!(url.scheme(), "https" | "http") {
        return Err(format!("{}:// is not spoken here; {example}", url.scheme()));
    }
    let at_in_authority = value.find('@').is_some_and(|at| path_at(value).is_none_or(|path| at < path));
    if !url.username().is_empty() || url.password().is_some() || at_in_authority {
        return Err("it must not hold a user name or password".into());
    }
    if url.query().is_some() || url.fragment().is_some() {
        return Err("it must end before any `?` or `#`".into());
    }
    let Some(host) = url.host_str().filter(|host| !host.is_empty() && !host.ends_with('.')) else {
        return Err(format!("it names no host; {example}"));
    };
    if value.contains('\\') || host.contains('%') {
        return Err(format!("it holds a character that hosts read differently; {example}"));
    }
    Ok(url.as_str().trim_end_matches('/').to_owned())
}

/// A base URL whose host the declaration bounds: https, a listed host or one below a listed suffix, and no port.
fn bounded(value: &str, hosts: &[String]) -> Result<(), String> {
    if hosts.is_empty() {
        return Ok(());
    }
    let url = Url::parse(value).map_err(|error| error.to_string())?;
    let Some(url::Host::Domain(host)) = url.host() else {
        return Err("its host must have a name".into());
    };
    let fits = |bound: &String| match bound.strip_prefix('.') {
        Some(_) => host.strip_suffix(bound.as_str()).is_some_and(|label| !label.is_empty() && !label.ends_with('.')),
        None => host == bound,
    };
    if url.scheme() != "https" || url.port().is_some() || !hosts.iter().any(fits) {
        let shown: Vec<String> = hosts
            .iter()
            .map(|host| if host.starts_with('.') { format!("https://…{host}") } else { format!("https://{host}") })
            .collect();
        return Err(format!("it must lead to {}", shown.join(" or ")));
    }
    Ok(())
}

/// What the one group of a declared pattern holds, where the pattern is found in a text. Bounded as [`whole`] is.
pub fn cut(pattern: &str, text: &str) -> Result<Option<String>, String> {
    if pattern.len() > 512 {
        return Err("the pattern is longer than 512 bytes".into());
    }
    let pattern = regex_lite::RegexBuilder::new(pattern).size_limit(1 << 18).build();
    let pattern = pattern.map_err(|error| error.to_string())?;
    Ok(pattern.captures(text).and_then(|found| Some(found.get(1)?.as_str().to_owned())))
}

/// Where the path begins in a URL text.
fn path_at(value: &str) -> Option<usize> {
    let start = value.find("://")? + 3;
    Some(value[start..].find('/').map_or(value.len(), |at| start + at))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::types::InputSource;

    fn input(kind: InputKind) -> Input {
        Input {
            name: "x".into(),
            label: "X".into(),
            help: None,
            example: None,
            kind,
            pattern: None,
            choices: vec![],
            default: None,
            source: InputSource::Account,
            hosts: Vec::new(),
        }
    }

    #[test]
    fn a_host_label_is_one_label() {
        let shop = input(InputKind::HostLabel);
        assert_eq!(check_input(&shop, " My-Shop\n"), Ok("my-shop".into()));
        for value in ["", "a.b", "-a", "a-", "a_b", "a/b", "ä", "a@b", "a:1", &"a".repeat(64)] {
            assert!(check_input(&shop, value).is_err(), "{value}");
        }
        assert_eq!(
            check_input(&shop, "https://my-shop.myshopify.com/admin").unwrap_err(),
            "only the first part of the host name is wanted: my-shop"
        );
    }

    #[test]
    fn a_base_url_is_brought_into_one_form() {
        let base = input(InputKind::BaseUrl);
        assert_eq!(check_input(&base, "HTTPS://API.Example.com:443/v1//"), Ok("https://api.example.com/v1".into()));
        assert_eq!(check_input(&base, "http://127.0.0.1:3910/"), Ok("http://127.0.0.1:3910".into()));
        for value in [
            "api.example.com",
            "ftp://example.com",
            "https://user@example.com",
            "https://@example.com",
            "https://u:p@example.com/",
            "https://example.com/?a",
            "https://example.com/#a",
            "https://",
            "https://example.com./",
            "https:\\\\example.com",
            "https://example.com\\@evil.com",
            "https://exa\u{0}mple.com",
        ] {
            assert!(check_input(&base, value).is_err(), "{value}: {:?}", check_input(&base, value));
        }
    }

    #[test]
    fn a_bounded_host_is_a_listed_one_or_below_a_listed_suffix() {
        let mut base = input(InputKind::BaseUrl);
        base.hosts = vec![".example.com".into(), "eu.example.org".into()];
        for value in ["https://my.example.com", "https://a.b.EXAMPLE.com/services/", "https://eu.example.org/v1"] {
            assert!(check_input(&base, value).is_ok(), "{value}: {:?}", check_input(&base, value));
        }
        for value in [
            "https://example.com",
            "https://example.com.evil.test",
            "https://evilexample.com",
            "https://evil.test/.example.com",
            "https://evil.test?.example.com",
            "https://my.eu.example.org",
            "https://us.example.org",
            "http://my.example.com",
            "https://my.example.com:8443",
            "https://my.example.com@evil.test",
            "https://127.0.0.1",
            "https://.example.com",
            "https://my..example.com",
        ] {
            assert!(check_input(&base, value).is_err(), "{value}");
        }
        let error = check_input(&base, "https://evil.test").unwrap_err();
        assert_eq!(error, "it must lead to https://….example.com or https://eu.example.org");
    }

    #[test]
    fn a_group_is_cut_out_of_a_text() {
        assert_eq!(cut("-([a-z0-9]+)$", "0123abcd-us6"), Ok(Some("us6".into())));
        assert_eq!(cut("-([a-z0-9]+)$", "0123abcd"), Ok(None));
        assert_eq!(cut("-[a-z0-9]+$", "0123abcd-us6"), Ok(None), "no group");
        assert!(cut("(", "x").is_err());
    }

    #[test]
    fn patterns_hold_for_the_whole_value() {
        let mut region = input(InputKind::Text);
        region.pattern = Some("eu|us".into());
        assert_eq!(check_input(&region, "eu"), Ok("eu".into()));
        assert!(check_input(&region, "eux").is_err());
        assert!(check_input(&region, "us-eu").is_err());
        assert!(whole("a)(b").is_err(), "a pattern cannot close the group around it");
        region.pattern = None;
        region.choices = vec!["eu".into(), "us".into()];
        assert_eq!(check_input(&region, "de").unwrap_err(), "it must be one of eu, us");
    }

    proptest! {
        #[test]
        fn the_stored_form_is_stable(value in "\\PC{0,40}|https?://[a-z0-9.:/@?#%\\\\-]{0,40}") {
            for kind in [InputKind::Text, InputKind::HostLabel, InputKind::BaseUrl] {
                let input = input(kind);
                if let Ok(stored) = check_input(&input, &value) {
                    prop_assert_eq!(check_input(&input, &stored), Ok(stored.clone()));
                    if kind == InputKind::BaseUrl {
                        let url = Url::parse(&stored).unwrap();
                        prop_assert!(url.username().is_empty() && url.query().is_none() && url.fragment().is_none());
                        prop_assert!(!stored.ends_with('/'));
                    }
                }
            }
        }
    }
}
