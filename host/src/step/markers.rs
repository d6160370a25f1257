//! Stand-ins for an account's tokens: code that expects a token reads one, and puts it where it would put the token.
//!
//! A marker has the shape that the app declares and at least [`MIN_RANDOM`] random characters; it belongs to one prop
//! of one run. It is looked for only in the slots in which the app's own rules put that very token: the header of a
//! header rule, HTTP Basic, the field of a query or body rule, the segments of a path rule, the key id of a signature.
//! There it is dropped, the request goes through the prop's account, and the egress puts the credential in as for any
//! other request. **A marker is never replaced inside
//! text.** In any other place it is text like any other, and the run's log says that it is worth nothing there.

mod slots;

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use aho_corasick::AhoCorasick;
use base64::Engine as _;
use base64::alphabet::STANDARD;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE_NO_PAD};
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use deputy_declaration::template::{self, Name};
use deputy_declaration::types::{Alphabet, Marker as Shape, Rule, RuleSet, Template};
use percent_encoding::percent_decode_str;

use super::requests::{Ask, Refusal, RefusalCode};
use super::{Bound, StepError};
use crate::egress::inside_base64;
use slots::{Slot, slots_of, uses};

/// Whatever the app declares: 22 characters of 16 are 88 bits, of 62 are 130.
const MIN_RANDOM: usize = 22;
/// A longer declared marker is no token of any service.
const MAX_LENGTH: usize = 512;
/// Of a body, how much is searched for markers that stand in the wrong place.
const SEARCHED_BODY_BYTES: usize = 1 << 20;

/// As written by any client: padded or not.
const BASIC: GeneralPurpose = GeneralPurpose::new(
    &STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The stand-in for one token of the account of one prop.
#[derive(Debug)]
struct Marker {
    prop: String,
    token: String,
    /// Under which code knows the token, best first.
    names: Vec<String>,
    value: String,
}

/// All markers of one run.
#[derive(Debug, Default)]
pub(super) struct Markers {
    all: Vec<Marker>,
    /// Made at the first request: a run without requests pays nothing.
    finder: std::sync::OnceLock<Finder>,
}

/// Finds markers anywhere, raw and inside base64.
#[derive(Debug)]
struct Finder {
    automaton: AhoCorasick,
    /// Of each pattern, the index of its marker.
    markers: Vec<usize>,
}

/// A marker in a slot of its token.
#[derive(Debug)]
struct Hit {
    marker: usize,
    slot: Slot,
}

/// What the markers of a request ask for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Chosen {
    pub prop: String,
    pub rule_set: String,
}

impl Markers {
    /// One for each token of each binding's method.
    pub fn new(bindings: &BTreeMap<String, Bound>) -> Result<Self, StepError> {
        let mut all: Vec<Marker> = Vec::new();
        for (prop, bound) in bindings {
            let Some(method) = bound.declaration.methods.get(bound.method) else { continue };
            for token in &method.tokens {
                let mut value = draw(&token.marker)?;
                while all.iter().any(|other| other.value.contains(&value) || value.contains(&other.value)) {
                    value = draw(&token.marker)?;
                }
                let (prop, token, names) = (prop.clone(), token.name.clone(), token.marker.names.clone());
                all.push(Marker { prop, token, names, value });
            }
        }
        Ok(Self { all, finder: std::sync::OnceLock::new() })
    }

    /// Each name under which code knows a token of this prop's account, with its marker.
    pub fn of(&self, prop: &str) -> BTreeMap<String, String> {
        let mut named = BTreeMap::new();
        for marker in self.all.iter().filter(|marker| marker.prop == prop) {
            for name in &marker.names {
                // Names are unique in a method; of two tokens that claim one, the first has it.
                named.entry(name.clone()).or_insert_with(|| marker.value.clone());
            }
        }
        named
    }

