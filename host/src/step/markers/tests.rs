//! Which spellings of a marker count, and that no other place does.

use std::sync::Arc;

use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;

use super::*;
use crate::ids::AccountId;

/// An account of an app with this auth method.
pub(in crate::step) fn bound(slug: &str, method: &str) -> Bound {
    let text = format!(
        "slug = \"{slug}\"\nname = \"Test\"\nsummary = \"For tests.\"\nbase = \"https://api.{slug}.example/v1\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"https://{slug}.example\" }}\n\
         inputs.email = {{}}\n[methods.key]\n{method}\n"
    );
    let app = deputy_declaration::source::parse("app.toml", &text).expect("the app is valid");
    Bound {
        account: AccountId::new(),
        app: slug.to_owned(),
        name: format!("{slug}/work"),
        identity: None,
        scopes: Vec::new(),
        inputs: BTreeMap::from([("email".to_owned(), "ada@example.com".to_owned())]),
        origins: vec![format!("https://api.{slug}.example")],
        declaration: Arc::new(app),
        method: 0,
    }
}

const BEARER: &str = "tokens.token = {}\nheader.Authorization = \"Bearer {token}\"";
const BASIC: &str = "tokens.token = {}\nbasic = { username = \"{email}/token\", password = \"{token}\" }";
const KEY: &str = "tokens.token = {}\nheader.X-Api_Key = \"{token}\"";
const WORDS: &str = "tokens.token = {}\nheader.Authorization = \"Token token={token|base64}\"";
const QUERY: &str = "tokens.token = {}\nquery.api_key = \"{token}\"";
/// The best set first.
const TWO: &str = "tokens.bot = {}\ntokens.user = {}\nrule-sets.bot = { header.Authorization = \"Bearer {bot}\" }\n\
                   rule-sets.user = { header.Authorization = \"Bearer {user}\" }\n\
                   rule-sets.url = { query.token = \"{user}\" }";
const PAIR: &str = "tokens.key = {}\ntokens.app = {}\nheader.Api-Key = \"{key}\"\nheader.App-Key = \"{app}\"";

pub(in crate::step) struct World {
    bindings: BTreeMap<String, Bound>,
    markers: Markers,
}

pub(in crate::step) fn world(bound: &[(&str, Bound)]) -> World {
    let bindings: BTreeMap<_, _> = bound.iter().map(|(prop, bound)| ((*prop).to_owned(), bound.clone())).collect();
    let markers = Markers::new(&bindings).unwrap();
    World { bindings, markers }
}

fn one(method: &str) -> World {
    world(&[("app", bound("one", method))])
}

pub(in crate::step) fn ask(url: &str, headers: &[(&str, &str)]) -> Ask {
    Ask {
        method: "GET".to_owned(),
        url: url.to_owned(),
        headers: headers.iter().map(|(name, value)| ((*name).to_owned(), value.as_bytes().to_vec())).collect(),
        body: Vec::new(),
        timeout_ms: None,
        rule_set: None,
    }
}

impl World {
    pub(in crate::step) fn marker(&self, prop: &str, name: &str) -> String {
        self.markers.of(prop)[name].clone()
    }

    pub(in crate::step) fn take(&self, ask: &mut Ask) -> Result<Option<Chosen>, Refusal> {
        self.markers.take(&self.bindings, None, ask)
    }

    /// The prop and rule set that these headers earn, and the names of those that stay.
    fn headers(&self, headers: &[(&str, &str)]) -> (Option<(String, String)>, Vec<String>) {
        let mut ask = ask("https://api.one.example/", headers);
        let chosen = self.take(&mut ask).unwrap().map(|chosen| (chosen.prop, chosen.rule_set));
        (chosen, ask.headers.into_iter().map(|(name, _)| name).collect())
    }

    /// Is this value of that header a credential?
    fn counts(&self, name: &str, value: &str) -> bool {
        let (chosen, left) = self.headers(&[("accept", "*/*"), (name, value)]);
        assert_eq!(left.len(), if chosen.is_some() { 1 } else { 2 }, "only what counts is dropped");
        chosen.is_some()
    }
}

