//! A browser's few habits: it keeps cookies by path, and follows redirects only when told.

use reqwest::header::{COOKIE, HeaderMap, LOCATION, SET_COOKIE};
use reqwest::{Client, Url};

/// One person's browser at one server.
pub struct Browser {
    client: Client,
    /// Name, value, path.
    cookies: Vec<(String, String, String)>,
}

pub struct Page {
    pub url: Url,
    pub status: u16,
    /// Made absolute.
    pub location: Option<Url>,
    pub body: String,
}

impl Browser {
    pub fn new() -> Self {
        let client = Client::builder().redirect(reqwest::redirect::Policy::none()).no_proxy().build();
        Self { client: client.expect("an HTTP client"), cookies: Vec::new() }
    }

    pub async fn get(&mut self, url: Url) -> Page {
        let request = self.client.get(url.clone());
        self.send(url, request).await
    }

    /// Submits a form.
    pub async fn post(&mut self, url: Url, fields: &[(&str, &str)]) -> Page {
        let body = url::form_urlencoded::Serializer::new(String::new()).extend_pairs(fields).finish();
        let request =
            self.client.post(url.clone()).header("content-type", "application/x-www-form-urlencoded").body(body);
        self.send(url, request).await
    }

    async fn send(&mut self, url: Url, mut request: reqwest::RequestBuilder) -> Page {
        let cookies: Vec<_> =
            self.cookies.iter().filter(|(_, _, path)| url.path().starts_with(path.as_str())).collect();
        if !cookies.is_empty() {
            let pairs: Vec<_> = cookies.iter().map(|(name, value, _)| format!("{name}={value}")).collect();
            request = request.header(COOKIE, pairs.join("; "));
        }
        let answer = request.send().await.unwrap_or_else(|error| panic!("cannot open {url}: {error:?}"));
        self.keep(answer.headers());
        let location = answer.headers().get(LOCATION).and_then(|value| value.to_str().ok());
        let location = location.map(|to| url.join(to).unwrap_or_else(|error| panic!("cannot go to {to}: {error}")));
        let status = answer.status().as_u16();
        let body = answer.text().await.unwrap_or_else(|error| panic!("cannot read {url}: {error}"));
        Page { url, status, location, body }
    }

    fn keep(&mut self, headers: &HeaderMap) {
        for header in headers.get_all(SET_COOKIE) {
            let text = header.to_str().expect("a cookie in ASCII");
            let mut parts = text.split(';').map(str::trim);
            let Some((name, value)) = parts.next().and_then(|pair| pair.split_once('=')) else { continue };
            let path = parts.find_map(|part| part.strip_prefix("path=")).unwrap_or("/");
            self.cookies.retain(|(known, _, at)| (known.as_str(), at.as_str()) != (name, path));
            // An empty value is how this server takes a cookie back.
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned(), path.to_owned()));
            }
        }
    }
}