    /// Takes markers out of their slots, and says which account and rule set they stand for. `named`: the prop that
    /// the request names.
    pub fn take(
        &self,
        bindings: &BTreeMap<String, Bound>,
        named: Option<&str>,
        ask: &mut Ask,
    ) -> Result<Option<Chosen>, Refusal> {
        if self.all.is_empty() {
            return Ok(None);
        }
        let mut hits = Vec::new();
        ask.headers.retain(|(name, value)| {
            let slot = Slot::Header(folded(name));
            let found = self.in_header(bindings, &slot, value);
            let keep = found.is_empty();
            hits.extend(found.into_iter().map(|marker| Hit { marker, slot: slot.clone() }));
            keep
        });
        self.take_from_query(bindings, &mut ask.url, &mut hits);
        self.take_from_path(bindings, &mut ask.url, &mut hits);
        self.take_from_body(bindings, ask, &mut hits);
        let Some(first) = hits.first() else { return Ok(None) };
        let prop = &self.all[first.marker].prop;
        if let Some(other) = hits.iter().map(|hit| &self.all[hit.marker].prop).find(|other| *other != prop) {
            return Err(two_accounts(
                format!("the request holds the markers of props `{prop}` and `{other}`"),
                "send one request for each account, each with its own marker",
            ));
        }
        if let Some(named) = named.filter(|named| named != prop) {
            return Err(two_accounts(
                format!("the request goes through prop `{named}`, but holds the marker of prop `{prop}`"),
                "leave the marker out, or send the request through its own account",
            ));
        }
        let bound = &bindings[prop];
        let rule_set = self.rule_set(bound, &hits, ask.rule_set.as_deref())?;
        if let Some(set) = rule_sets(bound).iter().find(|set| set.name == rule_set) {
            slots::drop_signature(set, ask)?;
        }
        Ok(Some(Chosen { prop: prop.clone(), rule_set }))
    }

    /// The first rule set that puts exactly these tokens into exactly these slots; the one that the request names must
    /// do so.
    fn rule_set(&self, bound: &Bound, hits: &[Hit], named: Option<&str>) -> Result<String, Refusal> {
        let fits = |set: &RuleSet| {
            hits.iter().all(|hit| {
                let token = &self.all[hit.marker].token;
                set.rules.iter().any(|rule| slots_of(rule).contains(&hit.slot) && uses(rule, token))
            })
        };
        let sets = rule_sets(bound);
        let prop = &self.all[hits[0].marker].prop;
        let tokens: BTreeSet<&str> = hits.iter().map(|hit| self.all[hit.marker].token.as_str()).collect();
        let tokens = tokens.into_iter().collect::<Vec<_>>().join("` and `");
        let fitting = || sets.iter().filter(|set| fits(set)).map(|set| set.name.as_str());
        let Some(named) = named else {
            return fitting().next().map(str::to_owned).ok_or_else(|| {
                Refusal::new(
                    RefusalCode::Invalid,
                    format!(
                        "the request holds markers of `{tokens}` of prop `{prop}`, which no identity uses together"
                    ),
                )
                .fix("put one marker into the request")
            });
        };
        if fitting().any(|name| name == named) {
            return Ok(named.to_owned());
        }
        let named = super::props::short(named);
        Err(Refusal::new(
            RefusalCode::Invalid,
            format!("the request asks for the identity `{named}`, but holds the marker of `{tokens}` of prop `{prop}`"),
        )
        .fix("leave the identity out, or put the marker of its token"))
    }

    /// The markers that stand in a header as a credential does.
    fn in_header(&self, bindings: &BTreeMap<String, Bound>, slot: &Slot, value: &[u8]) -> Vec<usize> {
        let Ok(value) = std::str::from_utf8(value) else { return Vec::new() };
        let value = value.trim_matches([' ', '\t']);
        // Most headers are no slot of anything; only those that are get decoded.
        let mut basic: Option<Option<(String, String)>> = None;
        let mut found = Vec::new();
        for (at, marker, rules) in self.at_home(bindings, slot) {
            // In a signature the key id stands in a place of its own.
            let plain = rules.iter().any(|rule| !matches!(rule, Rule::Sign(_)));
            let whole =
                plain && (value == marker.value || behind_scheme(value).is_some_and(|(_, rest)| rest == marker.value));
            let rendered = |template: &Template, text: &str| {
                mentions(template, &marker.token)
                    && self.rendered(&bindings[&marker.prop], &marker.prop, template).is_some_and(|form| form == text)
            };
            let pair = if plain && *slot == Slot::Header("authorization".to_owned()) {
                basic.get_or_insert_with(|| basic_pair(value)).as_ref()
            } else {
                None
            };
            let in_field = pair.is_some_and(|(user, password)| *user == marker.value || *password == marker.value);
            let as_written = rules.iter().any(|rule| match rule {
                Rule::Header(rule) => rendered(&rule.value, value),
                Rule::Basic(rule) => pair.is_some_and(|(user, password)| {
                    rendered(&rule.username, user) || rendered(&rule.password, password)
                }),
                Rule::Sign(_) => slots::signed_with(slot, value, &marker.value),
                Rule::Query(_) | Rule::Body(_) | Rule::Path(_) => false,
            });
            if whole || in_field || as_written {
                found.push(at);
            }
        }
        found
    }

