//! The hook `token-reply`: a reply to a token call, read by the app's own code and written down as one that a
//! declaration reads.
//!
//! Promise: the hook sees the shape of the reply and none of its texts. They are handles, as is the body; what it gives
//! back is handles, and this room writes them into a JSON object.

use http::HeaderMap;
use serde_json::Value;
use url::form_urlencoded;
use zeroize::Zeroizing;

use super::held::{Held, Host};
use super::v0_1_0::{Item, Part, Reply, Value as Shown};
use super::{Hooks, MOST_SLOT_BYTES, sentence, value_of};
use crate::egress::EgressError;

/// Parts of a reply that a hook is given; the rest of a larger one is in its body.
const MOST_PARTS: usize = 60;
/// Fields of a reply that a hook writes.
const MOST_ITEMS: usize = 16;
/// A longer number could be a secret.
const MOST_DIGITS: usize = 9;

impl Hooks {
    /// The body in the form that a declaration reads.
    pub async fn read_reply(
        &self,
        slug: &str,
        version: &str,
        status: u16,
        headers: &HeaderMap,
        body: Zeroizing<Vec<u8>>,
    ) -> Result<Zeroizing<Vec<u8>>, EgressError> {
        let pre = self.reply_ready(version).await.map_err(|reason| unusable(slug, &reason))?;
        let room = self.room().map_err(|error| unusable(slug, &error.to_string()))?;
        let _slot = room.slot().await.map_err(|error| unusable(slug, &error.to_string()))?;
        let mut store = room.store(Host::new(room.limits(), body.len().saturating_mul(4).saturating_add(1 << 20)));
        let reply =
            reply(status, headers, &body, store.data_mut()).map_err(|error| unusable(slug, &error.to_string()))?;
        let call = async {
            let hook = pre.instantiate_async(&mut store).await?;
            hook.deputy_app_token_reply().call_read(&mut store, &reply).await
        };
        let items = match super::bounded(call).await {
            Ok(Ok(Ok(items))) => items,
            Ok(Ok(Err(words))) => return Err(failed(slug, &sentence(&words))),
            Ok(Err(error)) => return Err(failed(slug, &super::why(store.data(), &error))),
            Err(why) => return Err(failed(slug, &why)),
        };
        written(slug, items, store.data_mut())
    }
}

fn unusable(slug: &str, reason: &str) -> EgressError {
    EgressError::Internal(format!("the token-reply hook of {slug} cannot be used: {reason}"))
}

fn failed(slug: &str, why: &str) -> EgressError {
    EgressError::denied(
        "hook",
        format!("the token-reply hook of {slug} failed: {why}"),
        "tell the app's author; nothing was stored",
    )
}

fn reply(status: u16, headers: &HeaderMap, body: &[u8], host: &mut Host) -> wasmtime::Result<Reply> {
    let mut shown = Vec::new();
    for (name, value) in headers.iter().take(20) {
        let value = host.keep(Held::reply(value.as_bytes().to_vec()))?;
        shown.push(Item { name: name.as_str().to_owned(), value });
    }
    let mut leaves = Vec::new();
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => walk(&value, String::new(), &mut leaves),
        Err(_) if is_form(body) => {
            let fields = form_urlencoded::parse(body);
            leaves.extend(
                fields.map(|(name, value)| (format!("/{name}"), Leaf::Text(Zeroizing::new(value.into_owned())))),
            );
        }
        Err(_) => {}
    }
    let mut parts = Vec::new();
    for (at, leaf) in leaves.into_iter().take(MOST_PARTS) {
        let value = match leaf {
            Leaf::Plain(text) => Shown::Shown(text),
            Leaf::Text(text) => Shown::Hidden(host.keep(Held::reply(text.as_bytes().to_vec()))?),
        };
        parts.push(Part { at, value });
    }
    let body = host.keep(Held::reply(body.to_vec()))?;
    Ok(Reply { status, headers: shown, body, parts })
}

enum Leaf {
    Plain(String),
    Text(Zeroizing<String>),
}

fn walk(value: &Value, at: String, leaves: &mut Vec<(String, Leaf)>) {
    let below = |name: &str| format!("{at}/{}", name.replace('~', "~0").replace('/', "~1"));
    match value {
        Value::Object(object) => object.iter().for_each(|(name, value)| walk(value, below(name), leaves)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(at, value)| walk(value, below(&at.to_string()), leaves))
        }
        Value::String(text) => leaves.push((at, Leaf::Text(Zeroizing::new(text.clone())))),
        Value::Number(number) => {
            let text = number.to_string();
            let leaf = if text.len() <= MOST_DIGITS { Leaf::Plain(text) } else { Leaf::Text(Zeroizing::new(text)) };
            leaves.push((at, leaf));
        }
        Value::Bool(_) | Value::Null => leaves.push((at, Leaf::Plain(value.to_string()))),
    }
}

fn is_form(body: &[u8]) -> bool {
    body.contains(&b'=') && body.iter().all(|byte| byte.is_ascii_graphic()) && !body.starts_with(b"<")
}

/// What the hook made, as a JSON object of texts.
fn written(slug: &str, items: Vec<Item>, host: &mut Host) -> Result<Zeroizing<Vec<u8>>, EgressError> {
    if items.len() > MOST_ITEMS {
        return Err(failed(slug, &format!("it gives more than {MOST_ITEMS} fields")));
    }
    let mut names: Vec<String> = Vec::new();
    let mut held = Vec::new();
    for Item { name, value } in items {
        let sound = !name.is_empty() && name.len() <= 64 && name.bytes().all(|byte| byte.is_ascii_graphic());
        if !sound || names.contains(&name) {
            return Err(failed(slug, "it gives a field without a sound name, or one twice"));
        }
        let value = value_of(value, host).map_err(|error| unusable(slug, &error.to_string()))?;
        if value.len() > MOST_SLOT_BYTES {
            return Err(failed(slug, &format!("the field `{name}` would hold more than {MOST_SLOT_BYTES} bytes")));
        }
        names.push(name);
        held.push(value);
    }
    let room = 2 + names.iter().zip(&held).map(|(name, value)| name.len() + 6 * value.len() + 6).sum::<usize>();
    let mut out = Zeroizing::new(Vec::with_capacity(room));
    out.push(b'{');
    for (name, value) in names.iter().zip(&held) {
        let text = std::str::from_utf8(value.bytes())
            .map_err(|_| failed(slug, &format!("the field `{name}` would be no text")))?;
        if out.len() > 1 {
            out.push(b',');
        }
        let internal = |error: serde_json::Error| unusable(slug, &error.to_string());
        serde_json::to_writer(&mut *out, name).map_err(internal)?;
        out.push(b':');
        serde_json::to_writer(&mut *out, text).map_err(internal)?;
    }
    out.push(b'}');
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_shows_its_shape_and_no_text() {
        let value = serde_json::json!({"data": {"token": "canary", "n": [7, true, null], "big": 12345678901_u64}});
        let mut leaves = Vec::new();
        walk(&value, String::new(), &mut leaves);
        let shown: Vec<_> = leaves
            .iter()
            .map(|(at, leaf)| match leaf {
                Leaf::Plain(text) => format!("{at}={text}"),
                Leaf::Text(_) => format!("{at}=…"),
            })
            .collect();
        let wanted = ["/data/big=…", "/data/n/0=7", "/data/n/1=true", "/data/n/2=null", "/data/token=…"];
        assert_eq!(shown.iter().map(String::as_str).collect::<std::collections::BTreeSet<_>>(), wanted.into());
    }
}
