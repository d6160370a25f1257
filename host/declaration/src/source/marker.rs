//! `marker` of a token: what code sees in its place.

use super::reader::{Reader, Table, join};
use crate::types::{Alphabet, Marker};

/// What decides under which names code may look for a token.
#[derive(Clone, Copy)]
pub(super) struct Known<'n> {
    /// The method is OAuth.
    pub oauth: bool,
    /// Some method of the app is OAuth.
    pub any_oauth: bool,
    /// The tokens of the method, in order.
    pub all: &'n [&'n str],
}

/// Long enough for any check, of a kind that no service checks for.
const LENGTH: u32 = 40;

/// `token` is the author's table, where there is one; `path` its place.
pub(super) fn marker(
    reader: &mut Reader<'_>,
    token: Option<&Table<'_>>,
    name: &str,
    path: &str,
    known: Known<'_>,
) -> Marker {
    let mut marker =
        Marker { prefix: String::new(), length: LENGTH, alphabet: Alphabet::Alphanumeric, names: names(name, known) };
    let path = join(path, "marker");
    let Some(value) = token.and_then(|token| token.get("marker")) else { return marker };
    reader.at(&*path, value.span());
    let Some(table) = reader.table(value, "a marker", &["prefix", "length", "alphabet", "names"]) else {
        return marker;
    };
    let alphabets =
        [("alphanumeric", Alphabet::Alphanumeric), ("hex", Alphabet::Hex), ("base64url", Alphabet::Base64url)];
    marker.prefix = reader.optional(&table, "prefix", &path).unwrap_or_default();
    if let Some(value) = table.get("length") {
        reader.at(join(&path, "length"), value.span());
        marker.length = reader.number(value, "length").unwrap_or(LENGTH);
    }
    marker.alphabet = reader.choice_or(&table, "alphabet", &alphabets, Alphabet::Alphanumeric);
    if table.has("names") {
        marker.names = reader.strings(&table, "names", &path);
    }
    marker
}

/// Its own name, and those that most code uses: `oauth_access_token` for the first token of an OAuth method, `api_key`
/// for the only token of another. Code for an app that speaks OAuth asks for the first whatever way the account was
/// connected.
fn names(name: &str, known: Known<'_>) -> Vec<String> {
    let usual: &[&str] = match known {
        Known { oauth: true, all: [first, ..], .. } if *first == name => &["oauth_access_token"],
        Known { oauth: false, any_oauth: true, all: [_] } => &["oauth_access_token", "api_key"],
        Known { oauth: false, any_oauth: false, all: [_] } => &["api_key"],
        _ => &[],
    };
    let free = usual.iter().copied().filter(|usual| !known.all.contains(usual));
    std::iter::once(name).chain(free).map(str::to_owned).collect()
}
