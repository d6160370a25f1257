//! What the next page of a list is. Pure: from an answer to the change of the request.

use deputy_declaration::types::{App, Cursor, NextPage};
use http::HeaderMap;
use serde_json::Value;
use url::Url;

use super::request::Prepared;
use super::{CallError, Pages, link};

/// The rules of one list: the call's own before the app's.
#[derive(Debug)]
pub(super) struct Plan {
    items: Option<String>,
    next: NextPage,
}

/// How the request for the next page differs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) enum Turn {
    /// A query field, or a field of the JSON body where the request has one.
    Field {
        name: String,
        value: String,
    },
    /// A query field that counts.
    Count {
        name: String,
        value: u64,
    },
    Url(String),
}

/// What was read so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read {
    /// From 1, with the one just read.
    pub pages: u64,
    /// With those of the page just read.
    pub items: u64,
}

impl Plan {
    pub(super) fn new(pages: &Pages, app: &App) -> Result<Self, CallError> {
        if pages.most_pages == 0 || pages.most_items == 0 {
            return Err(CallError::invalid(
                "a list of no pages or no items asks for nothing",
                "set `most_pages` and `most_items` to 1 or more",
            ));
        }
        let declared = app.pagination.as_ref();
        let next = pages.next.clone().or_else(|| declared.map(|declared| declared.next.clone()));
        let next = next.ok_or_else(|| CallError::Pages {
            message: format!("{} does not declare how its lists go on", app.slug),
            fix: "say how: `next` in `paginate` of a workflow's step, `--next` of `deputy request`; or read one page"
                .to_owned(),
        })?;
        let items = pages.items.clone().or_else(|| declared.and_then(|declared| declared.items.clone()));
        Ok(Self { items, next })
    }

    /// The list of an answer; empty where there is none.
    pub(super) fn items<'b>(&self, body: &'b Value) -> &'b [Value] {
        let list = body.pointer(self.items.as_deref().unwrap_or_default()).and_then(Value::as_array);
        list.map_or(&[], Vec::as_slice)
    }

    /// Takes the list out of an answer.
    pub(super) fn take_items(&self, body: &mut Value) -> Result<Vec<Value>, CallError> {
        let pointer = self.items.as_deref().unwrap_or_default();
        match body.pointer_mut(pointer).map(Value::take) {
            Some(Value::Array(items)) => Ok(items),
            found => {
                let found = if found.is_some() { "no list" } else { "nothing" };
                let place = if pointer.is_empty() { "as a whole".to_owned() } else { format!("at `{pointer}`") };
                Err(CallError::Pages {
                    message: format!("the answer holds {found} {place}, where the items should be"),
                    fix: "name the place of the list in `items`, such as /data".to_owned(),
                })
            }
        }
    }

    /// None at the end. `body` still holds its items.
    pub(super) fn next(
        &self,
        body: &Value,
        headers: &HeaderMap,
        current: &Prepared,
        base: Option<&Url>,
        read: Read,
    ) -> Result<Option<Turn>, CallError> {
        let items = self.items(body);
        let last = items.last();
        Ok(match &self.next {
            // The app says whether there is more, also after an empty page.
            NextPage::Cursor(cursor) => field(cursor, body, body),
            NextPage::LastItem(cursor) => last.and_then(|last| field(cursor, last, body)),
            NextPage::LinkHeader => link::next(headers).map(|to| url(&to, current, base)).transpose()?,
            NextPage::Url(pointer) => {
                let to = body.pointer(pointer).and_then(Value::as_str).filter(|to| !to.is_empty());
                to.map(|to| url(to, current, base)).transpose()?
            }
            NextPage::Page(_) | NextPage::Offset(_) if last.is_none() => None,
            NextPage::Page(counter) => {
                // The first request may begin in the middle, and each later one holds the number already.
                let at = current.query(&counter.field).and_then(|at| at.parse().ok());
                let at: u64 = at.unwrap_or_else(|| u64::from(counter.first) + read.pages - 1);
                Some(Turn::Count { name: counter.field.clone(), value: at.saturating_add(1) })
            }
            NextPage::Offset(name) => {
                let at: Option<u64> = current.query(name).and_then(|at| at.parse().ok());
                let value = at.map_or(read.items, |at| at.saturating_add(items.len() as u64));
                Some(Turn::Count { name: name.clone(), value })
            }
        })
    }
}

