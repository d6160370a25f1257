//! How lists go on: the app's way, and an action's own.

use super::Check;
use crate::types::{ActionList, Cursor, NextPage};

pub(super) fn pagination(check: &mut Check<'_>) {
    let Some(pagination) = &check.app.pagination else { return };
    if let Some(items) = &pagination.items {
        check.pointer("pagination.items", items);
    }
    next(check, "pagination.next", &pagination.next);
}

/// An action that lists says where the items are and how they go on, or the app does.
pub(super) fn lists(check: &mut Check<'_>, path: &str, lists: &ActionList) {
    let app = check.app.pagination.as_ref();
    match &lists.items {
        Some(items) => check.pointer(&format!("{path}.items"), items),
        None if app.is_none_or(|app| app.items.is_none()) => {
            let help = "lists.items = \"/data\"; \"\" where the answer itself is the list";
            check.fail_with(path, "neither the action nor the app says where the items stand", help);
        }
        None => {}
    }
    match &lists.next {
        Some(next) => self::next(check, &format!("{path}.next"), next),
        None if app.is_none() => {
            let help = "declare [pagination], or lists.next";
            check.fail_with(path, "neither the action nor the app says how a list goes on", help);
        }
        None => {}
    }
}

fn next(check: &mut Check<'_>, path: &str, next: &NextPage) {
    match next {
        NextPage::Cursor(cursor) => self::cursor(check, &format!("{path}.cursor"), cursor, true),
        // An item may be its own cursor.
        NextPage::LastItem(cursor) => self::cursor(check, &format!("{path}.last-item"), cursor, false),
        NextPage::LinkHeader => {}
        NextPage::Url(pointer) => place(check, &format!("{path}.url"), pointer),
        NextPage::Page(counter) => field(check, &format!("{path}.page.field"), &counter.field),
        NextPage::Offset(name) => field(check, &format!("{path}.offset"), name),
    }
}

fn cursor(check: &mut Check<'_>, path: &str, cursor: &Cursor, whole: bool) {
    if whole {
        place(check, &format!("{path}.at"), &cursor.at);
    } else {
        check.pointer(&format!("{path}.at"), &cursor.at);
    }
    // In a JSON body it may stand deeper than the first level.
    if cursor.field.starts_with('/') {
        check.pointer(&format!("{path}.field"), &cursor.field);
    } else {
        field(check, &format!("{path}.field"), &cursor.field);
    }
    if let Some(more) = &cursor.more {
        place(check, &format!("{path}.more"), more);
    }
}

fn place(check: &mut Check<'_>, path: &str, pointer: &str) {
    if pointer.is_empty() {
        check.fail(path, "the pointer names the whole answer");
    } else {
        check.pointer(path, pointer);
    }
}

fn field(check: &mut Check<'_>, path: &str, name: &str) {
    if name.is_empty() || name.contains(['&', '=', '#', ' ']) {
        check.fail(path, format!("`{name}` is no query name"));
    }
}
