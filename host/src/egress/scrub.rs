//! Takes an account's secrets out of an answer (R8), while it streams.
//!
//! Promise: no rendered form of a secret in play leaves, however the answer is cut into chunks; bytes that hold none
//! pass unchanged. A hit is overwritten in place by `[redacted]` and stars of the same length, so `Content-Length`,
//! ranges and framings inside a body stay true; only the length of what stood there shows.
//!
//! Bounds: what is held back is the longest end of a chunk that could begin a form, so a stream of events is not
//! delayed. Secrets shorter than [`SHORTEST`] bytes are not looked for: they would turn up by chance. Forms made by
//! encoding twice, encrypting or compressing inside the body are not found; reach is the real control.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::{Duration, Instant};

use aho_corasick::{AhoCorasick, MatchKind, packed};
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use bytes::{Bytes, BytesMut};
use data_encoding::{HEXLOWER, HEXUPPER};
use http::{HeaderMap, HeaderValue};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};
use zeroize::Zeroizing;

use super::inject::RESERVED;
use crate::vault::Secret;

/// Shorter secrets are not looked for, in bytes.
pub(super) const SHORTEST: usize = 8;

/// application/x-www-form-urlencoded.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'*').remove(b'-').remove(b'.').remove(b'_');

type Form = Zeroizing<Vec<u8>>;

/// Finds forms. Building takes 5 to 12 µs for one token of 46 bytes, a search 1.5 to 3 µs for 16 KiB (release build),
/// so a [`Keeper`] keeps it for the next request.
pub(super) struct Scrubber {
    /// What it was made of.
    made_of: Vec<Form>,
    searcher: Searcher,
    forms: Vec<Form>,
    /// Which bytes begin a form.
    first: [bool; 256],
    longest: usize,
}

enum Searcher {
    /// SIMD search for up to 64 patterns: cheap to build.
    Packed(Box<packed::Searcher>),
    Automaton(AhoCorasick),
}

impl Searcher {
    fn find(&self, haystack: &[u8], from: usize) -> Option<(usize, usize)> {
        let found = match self {
            Self::Packed(searcher) => searcher.find_in(haystack, aho_corasick::Span::from(from..haystack.len())),
            Self::Automaton(automaton) => automaton.find(aho_corasick::Input::new(haystack).range(from..)),
        }?;
        Some((found.start(), found.end()))
    }
}

