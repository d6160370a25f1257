//! `[pagination]`, and the `lists` of an action: how a list goes on.

use serde_spanned::Spanned;
use toml::de::DeValue;

use super::reader::{Entry, Reader, a, join};
use crate::types::{ActionList, Counter, Cursor, NextPage, Pagination};

const NEXT: [&str; 5] = ["cursor", "last-item", "url", "page", "offset"];
const EXAMPLE: &str = "\"link-header\", { cursor = { at = \"/next\", field = \"cursor\" } }, { url = \"/next\" }, \
                       { page = { field = \"page\" } } or { offset = \"offset\" }";

pub(super) fn pagination(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Pagination> {
    reader.at("pagination", value.span());
    let table = reader.table(value, "pagination", &["items", "next"])?;
    let items = reader.optional(&table, "items", "pagination");
    match table.get("next") {
        Some(value) => Some(Pagination { items, next: next(reader, value, "pagination.next")? }),
        None => {
            reader.fault(table.span, "pagination lacks `next`", Some(EXAMPLE.into()));
            None
        }
    }
}

/// `true`, or what differs from the app's pagination.
pub(super) fn lists(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<ActionList> {
    reader.at(path, value.span());
    match value.get_ref() {
        DeValue::Boolean(true) => Some(ActionList { items: None, next: None }),
        DeValue::Boolean(false) => None,
        DeValue::Table(_) => {
            let table = reader.table(value, "lists", &["items", "next"])?;
            let next = table.get("next").and_then(|value| self::next(reader, value, &join(path, "next")));
            Some(ActionList { items: reader.optional(&table, "items", path), next })
        }
        other => {
            let message = format!("`lists` is true or a table of `items` and `next`, not {}", a(other));
            reader.fault(value.span(), message, None);
            None
        }
    }
}

/// The way from page to page, as `next` of `[pagination]` has it.
pub fn next(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<NextPage> {
    reader.at(path, value.span());
    if value.get_ref().is_str() {
        return reader.choice(value, "next", &[("link-header", ())]).map(|()| NextPage::LinkHeader);
    }
    let table = reader.table(value, "next", &NEXT)?;
    let [Entry { key, value, .. }] = &table.entries[..] else {
        reader.fault(table.span, "`next` says one way to go on", Some(EXAMPLE.into()));
        return None;
    };
    let path = join(path, key);
    match *key {
        "cursor" => cursor(reader, value, &path).map(NextPage::Cursor),
        "last-item" => cursor(reader, value, &path).map(NextPage::LastItem),
        "url" => reader.text_of(value, "url", &path).map(NextPage::Url),
        "offset" => reader.text_of(value, "offset", &path).map(NextPage::Offset),
        "page" => {
            reader.at(&*path, value.span());
            let table = reader.table(value, "page", &["field", "first"])?;
            let first = table.get("first").map_or(Some(1), |value| reader.number(value, "first"));
            Some(NextPage::Page(Counter { field: reader.required(&table, "page", "field", &path), first: first? }))
        }
        // Told as an unknown key.
        _ => None,
    }
}

fn cursor(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Cursor> {
    reader.at(path, value.span());
    let table = reader.table(value, "a cursor", &["at", "field", "more"])?;
    Some(Cursor {
        at: reader.required(&table, "the cursor", "at", path),
        field: reader.required(&table, "the cursor", "field", path),
        more: reader.optional(&table, "more", path),
    })
}