#[test]
fn a_marker_has_the_declared_shape() {
    let shape = |prefix: &str, length: u32, alphabet: Alphabet| {
        draw(&Shape { prefix: prefix.into(), length, alphabet, names: Vec::new() }).unwrap()
    };
    let marker = shape("xoxb-", 50, Alphabet::Alphanumeric);
    assert!(marker.starts_with("xoxb-") && marker.len() == 50, "{marker}");
    assert!(marker[5..].bytes().all(|byte| byte.is_ascii_alphanumeric()), "{marker}");
    let marker = shape("", 64, Alphabet::Hex);
    assert!(marker.len() == 64 && marker.bytes().all(|byte| b"0123456789abcdef".contains(&byte)), "{marker}");
    let marker = shape("k_", 2000, Alphabet::Base64url);
    assert_eq!(marker.len(), MAX_LENGTH);
    // Whatever an app declares: long enough that nobody guesses it, and nothing that ends a header.
    assert_eq!(shape("ghp_", 6, Alphabet::Hex).len(), 4 + MIN_RANDOM);
    let marker = shape("a b\r\n:é\u{7f}", 40, Alphabet::Hex);
    assert!(marker.starts_with("ab") && marker.is_ascii() && marker.len() == 40, "{marker}");
    assert_ne!(shape("", 40, Alphabet::Hex), shape("", 40, Alphabet::Hex));
}

#[test]
fn every_binding_has_markers_of_its_own_under_each_declared_name() {
    let world = world(&[("a", bound("one", TWO)), ("b", bound("one", TWO))]);
    let (a, b) = (world.markers.of("a"), world.markers.of("b"));
    assert_eq!(a.keys().collect::<Vec<_>>(), ["bot", "user"]);
    let all: BTreeSet<&String> = a.values().chain(b.values()).collect();
    assert_eq!(all.len(), 4);
    assert!(world.markers.of("c").is_empty());
}

#[test]
fn a_header_slot_takes_the_bare_marker_and_any_scheme_word() {
    let bearer = one(BEARER);
    let marker = bearer.marker("app", "token");
    for value in ["M", "Bearer M", "bearer M", "token M", "Bot  M", "\tBearer \t M ", "Basic M"] {
        assert!(bearer.counts("Authorization", &value.replace('M', &marker)), "{value}");
    }
    for name in ["authorization", "AUTHORIZATION"] {
        assert!(bearer.counts(name, &format!("Bearer {marker}")), "{name}");
    }
    let key = one(KEY);
    let marker = key.marker("app", "token");
    for name in ["X-Api-Key", "x_api_key", "X-API_KEY"] {
        assert!(key.counts(name, &marker), "{name}");
    }
    assert!(!key.counts("Authorization", &marker), "no slot of this app");
}

#[test]
fn basic_is_decoded_field_by_field_wherever_the_slot_is_authorization() {
    for method in [BEARER, BASIC] {
        let world = one(method);
        let marker = world.marker("app", "token");
        for pair in ["M:", "M:x", "x:M", ":M", "M:M", "x-oauth-basic:M"] {
            let encoded = BASE64.encode(pair.replace('M', &marker));
            for value in [format!("Basic {encoded}"), format!("basic {}", encoded.trim_end_matches('='))] {
                assert!(world.counts("Authorization", &value), "{pair}");
            }
        }
        for pair in ["M", "Mx:", "x:xM", "x:M:", "x: M"] {
            let value = format!("Basic {}", BASE64.encode(pair.replace('M', &marker)));
            assert!(!world.counts("Authorization", &value), "{pair}");
        }
        let value = format!("Bearer {}", BASE64.encode(format!("{marker}:")));
        assert!(!world.counts("Authorization", &value), "only Basic is decoded");
    }
    let key = one(KEY);
    let value = format!("Basic {}", BASE64.encode(format!("{}:", key.marker("app", "token"))));
    assert!(!key.counts("X-Api-Key", &value), "and only in its own header");
}