/// The turn to the page behind a cursor, unless the answer says that there is none.
fn field(cursor: &Cursor, holds: &Value, body: &Value) -> Option<Turn> {
    if let Some(more) = &cursor.more
        && body.pointer(more) != Some(&Value::Bool(true))
    {
        return None;
    }
    let value = match holds.pointer(&cursor.at)? {
        Value::String(text) if !text.is_empty() => text.clone(),
        Value::Number(number) => number.to_string(),
        _ => return None,
    };
    Some(Turn::Field { name: cursor.field.clone(), value })
}

/// A whole URL is taken as it is; the egress holds it against the account's reach like any other. A relative one is
/// about the page it stands in (RFC 3986 section 5).
fn url(to: &str, current: &Prepared, base: Option<&Url>) -> Result<Turn, CallError> {
    if Url::parse(to).is_ok() {
        return Ok(Turn::Url(to.split('#').next().unwrap_or_default().to_owned()));
    }
    let page = match (Url::parse(current.url()), base) {
        (Ok(page), _) => Some(page),
        (Err(_), Some(base)) => Url::parse(&format!("{}{}", base.as_str().trim_end_matches('/'), current.url())).ok(),
        (Err(_), None) => None,
    };
    let mut joined = page.and_then(|page| page.join(to).ok()).ok_or_else(|| CallError::Pages {
        message: "the answer names a next page whose address cannot be read".to_owned(),
        fix: "check `next` against the app's documentation".to_owned(),
    })?;
    joined.set_fragment(None);
    Ok(Turn::Url(joined.into()))
}

