//! One request as the declaration makes it, and whether what came is that one.

use percent_encoding::percent_decode_str;
use serde_json::Value;
use url::{Url, form_urlencoded};

use super::fake::Seen;

/// Headers that any client may send.
const TRANSPORT: &[&str] = &["host", "accept", "accept-encoding", "content-length", "user-agent"];

pub(super) type Pairs = Vec<(String, String)>;

#[derive(Debug, Clone)]
pub(super) enum Content {
    Bytes(Vec<u8>),
    Form(Pairs),
    Json(Value),
}

#[derive(Debug, Clone)]
pub(super) struct Wanted {
    /// What of the declaration makes it: `methods[0].revoke[0]`.
    pub about: String,
    /// What puts its credentials there, where that is another part.
    pub rules: Option<String>,
    pub method: String,
    /// With the fields of its query, in any order.
    pub url: Url,
    /// Names in lower case. A later value of a name counts.
    pub headers: Pairs,
    pub content: Content,
    /// Headers and query fields that a signature fills, whatever they hold.
    pub signed: Vec<String>,
}

/// Why a request is not the wanted one. Never with the value of a credential.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Difference {
    /// How far the two are alike.
    pub depth: u8,
    pub reason: String,
}

impl Difference {
    /// Headers, and what comes after them.
    pub const HEADERS: u8 = 4;

    pub fn new(depth: u8, reason: impl Into<String>) -> Self {
        Self { depth, reason: reason.into() }
    }
}

fn differs(depth: u8, reason: impl Into<String>) -> Difference {
    Difference::new(depth, reason)
}

impl Wanted {
    pub fn new(about: String, method: &str, url: Url) -> Self {
        let method = method.to_owned();
        Self {
            about,
            rules: None,
            method,
            url,
            headers: Vec::new(),
            content: Content::Bytes(Vec::new()),
            signed: Vec::new(),
        }
    }

    pub fn header(&mut self, name: &str, value: impl Into<String>) {
        let name = name.to_ascii_lowercase();
        self.headers.retain(|(known, _)| *known != name);
        self.headers.push((name, value.into()));
    }

    /// The part of the declaration that makes what differs.
    pub fn part(&self, difference: &Difference) -> String {
        let rules = self.rules.as_ref().filter(|_| difference.depth >= Difference::HEADERS);
        rules.unwrap_or(&self.about).clone()
    }

    pub fn has_header(&self, name: &str) -> bool {
        self.headers.iter().any(|(known, _)| known.eq_ignore_ascii_case(name))
    }

    /// The body of a form, with its content type.
    pub fn form(&mut self, pairs: Pairs) {
        self.header("content-type", "application/x-www-form-urlencoded");
        self.content = Content::Form(pairs);
    }

    pub fn json(&mut self, value: Value) {
        self.header("content-type", "application/json");
        self.content = Content::Json(value);
    }

    /// # Errors
    /// The first part that differs.
    pub fn check(&self, seen: &Seen, secrets: &[&str]) -> Result<(), Difference> {
        let host = authority(&self.url);
        if seen.host != host {
            return Err(differs(0, format!("the host must be {host}")));
        }
        let (path, query) = seen.target.split_once('?').unwrap_or((&seen.target, ""));
        let decoded = |path: &str| -> Vec<String> {
            path.split('/').map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned()).collect()
        };
        if decoded(path) != decoded(self.url.path()) {
            return Err(differs(1, "the path is not the one that the declaration and the request make"));
        }
        if seen.method != self.method {
            return Err(differs(2, format!("the method must be {}", self.method)));
        }
        let mut sent: Pairs = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        sent.retain(|(name, _)| !self.signed.contains(name));
        same(&self.url.query_pairs().into_owned().collect(), &sent)
            .map_err(|reason| differs(3, format!("query: {reason}")))?;
        self.check_headers(seen, secrets)?;
        self.check_content(seen).map_err(|reason| differs(6, reason))
    }

    fn check_headers(&self, seen: &Seen, secrets: &[&str]) -> Result<(), Difference> {
        for (name, value) in &self.headers {
            let sent: Vec<_> = seen.headers.iter().filter(|(known, _)| known == name).collect();
            match sent.as_slice() {
                [(_, sent)] if sent == value => {}
                [] => return Err(differs(4, format!("the header `{name}` is missing"))),
                [_] => {
                    return Err(differs(
                        5,
                        format!("the header `{name}` has not the value that the declaration makes"),
                    ));
                }
                _ => return Err(differs(4, format!("the header `{name}` stands there twice"))),
            }
        }
        for (name, value) in &seen.headers {
            if self.has_header(name) || self.signed.contains(name) {
                continue;
            }
            if secrets.iter().any(|secret| value.contains(secret)) {
                return Err(differs(5, format!("a credential stands in the header `{name}`, which no rule names")));
            }
            if !TRANSPORT.contains(&name.as_str()) {
                return Err(differs(5, format!("nobody asked for the header `{name}`")));
            }
        }
        Ok(())
    }

    fn check_content(&self, seen: &Seen) -> Result<(), String> {
        match &self.content {
            Content::Bytes(wanted) if *wanted == seen.body => Ok(()),
            Content::Bytes(_) => Err("the body is not the one that was asked for".to_owned()),
            Content::Form(wanted) => {
                let sent: Pairs = form_urlencoded::parse(&seen.body).into_owned().collect();
                same(wanted, &sent).map_err(|reason| format!("form: {reason}"))
            }
            Content::Json(wanted) => match serde_json::from_slice::<Value>(&seen.body) {
                Ok(sent) if sent == *wanted => Ok(()),
                Ok(sent) => Err(json_difference(wanted, &sent)),
                Err(error) => Err(format!("the body must be JSON: {error}")),
            },
        }
    }
}