#[test]
fn a_value_as_the_apps_own_rule_writes_it_counts() {
    let words = one(WORDS);
    let marker = words.marker("app", "token");
    assert!(words.counts("Authorization", &format!("Token token={}", BASE64.encode(&marker))));
    assert!(!words.counts("Authorization", &format!("Token token={}!", BASE64.encode(&marker))));
    assert!(!words.counts("Authorization", &format!("Token token={marker}")), "not as the rule writes it");
    let basic = one(BASIC);
    let marker = basic.marker("app", "token");
    let pair = BASE64.encode(format!("ada@example.com/token:{marker}"));
    assert!(basic.counts("Authorization", &format!("Basic {pair}")));
}

#[test]
fn a_marker_in_any_other_text_is_text() {
    let bearer = one(BEARER);
    let marker = bearer.marker("app", "token");
    for value in [
        "MM",
        "xM",
        "Mx",
        "Bearer Mx",
        "Bearer xM",
        "Bearer M M",
        "Bearer M,",
        "Bearer \"M\"",
        "Bearer=M",
        "Bearer:M",
        "a b M",
        "{M}",
        "Be arer M",
        "(x) M",
        "é M",
    ] {
        assert!(!bearer.counts("Authorization", &value.replace('M', &marker)), "{value}");
    }
    let half = marker.len() / 2;
    assert!(!bearer.counts("Authorization", &format!("Bearer {}", &marker[..half])));
    assert!(!bearer.counts("Authorization", &format!("Bearer {} {}", &marker[..half], &marker[half..])));
    assert!(!bearer.counts("Authorization", &format!("Bearer {}", marker.to_ascii_uppercase())));
    let escaped: String = marker.bytes().map(|byte| format!("%{byte:02x}")).collect();
    assert!(!bearer.counts("Authorization", &format!("Bearer {escaped}")), "headers are not percent-decoded");
    for name in ["X-Authorization", "Proxy-Authorization", "Cookie", "Authorization2", "X-Api-Key"] {
        assert!(!bearer.counts(name, &format!("Bearer {marker}")), "{name}");
    }
    // A header split over two values is two values.
    let (chosen, left) = bearer.headers(&[("authorization", "Bearer"), ("authorization", marker.as_str())]);
    assert_eq!((chosen.is_some(), left), (true, vec!["authorization".to_owned()]), "the egress refuses what is left");
    let mut bytes = ask("https://api.one.example/", &[]);
    bytes.headers.push(("authorization".to_owned(), [b"Bearer \xff", marker.as_bytes()].concat()));
    assert_eq!(bearer.take(&mut bytes).unwrap(), None);
}

#[test]
fn a_query_slot_takes_the_decoded_value_of_its_field_alone() {
    let world = one(QUERY);
    let marker = world.marker("app", "token");
    let escaped: String = marker.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let after = |query: &str| {
        let query = query.replace('~', &escaped).replace('M', &marker);
        let mut ask = ask(&format!("https://api.one.example/x?{query}"), &[]);
        let chosen = world.take(&mut ask).unwrap();
        assert_eq!(chosen.is_none(), ask.url.ends_with(&format!("?{query}")), "{query}");
        chosen.map(|_| ask.url)
    };
    for (query, left) in [
        ("api_key=M", ""),
        ("a=1&api_key=M&b=%20", "?a=1&b=%20"),
        ("api%5Fkey=M", ""),
        ("API-KEY=M&x", "?x"),
        ("api_key=~", ""),
        ("api_key=M&api_key=M", ""),
        ("api_key=M&api_key=other", "?api_key=other"),
    ] {
        assert_eq!(after(query), Some(format!("https://api.one.example/x{left}")), "{query}");
    }
    for query in [
        "q=M",
        "api_key=xM",
        "api_key=M%20",
        "api_key=M;a",
        "a;api_key=M",
        "api_key[]=M",
        "api_key%00=M",
        "M=api_key",
        "api_key=%~",
    ] {
        assert_eq!(after(query), None, "{query}");
    }
    // Behind a # is no query, and the egress refuses the URL as it stands.
    let mut hash = ask(&format!("https://api.one.example/x#?api_key={marker}"), &[]);
    let before = hash.url.clone();
    if world.take(&mut hash).unwrap().is_some() {
        assert!(hash.url.contains('#'), "{}", hash.url);
    } else {
        assert_eq!(hash.url, before);
    }
    let mut path = ask(&format!("https://api.one.example/api_key={marker}"), &[("api_key", &marker)]);
    assert_eq!(world.take(&mut path).unwrap(), None, "neither a path nor a header");
}

