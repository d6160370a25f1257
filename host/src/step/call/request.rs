//! From a [`Call`] to the request that the road takes. Reach and rules are the egress's to check; here only its form.

use std::collections::BTreeSet;

use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use serde_json::Value;
use url::form_urlencoded;

use super::{Call, CallBody, CallError};
use crate::egress::{Body, Request};
use crate::step::props::short;

/// A call whose form is sound; the pages of a list change it one after the other.
#[derive(Debug, Clone)]
pub(super) struct Prepared {
    pub method: Method,
    /// With its query.
    url: String,
    headers: HeaderMap,
    body: CallBody,
    bytes: Option<Bytes>,
    identity: Option<String>,
}

impl Prepared {
    pub(super) fn new(call: &Call) -> Result<Self, CallError> {
        let method = Method::from_bytes(call.method.as_bytes()).map_err(|_| {
            CallError::invalid(format!("`{}` is no HTTP method", short(&call.method)), "write GET, POST, PUT, …")
        })?;
        if !call.path.starts_with('/') && !call.path.contains("://") {
            return Err(CallError::invalid(
                format!("the path `{}` does not begin with /", short(&call.path)),
                "write a path below the app's base, or a whole https URL",
            ));
        }
        let mut headers = HeaderMap::new();
        for (name, value) in &call.headers {
            let shown = short(name);
            let name = HeaderName::from_bytes(name.as_bytes())
                .map_err(|_| CallError::invalid(format!("`{shown}` is no header name"), "remove spaces and colons"))?;
            let value = HeaderValue::from_str(value).map_err(|_| {
                let fix = "remove line breaks and control characters";
                CallError::invalid(format!("the value of header `{shown}` holds a control character"), fix)
            })?;
            headers.append(name, value);
        }
        let content_type = match &call.body {
            CallBody::None => None,
            CallBody::Json(_) => Some("application/json"),
            CallBody::Form(_) => Some("application/x-www-form-urlencoded"),
            CallBody::Text { content_type, .. } => Some(content_type.as_str()).filter(|kind| !kind.is_empty()),
        };
        if let Some(content_type) = content_type
            && !headers.contains_key(header::CONTENT_TYPE)
        {
            let value = HeaderValue::from_str(content_type).map_err(|_| {
                CallError::invalid(format!("`{}` is no content type", short(content_type)), "write type/subtype")
            })?;
            headers.insert(header::CONTENT_TYPE, value);
        }
        let mut prepared = Self {
            method,
            url: call.path.clone(),
            headers,
            body: call.body.clone(),
            bytes: None,
            identity: call.identity.clone(),
        };
        prepared.bytes = prepared.body_bytes();
        prepared.append(call.query.iter().map(|(name, value)| (name.as_str(), value.as_str())));
        Ok(prepared)
    }

    pub(super) fn request(&self) -> Request {
        let mut request = Request::new(self.method.clone(), self.url.clone());
        request.headers = self.headers.clone();
        request.body = self.bytes.clone().map_or(Body::Empty, Body::Bytes);
        request.rule_set = self.identity.clone();
        request
    }

    pub(super) fn url(&self) -> &str {
        &self.url
    }

    /// The path for logs and summaries: a query may hold what nobody should log.
    pub(super) fn shown_path(&self) -> String {
        const MAX_CHARS: usize = 256;
        let path = match url::Url::parse(&self.url) {
            Ok(url) => url.path().to_owned(),
            Err(_) => self.url.split(['?', '#']).next().unwrap_or_default().to_owned(),
        };
        path.chars().filter(|c| !c.is_control()).take(MAX_CHARS).collect()
    }

    pub(super) fn has_json_body(&self) -> bool {
        matches!(self.body, CallBody::Json(_))
    }

    /// The value of a query field, where there is one.
    pub(super) fn query(&self, field: &str) -> Option<String> {
        let (_, query) = self.url.split_once('?')?;
        form_urlencoded::parse(query.as_bytes()).find(|(name, _)| name == field).map(|(_, value)| value.into_owned())
    }

    /// One value for a query field, in place of what stood there.
    pub(super) fn set_query(&mut self, field: &str, value: &str) {
        self.drop_query(&BTreeSet::from([field]));
        self.append([(field, value)]);
    }

    /// Takes query fields out and leaves the others as they are written.
    pub(super) fn drop_query(&mut self, fields: &BTreeSet<&str>) {
        let Some((path, query)) = self.url.split_once('?') else { return };
        let kept: Vec<&str> = query
            .split('&')
            .filter(|pair| {
                let name = form_urlencoded::parse(pair.as_bytes()).next();
                !name.is_some_and(|(name, _)| fields.contains(&*name))
            })
            .collect();
        self.url = if kept.is_empty() { path.to_owned() } else { format!("{path}?{}", kept.join("&")) };
    }

    /// Puts a value into the JSON body: a field of that name, or the place where a JSON Pointer leads.
    pub(super) fn set_body(&mut self, field: &str, value: Value) -> bool {
        let CallBody::Json(body) = &mut self.body else { return false };
        let set = if field.starts_with('/') {
            super::pointer::set(body, field, value)
        } else {
            body.as_object_mut().map(|fields| fields.insert(field.to_owned(), value)).is_some()
        };
        self.bytes = self.body_bytes();
        set
    }