    /// Takes the fields out of a URL whose name is that of a query rule and whose value is its token's marker.
    fn take_from_query(&self, bindings: &BTreeMap<String, Bound>, url: &mut String, hits: &mut Vec<Hit>) {
        let Some(at) = url.find('?') else { return };
        let end = url[at..].find('#').map_or(url.len(), |from| at + from);
        let mut kept = Vec::new();
        let before = hits.len();
        for pair in url[at + 1..end].split('&') {
            let slot_and_value = url::form_urlencoded::parse(pair.as_bytes()).next();
            let found = slot_and_value.map_or_else(Vec::new, |(name, value)| {
                let slot = Slot::Query(folded(&name));
                let home = self.at_home(bindings, &slot);
                let found: Vec<usize> = home
                    .filter(|(_, marker, rules)| {
                        rules.iter().any(|rule| match rule {
                            Rule::Query(rule) => {
                                value == marker.value
                                    || self
                                        .rendered(&bindings[&marker.prop], &marker.prop, &rule.value)
                                        .is_some_and(|form| form == value)
                            }
                            Rule::Sign(_) => slots::signed_with(&slot, &value, &marker.value),
                            _ => false,
                        })
                    })
                    .map(|(at, ..)| at)
                    .collect();
                found.into_iter().map(|marker| Hit { marker, slot: slot.clone() }).collect()
            });
            if found.is_empty() {
                kept.push(pair);
            }
            hits.extend(found);
        }
        if hits.len() > before {
            let query = kept.join("&");
            let query = if query.is_empty() { query } else { format!("?{query}") };
            url.replace_range(at..end, &query);
        }
    }

    /// The markers whose token a rule puts into this slot, with those rules.
    fn at_home<'a>(
        &'a self,
        bindings: &'a BTreeMap<String, Bound>,
        slot: &'a Slot,
    ) -> impl Iterator<Item = (usize, &'a Marker, Vec<&'a Rule>)> {
        self.all.iter().enumerate().filter_map(move |(at, marker)| {
            let rules = rule_sets(bindings.get(&marker.prop)?).iter().flat_map(|set| &set.rules);
            let rules: Vec<&Rule> =
                rules.filter(|rule| slots_of(rule).contains(slot) && uses(rule, &marker.token)).collect();
            (!rules.is_empty()).then_some((at, marker, rules))
        })
    }

    /// A template as the app writes it, with markers for tokens.
    fn rendered(&self, bound: &Bound, prop: &str, template: &Template) -> Option<String> {
        let mut out = Vec::new();
        let token = |name: &str| {
            let marker = self.all.iter().find(|marker| marker.prop == prop && marker.token == name)?;
            Some(marker.value.as_bytes())
        };
        template::render(template, &mut out, |name| match name {
            Name::Input(name) => bound.inputs.get(name).map(String::as_bytes),
            Name::Token(name) => token(name),
            Name::Host(_) => None,
        })
        .ok()?;
        String::from_utf8(out).ok()
    }

    /// Markers that are left in a request, and where: they go out as text. What stands in a slot was taken before.
    pub fn stray(&self, ask: &Ask) -> Vec<(String, String)> {
        if self.all.is_empty() {
            return Vec::new();
        }
        let finder = self.finder.get_or_init(|| Finder::new(&self.all));
        let mut strays: Vec<(String, String)> = Vec::new();
        let mut look = |place: &str, bytes: &[u8]| {
            for marker in finder.find(bytes) {
                let stray = (self.all[marker].prop.clone(), place.to_owned());
                if !strays.contains(&stray) {
                    strays.push(stray);
                }
            }
        };
        for (name, value) in &ask.headers {
            let name: String = name.chars().take(60).filter(char::is_ascii_graphic).collect();
            look(&format!("the header `{}`", name.to_ascii_lowercase()), value);
        }
        let (path, query) = ask.url.split_once('?').unwrap_or((&ask.url, ""));
        for (place, text) in [("the path", path), ("the query", query)] {
            look(place, text.as_bytes());
            if let Cow::Owned(decoded) = Cow::from(percent_decode_str(text)) {
                look(place, &decoded);
            }
        }
        look("the body", &ask.body[..ask.body.len().min(SEARCHED_BODY_BYTES)]);
        strays
    }

    /// Where the rules of a prop's app put its tokens, in words.
    pub fn home(&self, bindings: &BTreeMap<String, Bound>, prop: &str) -> String {
        let rules = bindings.get(prop).map(rule_sets).unwrap_or_default().iter().flat_map(|set| &set.rules);
        let mut places: Vec<String> = Vec::new();
        for rule in rules {
            let place = slots::place(rule);
            if !places.contains(&place) {
                places.push(place);
            }
        }
        if places.is_empty() { "nowhere: the app has no rule".to_owned() } else { places.join(" or ") }
    }
}