#[test]
fn the_marker_says_which_identity_speaks() {
    let world = one(TWO);
    let (bot, user) = (world.marker("app", "bot"), world.marker("app", "user"));
    let chosen = |headers: &[(&str, &str)], query: &str, named: Option<&str>| {
        let mut ask = ask(&format!("https://api.one.example/{query}"), headers);
        ask.rule_set = named.map(str::to_owned);
        world.take(&mut ask).map(|chosen| chosen.map(|chosen| chosen.rule_set))
    };
    let some = |name: &str| Ok(Some(name.to_owned()));
    assert_eq!(chosen(&[("authorization", &bot)], "", None), some("bot"));
    assert_eq!(chosen(&[("authorization", &user)], "", None), some("user"));
    assert_eq!(chosen(&[], &format!("?token={user}"), None), some("url"));
    assert_eq!(chosen(&[], &format!("?token={bot}"), None), Ok(None), "the rule puts another token there");
    assert_eq!(chosen(&[("authorization", &user)], "", Some("user")), some("user"));
    for (named, headers, query) in [
        (Some("bot"), vec![("authorization", user.as_str())], String::new()),
        (Some("url"), vec![("authorization", user.as_str())], String::new()),
        (Some("nobody"), vec![("authorization", user.as_str())], String::new()),
        (None, vec![("authorization", bot.as_str()), ("authorization", user.as_str())], String::new()),
        (None, vec![("authorization", bot.as_str())], format!("?token={user}")),
        // Two slots of different rule sets, of one token.
        (None, vec![("authorization", user.as_str())], format!("?token={user}")),
    ] {
        let refusal = chosen(&headers, &query, named).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Invalid);
        assert!(refusal.message.contains("prop `app`") && refusal.fix.is_some(), "{refusal:?}");
        assert!(!refusal.message.contains(&bot) && !refusal.message.contains(&user));
    }
    // One rule set that needs two tokens takes both.
    let world = one(PAIR);
    let (key, app) = (world.marker("app", "key"), world.marker("app", "app"));
    let both = world.headers(&[("api_key", &key), ("App-Key", &app), ("x", "y")]);
    assert_eq!(both, (Some(("app".to_owned(), "default".to_owned())), vec!["x".to_owned()]));
    let swapped = world.headers(&[("api-key", &app), ("app-key", &key)]);
    assert_eq!(swapped.0, None, "each in its own slot");
}