    /// The same request to another address, which names all of its query.
    pub(super) fn go_to(&mut self, url: String) {
        self.url = url;
    }

    fn append<'a>(&mut self, pairs: impl IntoIterator<Item = (&'a str, &'a str)>) {
        let mut pairs = pairs.into_iter().peekable();
        if pairs.peek().is_none() {
            return;
        }
        let text = form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish();
        let joint = match self.url.split_once('?') {
            None => "?",
            Some((_, "")) => "",
            Some(_) => "&",
        };
        self.url = format!("{}{joint}{text}", self.url);
    }

    fn body_bytes(&self) -> Option<Bytes> {
        match &self.body {
            CallBody::None => None,
            CallBody::Json(value) => Some(value.to_string().into()),
            CallBody::Form(pairs) => {
                Some(form_urlencoded::Serializer::new(String::new()).extend_pairs(pairs).finish().into())
            }
            CallBody::Text { text, .. } => Some(text.clone().into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::step::AnswerRules;

    fn call(path: &str) -> Call {
        Call {
            method: "GET".to_owned(),
            path: path.to_owned(),
            query: Vec::new(),
            headers: Vec::new(),
            body: CallBody::None,
            identity: None,
            answer: AnswerRules::default(),
        }
    }

    fn pairs(pairs: &[(&str, &str)]) -> Vec<(String, String)> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn body(request: Request) -> String {
        match request.body {
            Body::Bytes(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_query_is_added_to_what_the_path_holds() {
        for (path, expected) in
            [("/a", "/a?q=x+%26+y&n=1"), ("/a?z=%20", "/a?z=%20&q=x+%26+y&n=1"), ("/a?", "/a?q=x+%26+y&n=1")]
        {
            let call = Call { query: pairs(&[("q", "x & y"), ("n", "1")]), ..call(path) };
            assert_eq!(Prepared::new(&call).unwrap().request().url, expected);
        }
    }

    #[test]
    fn a_page_replaces_its_field_and_leaves_the_rest_as_written() {
        let mut prepared = Prepared::new(&call("/a?q=%20x&page=1&pages=3")).unwrap();
        assert_eq!(prepared.query("page").as_deref(), Some("1"));
        prepared.set_query("page", "2");
        assert_eq!(prepared.url(), "/a?q=%20x&pages=3&page=2");
        let mut prepared = Prepared::new(&call("/a?page=1")).unwrap();
        prepared.drop_query(&BTreeSet::from(["page"]));
        assert_eq!(prepared.url(), "/a");
    }

    #[test]
    fn bodies_bring_their_content_type_unless_the_call_names_one() {
        let json = Call { body: CallBody::Json(json!({"a": 1})), ..call("/a") };
        let request = Prepared::new(&json).unwrap().request();
        assert_eq!(request.headers["content-type"], "application/json");
        assert_eq!(body(request), r#"{"a":1}"#);
        let own = Call { headers: pairs(&[("Content-Type", "application/vnd.api+json")]), ..json };
        let request = Prepared::new(&own).unwrap().request();
        assert_eq!(request.headers.get_all("content-type").iter().collect::<Vec<_>>(), ["application/vnd.api+json"]);
        let form = Call { body: CallBody::Form(pairs(&[("a[b]", "1 2"), ("ü", "&")])), ..call("/a") };
        let request = Prepared::new(&form).unwrap().request();
        assert_eq!(request.headers["content-type"], "application/x-www-form-urlencoded");
        assert_eq!(body(request), "a%5Bb%5D=1+2&%C3%BC=%26");
    }

    #[test]
    fn a_cursor_goes_into_the_json_body() {
        let mut prepared = Prepared::new(&Call { body: CallBody::Json(json!({"a": 1})), ..call("/a") }).unwrap();
        assert!(prepared.set_body("cursor", json!("c")) && prepared.set_body("/variables/after", json!("d")));
        assert_eq!(body(prepared.request()), r#"{"a":1,"cursor":"c","variables":{"after":"d"}}"#);
        assert!(!Prepared::new(&call("/a")).unwrap().set_body("cursor", json!("c")));
    }

    #[test]
    fn malformed_calls_are_refused_by_name() {
        let refusal = |call: Call| Prepared::new(&call).unwrap_err().to_string();
        assert!(refusal(Call { method: "G T".to_owned(), ..call("/a") }).contains("`G T`"));
        assert!(refusal(call("a")).contains("begin with /"));
        assert!(refusal(Call { headers: pairs(&[("a b", "x")]), ..call("/a") }).contains("`a b`"));
        assert!(refusal(Call { headers: pairs(&[("x", "1\r\ny: 2")]), ..call("/a") }).contains("`x`"));
    }

    #[test]
    fn what_is_shown_holds_no_query() {
        assert_eq!(Prepared::new(&call("/a?token=x")).unwrap().shown_path(), "/a");
        assert_eq!(Prepared::new(&call("https://u:p@h.example/a/b?c=d")).unwrap().shown_path(), "/a/b");
    }
}
