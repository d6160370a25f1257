//! How an account is called: `app/nickname`, its id, or the bare app if there is exactly one account of it.

use deputy_declaration::nearest;

use super::AccountError;
use crate::auth::record::Record;
use crate::auth::rows::{At, Rows, RowsError};
use crate::caller::Owner;
use crate::ids::AccountId;

/// The longest nickname, in characters.
pub const MAX_NICKNAME: usize = 40;
/// How many candidates an error lists.
const MAX_CANDIDATES: usize = 20;

/// A nickname a person chose: `[a-z0-9-]`, 1 to 40 characters, no `-` at either end.
pub fn check(nickname: &str) -> Result<(), AccountError> {
    let letters = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let sound = !nickname.is_empty()
        && nickname.len() <= MAX_NICKNAME
        && nickname.bytes().all(letters)
        && !nickname.starts_with('-')
        && !nickname.ends_with('-');
    if sound { Ok(()) } else { Err(AccountError::Nickname { nickname: nickname.chars().take(64).collect() }) }
}

/// A nickname from what the provider calls the account; `default` when nothing of that can stand in one.
pub fn derive(label: Option<&str>) -> String {
    let mut nickname = String::new();
    for c in label.unwrap_or_default().chars().map(|c| c.to_ascii_lowercase()) {
        if c.is_ascii_lowercase() || c.is_ascii_digit() {
            nickname.push(c);
        } else if !nickname.is_empty() && !nickname.ends_with('-') {
            nickname.push('-');
        }
        if nickname.len() >= MAX_NICKNAME {
            break;
        }
    }
    let nickname = nickname.trim_end_matches('-');
    if nickname.is_empty() { "default".to_owned() } else { nickname.to_owned() }
}

/// The first of `base`, `base-2`, `base-3`, … that is free.
pub(super) async fn free(rows: &Rows, owner: &Owner, app: &str, base: &str) -> Result<String, RowsError> {
    let mut nickname = base.to_owned();
    let mut number = 2_u32;
    while rows.named(owner, app, &nickname).await?.is_some() {
        let end = format!("-{number}");
        let head: String = base.chars().take(MAX_NICKNAME - end.len()).collect();
        nickname = format!("{}{end}", head.trim_end_matches('-'));
        number += 1;
    }
    Ok(nickname)
}

/// The one account that a name means. The sealed record has the last word: an index row that leads to another account
/// is refused.
pub(super) async fn resolve(rows: &Rows, owner: &Owner, name: &str) -> Result<At<Record>, AccountError> {
    if let Ok(id) = name.parse::<AccountId>() {
        return record(rows, owner, &id).await?.ok_or_else(|| AccountError::NotFound {
            name: name.to_owned(),
            nearest: None,
        });
    }
    let (app, nickname) = match name.split_once('/') {
        Some((app, nickname)) => (app, Some(nickname)),
        None => (name, None),
    };
    let nickname = match nickname {
        Some(nickname) => nickname.to_owned(),
        None => only(rows, owner, app).await?,
    };
    if let Some(id) = rows.named(owner, app, &nickname).await? {
        let found = record(rows, owner, &id).await?;
        return match found {
            Some(found) if found.value.app == app && found.value.nickname == nickname => Ok(found),
            _ => Err(AccountError::Moved { name: format!("{app}/{nickname}") }),
        };
    }
    let known = rows.names(owner, app, None, MAX_CANDIDATES).await?;
    let guess = nearest(&nickname, known.iter().map(|(nickname, _)| nickname.as_str()));
    let guess = guess.map(|guess| format!("{app}/{guess}"));
    Err(AccountError::NotFound { name: name.chars().take(128).collect(), nearest: guess })
}

async fn record(rows: &Rows, owner: &Owner, id: &AccountId) -> Result<Option<At<Record>>, AccountError> {
    Ok(rows.account(owner, id).await?)
}

/// The nickname of the only account of an app. Two are an error that names them: nothing chooses between accounts.
async fn only(rows: &Rows, owner: &Owner, app: &str) -> Result<String, AccountError> {
    let mut known = rows.names(owner, app, None, MAX_CANDIDATES + 1).await?;
    match known.len() {
        0 => Err(AccountError::NotFound { name: app.chars().take(128).collect(), nearest: None }),
        1 => Ok(known.remove(0).0),
        _ => {
            let more = known.len() > MAX_CANDIDATES;
            let mut candidates: Vec<_> =
                known.into_iter().take(MAX_CANDIDATES).map(|(nickname, _)| format!("{app}/{nickname}")).collect();
            if more {
                candidates.push("…".to_owned());
            }
            Err(AccountError::Ambiguous { name: app.to_owned(), candidates })
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_nickname_comes_from_the_identity() {
        for (label, nickname) in [
            (Some("Octo Cat"), "octo-cat"),
            (Some("a.person@example.com"), "a-person-example-com"),
            (Some("  ***  "), "default"),
            (Some("Zoë"), "zo"),
            (None, "default"),
        ] {
            assert_eq!(derive(label), nickname);
        }
    }

    proptest! {
        #[test]
        fn every_derived_nickname_is_a_sound_one(label in any::<String>()) {
            prop_assert!(check(&derive(Some(&label))).is_ok());
        }
    }

    #[test]
    fn what_could_be_misread_is_no_nickname() {
        for nickname in ["", "-a", "a-", "A", "a/b", "a b", "ä", &"a".repeat(41)] {
            assert!(check(nickname).is_err(), "{nickname}");
        }
    }
}
