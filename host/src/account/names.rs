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
/// The highest number behind a derived nickname.
const MAX_NUMBER: u32 = 20;
/// How many accounts are looked at for a guess at what was meant.
const MAX_GUESSES: usize = 200;

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

/// The first of `base`, `base-2`, `base-3`, … that is free; after some tries, `base` with the end of the id, so that a
/// thousand accounts of one name do not cost a thousand reads.
pub(super) async fn free(
    rows: &Rows,
    owner: &Owner,
    app: &str,
    base: &str,
    id: &AccountId,
) -> Result<String, RowsError> {
    let with = |end: &str| {
        let head: String = base.chars().take(MAX_NICKNAME - end.len() - 1).collect();
        format!("{}-{end}", head.trim_end_matches('-'))
    };
    let mut nickname = base.to_owned();
    for number in 2..=MAX_NUMBER + 1 {
        if rows.named(owner, app, &nickname).await?.is_none() {
            return Ok(nickname);
        }
        nickname = with(&number.to_string());
    }
    let id = id.as_str();
    Ok(with(&id[id.len() - 10..]))
}

/// The one account that a name means. The sealed record has the last word: an index row that leads to another account
/// is refused.
pub(super) async fn resolve(rows: &Rows, owner: &Owner, name: &str) -> Result<At<Record>, AccountError> {
    if let Ok(id) = name.parse::<AccountId>() {
        return record(rows, owner, &id)
            .await?
            .ok_or_else(|| AccountError::NotFound { name: name.to_owned(), nearest: None });
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
    Err(not_found(rows, owner, name).await?)
}

/// With a guess: the account of that nickname at another app, or a name that differs by a slip.
async fn not_found(rows: &Rows, owner: &Owner, name: &str) -> Result<AccountError, AccountError> {
    let heads = rows.heads(owner, None, MAX_GUESSES).await?;
    let known: Vec<String> = heads.iter().map(|head| format!("{}/{}", head.app, head.nickname)).collect();
    let nickname = name.rsplit('/').next().unwrap_or(name);
    let guess = heads
        .iter()
        .position(|head| head.nickname == nickname)
        .map(|at| known[at].as_str())
        .or_else(|| nearest(name, known.iter().map(String::as_str)))
        .or_else(|| nearest(name, heads.iter().map(|head| head.app.as_str())));
    let nearest = guess.map(str::to_owned);
    Ok(AccountError::NotFound { name: name.chars().take(128).collect(), nearest })
}

/// The id that a name leads to, without opening its record: for what must work on a damaged one.
pub(super) async fn id_of(rows: &Rows, owner: &Owner, name: &str) -> Result<Option<AccountId>, AccountError> {
    if let Ok(id) = name.parse::<AccountId>() {
        return Ok(Some(id));
    }
    let (app, nickname) = match name.split_once('/') {
        Some((app, nickname)) => (app, nickname.to_owned()),
        None => (name, only(rows, owner, name).await?),
    };
    Ok(rows.named(owner, app, &nickname).await?)
}

async fn record(rows: &Rows, owner: &Owner, id: &AccountId) -> Result<Option<At<Record>>, AccountError> {
    Ok(rows.account(owner, id).await?)
}

/// The nickname of the only account of an app. Two are an error that names them: nothing chooses between accounts.
async fn only(rows: &Rows, owner: &Owner, app: &str) -> Result<String, AccountError> {
    let mut known = rows.names(owner, app, None, MAX_CANDIDATES + 1).await?;
    match known.len() {
        0 => Err(not_found(rows, owner, app).await?),
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