#[test]
fn nobody_chooses_between_two_accounts() {
    let world = world(&[("one", bound("one", BEARER)), ("other", bound("one", BEARER)), ("key", bound("two", KEY))]);
    let refused = |headers: &[(&str, &str)], named: Option<&str>| {
        let mut ask = ask("https://api.one.example/", headers);
        let refusal = world.markers.take(&world.bindings, named, &mut ask).unwrap_err();
        assert_eq!(refusal.code, RefusalCode::Denied);
        assert!(refusal.fix.is_some());
        refusal.message
    };
    let marker = |prop: &str| world.marker(prop, "token");
    let two = refused(&[("authorization", &marker("one")), ("x-api-key", &marker("key"))], None);
    assert!(two.contains("`one`") && two.contains("`key`"), "{two}");
    let two = refused(&[("authorization", &marker("one")), ("authorization", &marker("other"))], None);
    assert!(two.contains("`one`") && two.contains("`other`"), "{two}");
    let pair = format!("Basic {}", BASE64.encode(format!("{}:{}", marker("one"), marker("other"))));
    let two = refused(&[("authorization", &pair)], None);
    assert!(two.contains("`one`") && two.contains("`other`"), "{two}");
    let two = refused(&[("authorization", &marker("one"))], Some("key"));
    assert!(two.contains("goes through prop `key`") && two.contains("marker of prop `one`"), "{two}");
    let mut same = ask("/", &[("authorization", &marker("one"))]);
    assert!(world.markers.take(&world.bindings, Some("one"), &mut same).unwrap().is_some());
    assert!(same.headers.is_empty());
    // In no slot of its own account it names nobody.
    let mut elsewhere = ask("https://api.two.example/", &[("x-api-key", &marker("one"))]);
    assert_eq!(world.take(&mut elsewhere).unwrap(), None);
}

#[test]
fn a_marker_that_is_left_is_told_with_its_place() {
    let world = one(BEARER);
    let marker = world.marker("app", "token");
    let escaped: String = marker.bytes().map(|byte| format!("%{byte:02x}")).collect();
    let places = |ask: &Ask| world.markers.stray(ask).into_iter().map(|(_, place)| place).collect::<Vec<_>>();
    let with_body = |body: Vec<u8>| Ask { body, ..ask("https://api.one.example/", &[]) };
    for (asked, place) in [
        (ask("/", &[("X-Other", &format!("a{marker}b"))]), "the header `x-other`"),
        (
            ask("/", &[("authorization", &format!("Basic {}", BASE64.encode(format!("xx{marker}:"))))]),
            "the header `authorization`",
        ),
        (ask(&format!("/a/{marker}/b"), &[]), "the path"),
        (ask(&format!("/{escaped}"), &[]), "the path"),
        (ask(&format!("/?q={marker}"), &[]), "the query"),
        (ask(&format!("https://x.example/?q={escaped}"), &[]), "the query"),
        (with_body(format!("{{\"token\":\"{marker}\"}}").into_bytes()), "the body"),
        (with_body([b"\x00\xff", marker.as_bytes()].concat()), "the body"),
        (with_body(BASE64.encode(&marker).into_bytes()), "the body"),
        (with_body(BASE64.encode(format!("x{marker}")).into_bytes()), "the body"),
        (with_body(URL_SAFE_NO_PAD.encode(format!("xy{marker}")).into_bytes()), "the body"),
    ] {
        assert_eq!(places(&asked), [place]);
    }
    let far = with_body([vec![b' '; SEARCHED_BODY_BYTES], marker.clone().into_bytes()].concat());
    assert!(places(&far).is_empty(), "1 MiB is searched");
    let mut taken = ask("/", &[("authorization", &marker)]);
    world.take(&mut taken).unwrap();
    assert!(places(&taken).is_empty());
    assert_eq!(world.markers.home(&world.bindings, "app"), "the header `Authorization`");
}

proptest! {
    /// Whatever stands around a marker in its header: it counts as a scheme word does, or it is text and stays.
    #[test]
    fn a_marker_is_taken_whole_or_not_at_all(before in "[ -~\t]{0,8}", after in "[ -~\t]{0,8}") {
        let world = one(BEARER);
        let marker = world.marker("app", "token");
        let value = format!("{before}{marker}{after}");
        let (chosen, left) = world.headers(&[("authorization", &value)]);
        let alone = after.trim_matches([' ', '\t']).is_empty();
        let before = before.trim_start_matches([' ', '\t']);
        let scheme = before.is_empty() || {
            let word = before.trim_end_matches([' ', '\t']);
            word.len() < before.len() && behind_scheme(&format!("{word} x")) == Some((word, "x"))
        };
        prop_assert_eq!(chosen.is_some(), alone && scheme, "{}", value);
        prop_assert_eq!(left.is_empty(), chosen.is_some());
    }
}