impl Turn {
    /// Changes the request; an error where its body has no place for the cursor.
    pub(super) fn apply(&self, request: &mut Prepared) -> Result<(), CallError> {
        match self {
            Self::Field { name, value } if request.has_json_body() => {
                if !request.set_body(name, Value::from(value.as_str())) {
                    return Err(CallError::invalid(
                        format!("the body has no place for the cursor `{name}`"),
                        "send a JSON object as the body",
                    ));
                }
            }
            Self::Field { name, value } => request.set_query(name, value),
            Self::Count { name, value } => request.set_query(name, &value.to_string()),
            Self::Url(url) => request.go_to(url.clone()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use deputy_declaration::types::Counter;
    use http::HeaderValue;
    use serde_json::json;

    use super::*;
    use crate::step::{AnswerRules, Call, CallBody};
    use crate::wasm::fixtures;

    fn request(path: &str) -> Prepared {
        Prepared::new(&Call {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: CallBody::None,
            identity: None,
            answer: AnswerRules::default(),
        })
        .unwrap()
    }

    fn plan(items: &str, next: NextPage) -> Plan {
        Plan { items: Some(items.to_owned()), next }
    }

    fn turn(plan: &Plan, body: Value, path: &str, read: (u64, u64)) -> Option<Turn> {
        let base = Url::parse("https://api.example/v1").unwrap();
        let read = Read { pages: read.0, items: read.1 };
        plan.next(&body, &HeaderMap::new(), &request(path), Some(&base), read).unwrap()
    }

    fn cursor(at: &str, more: Option<&str>) -> Cursor {
        Cursor { at: at.to_owned(), field: "cursor".to_owned(), more: more.map(str::to_owned) }
    }

    fn to(value: &str) -> Option<Turn> {
        Some(Turn::Field { name: "cursor".to_owned(), value: value.to_owned() })
    }

    #[test]
    fn a_cursor_of_the_answer() {
        let slack = plan("/channels", NextPage::Cursor(cursor("/meta/next", None)));
        let after = |meta: Value| turn(&slack, json!({"channels": [1], "meta": meta}), "/x", (1, 1));
        assert_eq!(after(json!({"next": "dXNlcg=="})), to("dXNlcg=="));
        assert_eq!(after(json!({"next": 7})), to("7"));
        for end in [json!({"next": ""}), json!({"next": null}), json!({}), json!({"next": false}), json!({"next": [1]})]
        {
            assert_eq!(after(end), None);
        }
        // An empty page in the middle: the app filters after it has counted.
        assert_eq!(turn(&slack, json!({"channels": [], "meta": {"next": "c"}}), "/x", (1, 0)), to("c"));
        let notion = plan("/results", NextPage::Cursor(cursor("/next", Some("/more"))));
        assert_eq!(turn(&notion, json!({"results": [], "next": "c", "more": false}), "/x", (1, 0)), None);
        assert_eq!(turn(&notion, json!({"results": [], "next": "c", "more": true}), "/x", (1, 0)), to("c"));
        assert_eq!(turn(&notion, json!({"results": [], "next": "c"}), "/x", (1, 0)), None);
    }

    #[test]
    fn a_field_of_the_last_item() {
        let stripe = plan("/data", NextPage::LastItem(cursor("/id", Some("/has_more"))));
        let body = |more| json!({"data": [{"id": "a"}, {"id": "b"}], "has_more": more});
        assert_eq!(turn(&stripe, body(true), "/x", (1, 2)), to("b"));
        assert_eq!(turn(&stripe, body(false), "/x", (1, 2)), None);
        assert_eq!(turn(&stripe, json!({"data": [], "has_more": true}), "/x", (1, 0)), None);
    }

    #[test]
    fn counting_goes_on_from_where_the_call_begins_and_ends_at_an_empty_page() {
        let pages = plan("", NextPage::Page(Counter { field: "page".to_owned(), first: 1 }));
        let count = |value| Some(Turn::Count { name: "page".to_owned(), value });
        assert_eq!(turn(&pages, json!([1]), "/x", (1, 1)), count(2));
        assert_eq!(turn(&pages, json!([1]), "/x?page=2", (2, 2)), count(3));
        assert_eq!(turn(&pages, json!([1]), "/x?page=7", (1, 1)), count(8));
        assert_eq!(turn(&pages, json!([]), "/x?page=8", (2, 1)), None);
        let offset = plan("", NextPage::Offset("page".to_owned()));
        assert_eq!(turn(&offset, json!([1, 2]), "/x", (1, 2)), count(2));
        assert_eq!(turn(&offset, json!([3]), "/x?page=2", (2, 3)), count(3));
        assert_eq!(turn(&offset, json!([3]), "/x?page=10", (1, 1)), count(11));
        assert_eq!(turn(&offset, json!([]), "/x", (1, 0)), None);
    }

    #[test]
    fn urls_are_whole_or_about_the_page_they_stand_in() {
        let odata = plan("/value", NextPage::Url("/next".to_owned()));
        let after = |next: Value, path: &str| turn(&odata, json!({"value": [], "next": next}), path, (1, 0));
        let url = |url: &str| Some(Turn::Url(url.to_owned()));
        assert_eq!(after(json!("https://api.example/v1/x?p=2#top"), "/x"), url("https://api.example/v1/x?p=2"));
        assert_eq!(after(json!("/v1/x?p=2"), "/x"), url("https://api.example/v1/x?p=2"));
        assert_eq!(after(json!("?p=2"), "/x?p=1"), url("https://api.example/v1/x?p=2"));
        assert_eq!(after(json!("/y"), "https://other.example/x"), url("https://other.example/y"));
        assert_eq!(after(json!(""), "/x"), None);
        assert_eq!(after(json!(null), "/x"), None);
        let mut headers = HeaderMap::new();
        headers.insert("link", HeaderValue::from_static("<https://api.example/v1/x?page=2>; rel=\"next\""));
        let linked = plan("", NextPage::LinkHeader);
        let read = Read { pages: 1, items: 1 };
        let turn = linked.next(&json!([1]), &headers, &request("/x"), None, read).unwrap();
        assert_eq!(turn, url("https://api.example/v1/x?page=2"));
        assert_eq!(linked.next(&json!([1]), &HeaderMap::new(), &request("/x"), None, read).unwrap(), None);
    }

    #[test]
    fn the_items_must_be_a_list() {
        let plan = plan("/data", NextPage::LinkHeader);
        assert_eq!(plan.take_items(&mut json!({"data": [1, 2]})).unwrap(), [json!(1), json!(2)]);
        for body in [json!({"data": {}}), json!({}), json!([1])] {
            let error = plan.take_items(&mut body.clone()).unwrap_err();
            assert!(error.to_string().contains("`/data`") && error.fix().is_some(), "{error}");
        }
    }

    #[test]
    fn an_app_that_declares_nothing_needs_the_calls_own_rules() {
        let app = fixtures::declaration();
        let error = Plan::new(&Pages::default(), &app).unwrap_err();
        assert!(error.to_string().contains("demo"), "{error}");
        let own = Pages { next: Some(NextPage::LinkHeader), ..Pages::default() };
        assert!(Plan::new(&own, &app).is_ok());
        assert!(Plan::new(&Pages { most_items: 0, ..own }, &app).is_err());
    }
}