impl Scrubber {
    /// None when no secret is long enough. `rendered` are encoded forms as they were sent.
    pub(super) fn new<'a>(
        secrets: impl Iterator<Item = &'a Secret>,
        rendered: &[Zeroizing<Vec<u8>>],
    ) -> Option<Arc<Self>> {
        let mut forms: Vec<Form> = Vec::new();
        let mut made_of: Vec<Form> = Vec::new();
        for secret in secrets.filter(|secret| secret.len() >= SHORTEST) {
            forms_of(secret.expose(), &mut forms);
            made_of.push(Zeroizing::new(secret.expose().to_vec()));
        }
        made_of.extend(rendered.iter().cloned());
        forms.extend(rendered.iter().filter(|form| form.len() >= SHORTEST).cloned());
        forms.sort_by(|one, other| one.as_slice().cmp(other.as_slice()));
        forms.dedup();
        if forms.is_empty() {
            return None;
        }
        let mut first = [false; 256];
        for form in &forms {
            first[usize::from(form[0])] = true;
        }
        let longest = forms.iter().map(|form| form.len()).max().unwrap_or_default();
        let packed = (forms.len() <= 64)
            .then(|| {
                packed::Config::new()
                    .match_kind(packed::MatchKind::LeftmostLongest)
                    .builder()
                    .extend(forms.iter().map(|form| form.as_slice()))
                    .build()
            })
            .flatten();
        let searcher = match packed {
            Some(searcher) => Searcher::Packed(Box::new(searcher)),
            // The automaton is refused only above 2^31 states; the secrets of an account are far below.
            None => Searcher::Automaton(
                AhoCorasick::builder()
                    .match_kind(MatchKind::LeftmostLongest)
                    .build(forms.iter().map(|form| form.as_slice()))
                    .ok()?,
            ),
        };
        Some(Arc::new(Self { made_of, searcher, forms, first, longest }))
    }

    fn is_made_of<'a>(&self, secrets: impl Iterator<Item = &'a Secret>, rendered: &'a [Form]) -> bool {
        let wanted = secrets.map(Secret::expose).filter(|secret| secret.len() >= SHORTEST);
        let wanted = wanted.chain(rendered.iter().map(|form| form.as_slice()));
        wanted.eq(self.made_of.iter().map(|form| form.as_slice()))
    }

    /// Replaces in header values; a header whose name is a secret is dropped. Returns the number of hits.
    pub(super) fn headers(&self, headers: &mut HeaderMap) -> u64 {
        let mut hits = 0;
        for value in headers.values_mut() {
            if self.searcher.find(value.as_bytes(), 0).is_none() {
                continue;
            }
            let (clean, count) = self.replace(value.as_bytes());
            hits += count;
            *value = HeaderValue::from_bytes(&clean).unwrap_or(HeaderValue::from_static("[redacted]"));
        }
        let named: Vec<_> =
            headers.keys().filter(|name| self.searcher.find(name.as_str().as_bytes(), 0).is_some()).cloned().collect();
        for name in named {
            hits += 1;
            headers.remove(name);
        }
        hits
    }

    /// A whole text at once.
    pub(super) fn replace(&self, bytes: &[u8]) -> (Vec<u8>, u64) {
        let mut clean = bytes.to_vec();
        let mut hits = 0;
        let mut from = 0;
        while let Some((start, end)) = self.searcher.find(bytes, from) {
            redact(&mut clean[start..end]);
            hits += 1;
            from = end;
        }
        (clean, hits)
    }

    /// The first place from `from` on whose rest is the beginning of a form, and not a whole one.
    fn undecided(&self, bytes: &[u8], from: usize) -> usize {
        let from = from.max(bytes.len().saturating_sub(self.longest - 1));
        for at in from..bytes.len() {
            if !self.first[usize::from(bytes[at])] {
                continue;
            }
            let rest = &bytes[at..];
            if self.forms.iter().any(|form| form.len() > rest.len() && form.starts_with(rest)) {
                return at;
            }
        }
        bytes.len()
    }
}

/// The last scrubber of one account and origin. It holds secrets, so it is dropped between one and two times [`KEEP`]
/// after its last use, and used only for exactly the secrets that it was made of.
#[derive(Default)]
pub(super) struct Keeper(Mutex<Option<(Arc<Scrubber>, Instant)>>);

/// How long an unused scrubber stays.
const KEEP: Duration = Duration::from_secs(10);

impl Keeper {
    pub(super) fn scrubber<'a>(
        self: &Arc<Self>,
        secrets: impl Iterator<Item = &'a Secret> + Clone,
        rendered: &'a [Form],
    ) -> Option<Arc<Scrubber>> {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((scrubber, used)) = kept.as_mut()
            && scrubber.is_made_of(secrets.clone(), rendered)
        {
            *used = Instant::now();
            return Some(scrubber.clone());
        }
        let scrubber = Scrubber::new(secrets, rendered)?;
        // Without a runtime nobody would take it away again.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            if kept.is_none() {
                runtime.spawn(forget(Arc::downgrade(self)));
            }
            *kept = Some((scrubber.clone(), Instant::now()));
        }
        Some(scrubber)
    }
}

async fn forget(keeper: Weak<Keeper>) {
    loop {
        tokio::time::sleep(KEEP).await;
        let Some(keeper) = keeper.upgrade() else { return };
        let mut kept = keeper.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.as_ref().is_none_or(|(_, used)| used.elapsed() >= KEEP) {
            *kept = None;
            return;
        }
    }
}

/// One body on its way through.
pub(super) struct Stream {
    scrubber: Arc<Scrubber>,
    held: Bytes,
    pub hits: u64,
}

impl Stream {
    pub(super) fn new(scrubber: Arc<Scrubber>) -> Self {
        Self { scrubber, held: Bytes::new(), hits: 0 }
    }

    /// What may go on of all that came so far.
    pub(super) fn push(&mut self, chunk: Bytes) -> Bytes {
        let bytes = if self.held.is_empty() {
            chunk
        } else {
            let mut joined = BytesMut::with_capacity(self.held.len() + chunk.len());
            joined.extend_from_slice(&self.held);
            joined.extend_from_slice(&chunk);
            self.held = Bytes::new();
            joined.freeze()
        };
        self.run(bytes, false)
    }