impl Finder {
    fn new(all: &[Marker]) -> Self {
        let mut patterns: Vec<Vec<u8>> = Vec::new();
        let mut markers = Vec::new();
        for (at, marker) in all.iter().enumerate() {
            let mut forms = vec![marker.value.clone().into_bytes()];
            for alignment in 0..3 {
                for engine in [&STANDARD_NO_PAD, &URL_SAFE_NO_PAD] {
                    forms.push(inside_base64(marker.value.as_bytes(), alignment, engine));
                }
            }
            forms.sort();
            forms.dedup();
            markers.extend(forms.iter().map(|_| at));
            patterns.extend(forms);
        }
        let automaton = AhoCorasick::new(patterns);
        // Refused only above 2^31 states; a run has at most a few hundred short patterns.
        let automaton = automaton.expect("a few short patterns fit into an automaton");
        Self { automaton, markers }
    }

    fn find(&self, bytes: &[u8]) -> BTreeSet<usize> {
        self.automaton.find_iter(bytes).map(|found| self.markers[found.pattern().as_usize()]).collect()
    }
}

fn rule_sets(bound: &Bound) -> &[RuleSet] {
    bound.declaration.methods.get(bound.method).map(|method| method.rule_sets.as_slice()).unwrap_or_default()
}

fn mentions(template: &Template, token: &str) -> bool {
    template::names(template).any(|name| name == Name::Token(token))
}

fn folded(name: &str) -> String {
    name.to_ascii_lowercase().replace('_', "-")
}

/// `Bearer x`: the scheme (RFC 9110 section 11.1) and the rest.
fn behind_scheme(value: &str) -> Option<(&str, &str)> {
    let (scheme, rest) = value.split_once([' ', '\t'])?;
    let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    (!scheme.is_empty() && scheme.bytes().all(token)).then(|| (scheme, rest.trim_start_matches([' ', '\t'])))
}

/// User name and password of HTTP Basic (RFC 7617).
fn basic_pair(value: &str) -> Option<(String, String)> {
    let (_, rest) = behind_scheme(value).filter(|(scheme, _)| scheme.eq_ignore_ascii_case("basic"))?;
    let pair = String::from_utf8(BASIC.decode(rest).ok()?).ok()?;
    let (user, password) = pair.split_once(':')?;
    Some((user.to_owned(), password.to_owned()))
}

fn two_accounts(message: String, fix: &str) -> Refusal {
    Refusal::new(RefusalCode::Denied, format!("{message} (rule `one-account`)")).fix(fix)
}

/// A marker of this shape. Declared lengths are kept to where they leave enough that nobody can guess.
fn draw(shape: &Shape) -> Result<String, StepError> {
    const LETTERS: &[u8; 64] = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ-_";
    let alphabet = match shape.alphabet {
        Alphabet::Hex => &LETTERS[..16],
        Alphabet::Alphanumeric => &LETTERS[..62],
        Alphabet::Base64url => &LETTERS[..],
    };
    // What could end a header, or stand for something else in one, is no part of a prefix.
    let plain = |character: &char| character.is_ascii_alphanumeric() || "-_.".contains(*character);
    let mut marker: String = shape.prefix.chars().filter(plain).take(64).collect();
    let length = (shape.length as usize).min(MAX_LENGTH).max(marker.len() + MIN_RANDOM);
    let mut bytes = [0; 64];
    while marker.len() < length {
        aws_lc_rs::rand::fill(&mut bytes)
            .map_err(|_| StepError::Internal("the system gives no random bytes".to_owned()))?;
        // A byte beyond the last whole round of the alphabet would make its first letters likelier.
        let fair = 256 - 256 % alphabet.len();
        let letters = bytes.iter().map(|byte| usize::from(*byte)).filter(|byte| *byte < fair);
        marker.extend(letters.map(|byte| char::from(alphabet[byte % alphabet.len()])).take(length - marker.len()));
    }
    Ok(marker)
}

#[cfg(test)]
pub(super) mod tests;
