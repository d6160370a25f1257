//! Security schemes as descriptions name them, as auth methods.

use super::{DraftAuth, DraftMethod, DraftSlot, Place, identifier};

/// A key in a header or the query. None: a place that an app cannot use, such as a cookie.
pub(super) fn key(place: &str, name: &str, prefix: &str) -> Option<DraftSlot> {
    let place = match place {
        "header" => Place::Header,
        "query" => Place::Query,
        _ => return None,
    };
    let sound = match place {
        Place::Header => crate::validate::is_header_name(name) && !crate::validate::is_host_owned_header(name),
        Place::Query => !name.is_empty() && !name.contains(['&', '=', '#', ' ']),
    };
    if !sound {
        return None;
    }
    let bare = name.to_ascii_lowercase();
    let bare = bare.strip_prefix("x-").unwrap_or(&bare);
    let token = if bare == "authorization" { "token".to_owned() } else { identifier(bare) };
    Some(DraftSlot { token, place, name: name.to_owned(), prefix: prefix.to_owned() })
}

pub(super) fn bearer() -> DraftSlot {
    DraftSlot {
        token: "token".to_owned(),
        place: Place::Header,
        name: "Authorization".to_owned(),
        prefix: "Bearer ".to_owned(),
    }
}

/// Pasted secrets; one alone is simply `token`.
pub(super) fn keys(mut slots: Vec<DraftSlot>) -> DraftMethod {
    let is_bearer = matches!(&slots[..], [slot] if slot.prefix == "Bearer ");
    if let [slot] = &mut slots[..] {
        slot.token = "token".to_owned();
    }
    let (id, label) = if is_bearer { ("token", "Access token") } else { ("key", "API key") };
    let label = if slots.len() > 1 { "API keys" } else { label };
    DraftMethod { id: id.to_owned(), label: Some(label.to_owned()), auth: DraftAuth::Keys(slots) }
}

pub(super) fn basic() -> DraftMethod {
    DraftMethod { id: "basic".to_owned(), label: Some("User name and password".to_owned()), auth: DraftAuth::Basic }
}

/// Adds a method that is not there yet, under an id of its own.
pub(super) fn add(methods: &mut Vec<DraftMethod>, mut method: DraftMethod) {
    if methods.iter().any(|other| other.auth == method.auth) {
        return;
    }
    let wanted = method.id.clone();
    let mut number = 2;
    while methods.iter().any(|other| other.id == method.id) {
        method.id = format!("{wanted}-{number}");
        number += 1;
    }
    methods.push(method);
}