/// The same fields, in any order.
fn same(wanted: &Pairs, sent: &Pairs) -> Result<(), String> {
    let (mut wanted, mut sent) = (wanted.clone(), sent.clone());
    wanted.sort();
    sent.sort();
    if wanted == sent {
        return Ok(());
    }
    let names = |pairs: &Pairs| pairs.iter().map(|(name, _)| name.as_str()).collect::<Vec<_>>().join(", ");
    let (asked, came) = (names(&wanted), names(&sent));
    if asked != came {
        return Err(format!("it must hold [{asked}]; it holds [{came}]"));
    }
    let other = wanted.iter().zip(&sent).find(|(wanted, sent)| wanted != sent);
    let name = other.map(|((name, _), _)| name.as_str()).unwrap_or_default();
    Err(format!("`{name}` has another value than the declaration or the flow gives it"))
}

fn json_difference(wanted: &Value, sent: &Value) -> String {
    let names = |value: &Value| match value.as_object() {
        Some(object) => object.keys().map(String::as_str).collect::<Vec<_>>().join(", "),
        None => "no object".to_owned(),
    };
    let (asked, came) = (names(wanted), names(sent));
    match asked == came {
        true => format!("the JSON body holds [{came}] with another value than the declaration or the flow gives"),
        false => format!("the JSON body must hold [{asked}]; it holds [{came}]"),
    }
}

/// As the `Host` header writes it.
pub(super) fn authority(url: &Url) -> String {
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

/// Sets a value at a JSON Pointer, making what is missing on the way. A part that counts makes a list.
pub(super) fn put(body: &mut Value, pointer: &str, value: Value) {
    let mut place = body;
    for part in pointer.split('/').skip(1) {
        let name = part.replace("~1", "/").replace("~0", "~");
        place = match name.parse::<usize>() {
            Ok(index) => {
                if !place.is_array() {
                    *place = Value::Array(Vec::new());
                }
                let Some(list) = place.as_array_mut() else { return };
                while list.len() <= index {
                    list.push(Value::Object(serde_json::Map::new()));
                }
                &mut list[index]
            }
            Err(_) => {
                if !place.is_object() {
                    *place = Value::Object(serde_json::Map::new());
                }
                let Some(object) = place.as_object_mut() else { return };
                object.entry(name).or_insert(Value::Null)
            }
        };
    }
    *place = value;
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn seen(target: &str, headers: &[(&str, &str)], body: &str) -> Seen {
        let headers = headers.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Seen {
            host: "api.example".to_owned(),
            method: "POST".to_owned(),
            target: target.to_owned(),
            headers: headers.collect(),
            body: body.as_bytes().to_vec(),
        }
    }

    #[test]
    fn every_part_counts() {
        let mut wanted = Wanted::new(String::new(), "POST", Url::parse("https://api.example/a%20b?x=1&y=2").unwrap());
        wanted.header("Authorization", "Bearer abc");
        wanted.form(vec![("k".into(), "v w".into())]);
        let kind = ("content-type", "application/x-www-form-urlencoded");
        let auth = ("authorization", "Bearer abc");
        let check = |seen: Seen| wanted.check(&seen, &["abc"]).map_err(|difference| difference.depth);
        assert_eq!(check(seen("/a%20b?y=2&x=1", &[auth, kind, ("accept", "*/*")], "k=v+w")), Ok(()));
        for (depth, request) in [
            (1, seen("/a?x=1&y=2", &[auth, kind], "k=v+w")),
            (3, seen("/a%20b?x=1", &[auth, kind], "k=v+w")),
            (3, seen("/a%20b?x=1&y=2&y=2", &[auth, kind], "k=v+w")),
            (3, seen("/a%20b?x=1&y=3", &[auth, kind], "k=v+w")),
            (4, seen("/a%20b?x=1&y=2", &[kind], "k=v+w")),
            (4, seen("/a%20b?x=1&y=2", &[auth, auth, kind], "k=v+w")),
            (5, seen("/a%20b?x=1&y=2", &[("authorization", "bearer abc"), kind], "k=v+w")),
            (5, seen("/a%20b?x=1&y=2", &[auth, kind, ("user-agent", "abc")], "k=v+w")),
            (5, seen("/a%20b?x=1&y=2", &[auth, kind, ("x-more", "1")], "k=v+w")),
            (6, seen("/a%20b?x=1&y=2", &[auth, kind], "k=v+w&k=v+w")),
            (6, seen("/a%20b?x=1&y=2", &[auth, kind], "")),
        ] {
            assert_eq!(check(request.clone()), Err(depth), "{request:?}");
        }
    }

    #[test]
    fn values_at_pointers() {
        let mut body = json!({});
        put(&mut body, "/a/0/b~1c", json!(1));
        put(&mut body, "/a/1", json!("x"));
        assert_eq!(body, json!({"a": [{"b/c": 1}, "x"]}));
        put(&mut body, "", json!("whole"));
        assert_eq!(body, json!("whole"));
    }
}
