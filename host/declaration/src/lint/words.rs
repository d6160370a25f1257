//! What people read: the summary, and where the facts come from.

use url::Url;

use super::{Warning, warning};
use crate::types::App;

const SUMMARY_CHARS: usize = 120;

pub(super) fn check(app: &App, warnings: &mut Vec<Warning>) {
    let help = format!("one sentence of at most {SUMMARY_CHARS} characters that begins large and ends with a full stop");
    let mut summary = |message: &str| warnings.push(warning("summary", &["summary"], message, help.clone()));
    if app.summary.chars().count() > SUMMARY_CHARS {
        summary("the summary is long");
    }
    if !app.summary.ends_with('.') {
        summary("the summary does not end with a full stop");
    }
    if app.summary.chars().next().is_some_and(char::is_lowercase) {
        summary("the summary begins small");
    }
    if sentences(&app.summary) > 1 {
        summary("the summary has more than one sentence");
    }
    if !is_source(&app.evidence.source) {
        warnings.push(warning(
            "evidence-source",
            &["evidence", "source"],
            "the source of the evidence can be looked up nowhere",
            "the https address of the provider's page, an RFC, or the name of a list in app-plugins/SOURCES.md",
        ));
    }
}

/// A full stop ends a sentence when a large letter follows; `e.g. this` and `Node.js` have none.
fn sentences(text: &str) -> usize {
    let inner = text.trim_end_matches('.').split(['.', '!', '?']).skip(1);
    1 + inner.filter(|rest| rest.strip_prefix(' ').and_then(|rest| rest.chars().next()).is_some_and(char::is_uppercase)).count()
}

/// An https address, an RFC, or one word: the name of a list.
fn is_source(source: &str) -> bool {
    let named = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_' | b'.' | b'/' | b'@');
    let https = |word: &str| Url::parse(word).is_ok_and(|url| url.scheme() == "https");
    source.split_whitespace().any(|word| https(word.trim_end_matches([',', ';'])))
        || source.starts_with("RFC ")
        || (source.len() > 2 && source.bytes().all(named) && !source.contains("//"))
}