    /// The rest, at the end of the body.
    pub(super) fn finish(&mut self) -> Bytes {
        let held = std::mem::take(&mut self.held);
        self.run(held, true)
    }

    /// A hit counts once nothing that begins before it can still grow: then the outcome is that of the whole body.
    fn run(&mut self, mut bytes: Bytes, last: bool) -> Bytes {
        let scrubber = &self.scrubber;
        let decided = |bytes: &[u8], from| if last { bytes.len() } else { scrubber.undecided(bytes, from) };
        let mut until = decided(&bytes, 0);
        let mut hits: Vec<(usize, usize)> = Vec::new();
        let mut from = 0;
        while let Some((start, end)) = scrubber.searcher.find(&bytes, from) {
            if start >= until {
                break;
            }
            hits.push((start, end));
            from = end;
            if end > until {
                until = decided(&bytes, end);
            }
        }
        self.held = bytes.split_off(until);
        if hits.is_empty() {
            return bytes;
        }
        self.hits += hits.len() as u64;
        let mut clean = BytesMut::from(&bytes[..]);
        for (start, end) in hits {
            redact(&mut clean[start..end]);
        }
        clean.freeze()
    }
}

/// `[redacted]`, filled up or replaced by stars.
fn redact(place: &mut [u8]) {
    const MARK: &[u8] = b"[redacted]";
    place.fill(b'*');
    if let Some(head) = place.get_mut(..MARK.len()) {
        head.copy_from_slice(MARK);
    }
}

/// How a secret may stand in an answer.
fn forms_of(secret: &[u8], forms: &mut Vec<Form>) {
    let mut add = |bytes: Vec<u8>| {
        let form = Zeroizing::new(bytes);
        if form.len() >= SHORTEST - 1 && !forms.contains(&form) {
            forms.push(form);
        }
    };
    add(secret.to_vec());
    // Servers read header bytes as Latin-1 (RFC 9110 section 5.5), and write them back as UTF-8.
    if !secret.is_ascii() {
        add(secret.iter().map(|byte| char::from(*byte)).collect::<String>().into_bytes());
    }
    // As the name of a header.
    add(secret.to_ascii_lowercase());
    for set in [RESERVED, FORM, NON_ALPHANUMERIC] {
        let upper = Zeroizing::new(percent_encode(secret, set).to_string());
        add(lower_escapes(&upper));
        if set == FORM && upper.contains("%20") {
            add(upper.replace("%20", "+").into_bytes());
        }
        add(upper.as_bytes().to_vec());
    }
    for alignment in 0..3 {
        for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
            add(inside_base64(secret, alignment, engine));
        }
    }
    add(HEXLOWER.encode(secret).into_bytes());
    add(HEXUPPER.encode(secret).into_bytes());
    if let Ok(text) = std::str::from_utf8(secret) {
        let json = Zeroizing::new(serde_json::Value::String(text.to_owned()).to_string());
        let json = json[1..json.len() - 1].to_owned();
        add(json.replace('/', "\\/").into_bytes());
        add(ascii_json(&json));
        add(json.into_bytes());
        let html = text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;");
        add(html.replace('\'', "&#39;").into_bytes());
        add(html.replace('\'', "&#x27;").into_bytes());
        add(html.into_bytes());
    }
}

/// Percent escapes in lower case.
fn lower_escapes(text: &str) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    let mut at = 0;
    while at + 2 < bytes.len() {
        if bytes[at] == b'%' {
            bytes[at + 1..at + 3].make_ascii_lowercase();
            at += 3;
        } else {
            at += 1;
        }
    }
    bytes
}

/// What all encoders agree on when `secret` stands `alignment` bytes after a multiple of three in a longer text: the
/// characters that hold nothing of its neighbours.
pub(crate) fn inside_base64(secret: &[u8], alignment: usize, engine: &base64::engine::GeneralPurpose) -> Vec<u8> {
    let mut padded = Zeroizing::new(vec![0; alignment]);
    padded.extend_from_slice(secret);
    let whole = padded.len() * 8 / 6;
    let mut text = engine.encode(&*padded).into_bytes();
    text.truncate(whole);
    text.split_off((alignment * 8).div_ceil(6))
}

