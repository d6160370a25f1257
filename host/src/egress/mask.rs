//! Takes values that a person gave in secret out of texts that are kept: the same search as for an account's own.

use std::sync::Arc;

use super::scrub::Scrubber;
use crate::vault::Secret;

/// Finds the usual rendered forms of some secrets (as raw, base64, percent, JSON, hex) and overwrites them in place:
/// `[redacted]` and stars of the same length. Secrets shorter than eight bytes are not looked for.
#[derive(Clone)]
pub struct Masker(Arc<Scrubber>);

impl Masker {
    /// None when no secret is long enough.
    pub fn new<'a>(secrets: impl Iterator<Item = &'a str>) -> Option<Self> {
        let secrets: Vec<Secret> = secrets.map(|secret| Secret::new(secret.as_bytes().to_vec())).collect();
        Scrubber::new(secrets.iter(), &[]).map(Self)
    }

    /// The text without the secrets; None where it holds none.
    pub fn clean(&self, text: &str) -> Option<String> {
        let (clean, hits) = self.0.replace(text.as_bytes());
        // Every form is UTF-8, so a hit begins and ends between characters.
        (hits > 0).then(|| String::from_utf8_lossy(&clean).into_owned())
    }
}

impl std::fmt::Debug for Masker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Masker")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_overwritten_in_every_usual_form() {
        let masker = Masker::new(["pässword 9", "short"].into_iter()).unwrap();
        assert_eq!(masker.clean("a pässword 9!").as_deref(), Some("a [redacted]*!"));
        assert_eq!(masker.clean("cMOkc3N3b3JkIDk=").as_deref(), Some("[redacted]****k="));
        assert_eq!(masker.clean("?q=p%C3%A4ssword+9").as_deref(), Some("?q=[redacted]*****"));
        assert_eq!(masker.clean("short, and passwords"), None);
        assert!(Masker::new(["short"].into_iter()).is_none());
        assert_eq!(format!("{masker:?}"), "Masker");
    }
}