/// JSON with everything beyond ASCII, and what careful encoders also escape, as `\u00xx`.
fn ascii_json(json: &str) -> Vec<u8> {
    let mut text = String::with_capacity(json.len());
    for character in json.chars() {
        match character {
            '<' | '>' | '&' | '\'' | '+' | '=' => text.push_str(&format!("\\u{:04x}", u32::from(character))),
            character if character.is_ascii() => text.push(character),
            character => {
                let mut units = [0; 2];
                for unit in character.encode_utf16(&mut units) {
                    text.push_str(&format!("\\u{unit:04x}"));
                }
            }
        }
    }
    text.into_bytes()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const SECRET: &[u8] = b"xoxb-12/34+ab\"&<z~z";

    fn scrubber(secrets: &[&[u8]]) -> Arc<Scrubber> {
        let secrets: Vec<Secret> = secrets.iter().map(|bytes| Secret::new(bytes.to_vec())).collect();
        Scrubber::new(secrets.iter(), &[]).unwrap()
    }

    fn stream(scrubber: &Arc<Scrubber>, chunks: &[&[u8]]) -> (Vec<u8>, u64) {
        let mut stream = Stream::new(scrubber.clone());
        let mut out = Vec::new();
        for chunk in chunks {
            out.extend_from_slice(&stream.push(Bytes::copy_from_slice(chunk)));
        }
        out.extend_from_slice(&stream.finish());
        (out, stream.hits)
    }

    fn contains(haystack: &[u8], needle: &[u8]) -> bool {
        haystack.windows(needle.len()).any(|window| window == needle)
    }

    #[test]
    fn r8_every_form_is_found() {
        let scrubber = scrubber(&[SECRET]);
        let text = std::str::from_utf8(SECRET).unwrap();
        let base64 = |text: String| base64::engine::general_purpose::STANDARD.encode(text);
        let base64url = |text: String| base64::engine::general_purpose::URL_SAFE.encode(text);
        let mut bodies = vec![
            format!("Bearer {text}"),
            serde_json::json!({"echo": format!("Bearer {text}")}).to_string(),
            serde_json::json!({"echo": text}).to_string().replace('/', "\\/"),
            percent_encode(SECRET, RESERVED).to_string(),
            percent_encode(SECRET, FORM).to_string().to_lowercase(),
            percent_encode(SECRET, NON_ALPHANUMERIC).to_string(),
            HEXLOWER.encode(SECRET),
            HEXUPPER.encode(SECRET),
            "<p>xoxb-12/34+ab&quot;&amp;&lt;z~z</p>".to_owned(),
        ];
        for before in 0..7 {
            for after in 0..4 {
                bodies.push(base64(format!("{}{text}{}", "u".repeat(before), ":".repeat(after))));
                bodies.push(base64url(format!("{}{text}{}", "u".repeat(before), ":".repeat(after))));
            }
        }
        for body in bodies {
            let (out, hits) = stream(&scrubber, &[body.as_bytes()]);
            assert_eq!(hits, 1, "{body}");
            assert_eq!(out.len(), body.len());
            assert!(contains(&out, b"[redacted]"), "{body}");
        }
    }

    #[test]
    fn bytes_without_a_secret_pass_as_they_are() {
        let scrubber = scrubber(&[SECRET]);
        let mut stream = Stream::new(scrubber);
        let chunk = Bytes::from_static(b"\x00\xffno secret\r\n\r\n");
        let out = stream.push(chunk.clone());
        assert_eq!(out.as_ptr(), chunk.as_ptr(), "no copy");
        assert_eq!(out, chunk, "nothing held back");
        assert!(stream.finish().is_empty());
    }

    #[test]
    fn only_what_may_begin_a_secret_is_held_back() {
        let mut stream = Stream::new(scrubber(&[SECRET]));
        assert_eq!(stream.push(Bytes::from_static(b"data: xoxb")), &b"data: "[..]);
        assert_eq!(stream.push(Bytes::from_static(b" is a prefix\n\n")), &b"xoxb is a prefix\n\n"[..]);
    }

    #[test]
    fn short_secrets_are_not_looked_for() {
        let secret = Secret::new(b"1234567".to_vec());
        assert!(Scrubber::new([secret].iter(), &[]).is_none());
    }

    #[test]
    fn headers_are_scrubbed_and_count() {
        let scrubber = scrubber(&[b"canary-secret"]);
        let mut headers = HeaderMap::new();
        headers.insert("x-echo", HeaderValue::from_static("a canary-secret b canary-secret"));
        headers.insert("x-fine", HeaderValue::from_static("fine"));
        headers.insert("x-canary-secret", HeaderValue::from_static("1"));
        assert_eq!(scrubber.headers(&mut headers), 3);
        assert_eq!(headers["x-echo"], "a [redacted]*** b [redacted]***");
        assert_eq!(headers["x-fine"], "fine");
        assert_eq!(headers.len(), 2);
    }

    #[test]
    fn many_secrets_need_the_automaton_and_give_the_same() {
        let many: Vec<Vec<u8>> = (0..30).map(|n| format!("secret-number-{n:04}").into_bytes()).collect();
        let many: Vec<&[u8]> = many.iter().map(Vec::as_slice).collect();
        let scrubber = scrubber(&many);
        assert!(matches!(scrubber.searcher, Searcher::Automaton(_)));
        let (out, hits) = stream(&scrubber, &[b"a secret-number-00", b"17 b"]);
        assert_eq!((&out[..], hits), (&b"a [redacted]******** b"[..], 1));
    }

    #[tokio::test]
    async fn a_kept_scrubber_serves_only_the_same_secrets() {
        let keeper = Arc::new(Keeper::default());
        let one = [Secret::new(b"secret-one".to_vec())];
        let two = [Secret::new(b"secret-two".to_vec())];
        let form = [Zeroizing::new(b"rendered-form".to_vec())];
        let first = keeper.scrubber(one.iter(), &[]).unwrap();
        assert!(Arc::ptr_eq(&first, &keeper.scrubber(one.iter(), &[]).unwrap()));
        let second = keeper.scrubber(two.iter(), &[]).unwrap();
        assert_eq!(second.replace(b"secret-two secret-one").0, b"[redacted] secret-one");
        let third = keeper.scrubber(two.iter(), &form).unwrap();
        assert_eq!(third.replace(b"rendered-form").1, 1);
        assert!(keeper.scrubber([].iter(), &[]).is_none());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(500))]

        /// Any text over few letters with forms planted in it, cut anywhere: the outcome is that of the whole text.
        #[test]
        fn every_cut_gives_what_the_whole_gives(
            parts in prop::collection::vec(prop_oneof![
                Just(&b"ababababac"[..]), Just(&b"abababab"[..]), Just(&b"babacada"[..]), Just(&b"a"[..]),
                Just(&b"ab"[..]), Just(&b"YWJhYmFiYWI"[..]), Just(&b"61626162"[..]), Just(&b"dabc"[..]),
            ], 0..12),
            cuts in prop::collection::vec(0usize..100, 0..12),
        ) {
            let secrets: [&[u8]; 3] = [b"ababababac", b"abababab", b"babacada"];
            let scrubber = scrubber(&secrets);
            let text = parts.concat();
            let (whole, hits) = scrubber.replace(&text);
            let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
            cuts.sort_unstable();
            let mut chunks = Vec::new();
            let mut from = 0;
            for cut in cuts {
                chunks.push(&text[from..cut]);
                from = cut;
            }
            chunks.push(&text[from..]);
            let (out, count) = stream(&scrubber, &chunks);
            prop_assert_eq!(&out, &whole);
            prop_assert_eq!(count, hits);
            prop_assert!(secrets.iter().all(|secret| !contains(&out, secret)));
        }
    }

    #[test]
    fn every_single_cut_and_byte_by_byte() {
        let scrubber = scrubber(&[SECRET]);
        let mut text = b"<".to_vec();
        for form in scrubber.forms.iter() {
            text.extend_from_slice(form);
            text.extend_from_slice(b"> <");
        }
        let (whole, hits) = scrubber.replace(&text);
        assert!(hits >= 12);
        for cut in 0..=text.len() {
            assert_eq!(stream(&scrubber, &[&text[..cut], &text[cut..]]), (whole.clone(), hits), "{cut}");
        }
        let bytes: Vec<&[u8]> = text.chunks(1).collect();
        assert_eq!(stream(&scrubber, &bytes), (whole, hits));
    }
}
