//! AWS Signature Version 4, in the `Authorization` header, over the body as a whole.
//!
//! The rules are those of "Create a signed AWS API request" in the AWS documentation. Signed are the host, the content
//! type, `content-md5` and every `x-amz-` header; the rest of the headers belongs to the way, and proxies change it.
//! Path and query are first brought into the one encoding that AWS signs, so that the bytes on the wire and those
//! under the signature cannot differ in it.

use aws_lc_rs::{digest, hmac};
use data_encoding::HEXLOWER;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use percent_encoding::percent_decode_str;
use url::Url;
use zeroize::Zeroizing;

use super::{Message, authority, encoded, pairs};
use crate::egress::{Body, EgressError};
use crate::time::Time;

const ALGORITHM: &str = "AWS4-HMAC-SHA256";
const DATE: HeaderName = HeaderName::from_static("x-amz-date");
const SECURITY_TOKEN: HeaderName = HeaderName::from_static("x-amz-security-token");
const CONTENT_SHA256: HeaderName = HeaderName::from_static("x-amz-content-sha256");

/// The keys of an account and where they count.
pub(super) struct Keys<'a> {
    pub access_key: &'a str,
    pub secret_key: &'a [u8],
    pub session_token: Option<&'a [u8]>,
    pub region: &'a str,
    pub service: &'a str,
}

impl Keys<'_> {
    /// Services that take a path as it is, and want to be told the hash of the body.
    fn is_s3(&self) -> bool {
        matches!(self.service, "s3" | "s3-outposts" | "s3-object-lambda" | "s3express")
    }
}

pub(super) fn sign(keys: &Keys<'_>, message: Message<'_>, at: Time) -> Result<(), EgressError> {
    let Message { method, url, headers, body } = message;
    let payload = payload(keys, url, headers, body)?;
    let date = timestamp(at)?;
    normalise(url)?;
    let fits = |text: &[u8]| {
        HeaderValue::from_bytes(text).map_err(|_| {
            EgressError::denied("credential", "the session token would be no header", "reconnect the account")
        })
    };
    headers.insert(DATE, fits(date.as_bytes())?);
    if keys.is_s3() {
        headers.insert(CONTENT_SHA256, fits(payload.as_bytes())?);
    }
    if let Some(token) = keys.session_token {
        let mut token = fits(token)?;
        token.set_sensitive(true);
        headers.insert(SECURITY_TOKEN, token);
    }
    let (canonical, signed) = canonical_request(keys, method, url, headers, &payload);
    let scope = format!("{}/{}/{}/aws4_request", &date[..8], keys.region, keys.service);
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256(canonical.as_bytes()));
    let signature = signature(keys, &date[..8], &to_sign);
    let value =
        format!("{ALGORITHM} Credential={}/{scope}, SignedHeaders={signed}, Signature={signature}", keys.access_key);
    let mut value = fits(value.as_bytes())?;
    value.set_sensitive(true);
    headers.insert(header::AUTHORIZATION, value);
    Ok(())
}

/// `20150830T123600Z`
fn timestamp(at: Time) -> Result<String, EgressError> {
    let at = jiff::Timestamp::from_millisecond(at.as_ms())
        .map_err(|_| EgressError::Internal("the clock is outside the years that can be written".to_owned()))?;
    Ok(at.strftime("%Y%m%dT%H%M%SZ").to_string())
}

/// What stands for the body under the signature.
fn payload(keys: &Keys<'_>, url: &Url, headers: &HeaderMap, body: &Body) -> Result<String, EgressError> {
    let chunked =
        |value: &HeaderValue| value.to_str().is_ok_and(|text| text.to_ascii_lowercase().contains("aws-chunked"));
    if headers.get_all(header::CONTENT_ENCODING).iter().any(chunked) {
        return Err(EgressError::denied(
            "signature",
            "the body is cut into chunks with signatures of their own (`aws-chunked`), which the host cannot make anew",
            "send the body as it is; in an AWS SDK set the checksum calculation to `WHEN_REQUIRED`",
        ));
    }
    match body {
        Body::Empty => Ok(sha256(b"")),
        Body::Bytes(bytes) => Ok(sha256(bytes)),
        Body::Stream { .. } if keys.is_s3() && url.scheme() == "https" => Ok("UNSIGNED-PAYLOAD".to_owned()),
        Body::Stream { .. } => Err(EgressError::denied(
            "signature",
            "the body is signed with the request, and a stream has no hash before it ends",
            "send the body whole",
        )),
    }
}

/// Every segment and field in the encoding that AWS signs. Their order and their number stay.
fn normalise(url: &mut Url) -> Result<(), EgressError> {
    let path: Vec<String> =
        url.path().split('/').map(|segment| encoded(&percent_decode_str(segment).collect::<Vec<u8>>())).collect();
    let path = Zeroizing::new(path.join("/"));
    url.set_path(&path);
    if let Some(query) = url.query() {
        let fields: Vec<String> = pairs(query)
            .map(|pair| match pair.value {
                Some(value) => format!("{}={value}", pair.name),
                None => pair.name,
            })
            .collect();
        let query = Zeroizing::new(fields.join("&"));
        url.set_query(Some(query.as_str()).filter(|query| !query.is_empty()));
    }
    // A segment such as `%2E%2E` would now lead elsewhere.
    if url.path() == path.as_str() || (path.is_empty() && url.path() == "/") {
        Ok(())
    } else {
        Err(EgressError::invalid("the path cannot be signed as it is written", "write it without dot segments"))
    }
}

/// The canonical request, and the names of the headers that it signs.
fn canonical_request(
    keys: &Keys<'_>,
    method: &Method,
    url: &Url,
    headers: &HeaderMap,
    payload: &str,
) -> (Zeroizing<String>, String) {
    let mut fields: Vec<(String, String)> = url
        .query()
        .into_iter()
        .flat_map(|query| pairs(query))
        .map(|pair| (pair.name, pair.value.unwrap_or_default()))
        .collect();
    fields.sort();
    let query: Vec<String> = fields.into_iter().map(|(name, value)| format!("{name}={value}")).collect();

    let mut signed: Vec<&str> = headers.keys().map(HeaderName::as_str).filter(|name| is_signed(name)).collect();
    signed.push("host");
    signed.sort_unstable();
    let mut lines = Zeroizing::new(String::new());
    for name in &signed {
        let value = if *name == "host" {
            authority(url)
        } else {
            let values = headers.get_all(*name).iter().map(|value| trimmed(value.as_bytes()));
            values.collect::<Vec<_>>().join(",")
        };
        lines.push_str(&format!("{name}:{value}\n"));
    }
    let signed = signed.join(";");
    let text = format!(
        "{method}\n{}\n{}\n{}\n{signed}\n{payload}",
        canonical_path(keys, url.path()),
        query.join("&"),
        lines.as_str(),
    );
    (Zeroizing::new(text), signed)
}

fn is_signed(name: &str) -> bool {
    name.starts_with("x-amz-") || matches!(name, "content-type" | "content-md5")
}

/// Without space around it, and with one space where several stood.
fn trimmed(value: &[u8]) -> String {
    String::from_utf8_lossy(value).split([' ', '\t']).filter(|word| !word.is_empty()).collect::<Vec<_>>().join(" ")
}

/// S3 signs the path as it stands in the request. All others take empty segments away and encode it once more.
fn canonical_path(keys: &Keys<'_>, path: &str) -> String {
    if keys.is_s3() {
        return path.to_owned();
    }
    let segments: Vec<String> =
        path.split('/').filter(|segment| !segment.is_empty()).map(|segment| encoded(segment.as_bytes())).collect();
    let end = if path.ends_with('/') && !segments.is_empty() { "/" } else { "" };
    format!("/{}{end}", segments.join("/"))
}

fn sha256(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest::digest(&digest::SHA256, bytes).as_ref())
}

fn signature(keys: &Keys<'_>, day: &str, to_sign: &str) -> String {
    let mac = |key: &[u8], text: &str| hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, key), text.as_bytes());
    let secret = Zeroizing::new([b"AWS4", keys.secret_key].concat());
    let mut key = mac(&secret, day);
    for word in [keys.region, keys.service, "aws4_request"] {
        key = mac(key.as_ref(), word);
    }
    HEXLOWER.encode(mac(key.as_ref(), to_sign).as_ref())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::StreamExt as _;

    use super::*;

    /// The keys, the day and the host of the test-suite that AWS publishes for Signature Version 4.
    const SUITE: Keys<'_> = Keys {
        access_key: "AKIDEXAMPLE",
        secret_key: b"wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        service: "service",
    };

    fn at(text: &str) -> Time {
        Time(text.parse::<jiff::Timestamp>().unwrap().as_millisecond())
    }

    /// The `Authorization` header, and the URL that goes out.
    fn signed(
        keys: &Keys<'_>,
        when: &str,
        method: &str,
        url: &str,
        given: &[(&str, &str)],
        body: Body,
    ) -> Result<(String, String, HeaderMap), EgressError> {
        let mut url = Url::parse(url).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in given {
            headers.append(HeaderName::from_bytes(name.as_bytes()).unwrap(), HeaderValue::from_str(value).unwrap());
        }
        let method = Method::from_bytes(method.as_bytes()).unwrap();
        let message = Message { method: &method, url: &mut url, headers: &mut headers, body: &body };
        sign(keys, message, at(when))?;
        let value = headers[header::AUTHORIZATION].to_str().unwrap().to_owned();
        assert!(headers[header::AUTHORIZATION].is_sensitive());
        Ok((value, url.to_string(), headers))
    }

    #[test]
    fn the_vectors_of_the_aws_test_suite() {
        let form: &[(&str, &str)] = &[("content-type", "application/x-www-form-urlencoded")];
        for (name, method, target, headers, body, signature) in [
            (
                "get-vanilla",
                "GET",
                "/",
                &[][..],
                "",
                "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            ),
            (
                "get-vanilla-query-order-key-case",
                "GET",
                "/?Param2=value2&Param1=value1",
                &[],
                "",
                "b97d918cfa904a5beff61c982a1b6f458b799221646efd99d3219ec94cdf2500",
            ),
            (
                "get-vanilla-query-unreserved",
                "GET",
                "/?-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz=-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                &[],
                "",
                "9c3e54bfcdf0b19771a7f523ee5669cdf59bc7cc0884027167c21bb143a40197",
            ),
            (
                "get-vanilla-utf8-query",
                "GET",
                "/?ሴ=bar",
                &[],
                "",
                "2cdec8eed098649ff3a119c94853b13c643bcf08f8b0a1d91e12c9027818dd04",
            ),
            (
                "get-unreserved",
                "GET",
                "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz",
                &[],
                "",
                "07ef7494c76fa4850883e2b006601f940f8a34d404d0cfa977f52a65bbf5f24f",
            ),
            (
                "get-slashes",
                "GET",
                "//example//",
                &[],
                "",
                "9a624bd73a37c9a373b5312afbebe7a714a789de108f0bdfe846570885f57e84",
            ),
            ("post-vanilla", "POST", "/", &[], "", "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"),
            (
                "post-x-www-form-urlencoded",
                "POST",
                "/",
                form,
                "Param1=value1",
                "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            ),
        ] {
            let body = if body.is_empty() { Body::Empty } else { Body::Bytes(Bytes::from_static(body.as_bytes())) };
            let url = format!("https://example.amazonaws.com{target}");
            let (value, ..) = signed(&SUITE, "2015-08-30T12:36:00Z", method, &url, headers, body).unwrap();
            let names = if headers.is_empty() { "host;x-amz-date" } else { "content-type;host;x-amz-date" };
            let expected = format!(
                "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, \
                 SignedHeaders={names}, Signature={signature}"
            );
            assert_eq!(value, expected, "{name}");
        }
    }

    /// Two more of the suite begin with paths that no URL holds: raw UTF-8 and a space, which are encoded once.
    #[test]
    fn the_raw_paths_of_the_aws_test_suite() {
        for (path, expected) in [
            ("/ሴ", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"),
            ("/example space/", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"),
        ] {
            let (path, hash) = (canonical_path(&SUITE, path), sha256(b""));
            let canonical = format!(
                "GET\n{path}\n\nhost:example.amazonaws.com\nx-amz-date:20150830T123600Z\n\nhost;x-amz-date\n{hash}"
            );
            let scope = "20150830/us-east-1/service/aws4_request";
            let to_sign = format!("{ALGORITHM}\n20150830T123600Z\n{scope}\n{}", sha256(canonical.as_bytes()));
            assert_eq!(signature(&SUITE, "20150830", &to_sign), expected, "{path}");
        }
    }

    #[test]
    fn the_example_of_the_documentation_for_iam() {
        let keys = Keys { service: "iam", ..SUITE };
        let headers = [("content-type", "application/x-www-form-urlencoded; charset=utf-8")];
        let url = "https://iam.amazonaws.com/?Action=ListUsers&Version=2010-05-08";
        let (value, ..) = signed(&keys, "2015-08-30T12:36:00Z", "GET", url, &headers, Body::Empty).unwrap();
        assert!(value.ends_with("5d672d79c15b13162d9279b0855cfba6789a8edb4c82c400e06b5924a6f2b5d7"), "{value}");
    }

    const S3: Keys<'_> = Keys {
        access_key: "AKIAIOSFODNN7EXAMPLE",
        secret_key: b"wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        session_token: None,
        region: "us-east-1",
        service: "s3",
    };

    #[test]
    fn the_examples_of_the_documentation_for_s3() {
        for (target, signature) in [
            ("/?lifecycle", "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
            ("/?max-keys=2&prefix=J", "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ] {
            let url = format!("https://examplebucket.s3.amazonaws.com{target}");
            let (value, wire, headers) = signed(&S3, "2013-05-24T00:00:00Z", "GET", &url, &[], Body::Empty).unwrap();
            assert!(value.ends_with(signature), "{value}");
            assert!(value.contains("SignedHeaders=host;x-amz-content-sha256;x-amz-date, "), "{value}");
            assert_eq!(wire, url, "a field without a value stays one");
            assert_eq!(
                headers["x-amz-content-sha256"],
                "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
            );
        }
    }

    #[test]
    fn s3_encodes_a_path_once_and_the_others_twice() {
        let url = |text: &str| {
            let mut url = Url::parse(text).unwrap();
            normalise(&mut url).unwrap();
            url
        };
        let odd = url("https://a.test/a:b+c/%7e%2f(x)//%C3%BC?q=a+b&c=%2b&d=e=f&flag");
        assert_eq!(
            odd.as_str(),
            "https://a.test/a%3Ab%2Bc/~%2F%28x%29//%C3%BC?q=a%20b&c=%2B&d=e%3Df&flag",
            "the wire has the form that is signed"
        );
        assert_eq!(canonical_path(&S3, odd.path()), "/a%3Ab%2Bc/~%2F%28x%29//%C3%BC");
        assert_eq!(canonical_path(&SUITE, odd.path()), "/a%253Ab%252Bc/~%252F%2528x%2529/%25C3%25BC");
        let (text, names) = canonical_request(&S3, &Method::GET, &odd, &HeaderMap::new(), "P");
        assert_eq!(
            text.as_str(),
            "GET\n/a%3Ab%2Bc/~%2F%28x%29//%C3%BC\nc=%2B&d=e%3Df&flag=&q=a%20b\nhost:a.test\n\nhost\nP"
        );
        assert_eq!(names, "host");
    }

    #[test]
    fn a_session_token_and_every_amz_header_are_signed() {
        let keys = Keys { session_token: Some(b"canary-session"), ..S3 };
        let given = [("x-amz-acl", "  a   b "), ("x-amz-meta-a", "1"), ("x-amz-meta-a", "2"), ("accept", "*/*")];
        let url = "https://b.s3.test:8443/key";
        let (value, _, headers) = signed(&keys, "2013-05-24T00:00:00Z", "PUT", url, &given, Body::Empty).unwrap();
        let names = "host;x-amz-acl;x-amz-content-sha256;x-amz-date;x-amz-meta-a;x-amz-security-token";
        assert!(value.contains(&format!("SignedHeaders={names}, ")), "{value}");
        assert!(headers["x-amz-security-token"].is_sensitive());
        let url = Url::parse(url).unwrap();
        let (text, _) = canonical_request(&keys, &Method::PUT, &url, &headers, "P");
        assert!(
            text.contains("host:b.s3.test:8443\nx-amz-acl:a b\n") && text.contains("x-amz-meta-a:1,2\n"),
            "{}",
            *text
        );
    }

    #[test]
    fn a_stream_goes_unsigned_to_s3_over_tls_and_nowhere_else() {
        let stream = || Body::Stream { stream: futures_util::stream::empty().boxed(), length: Some(0) };
        let when = "2013-05-24T00:00:00Z";
        let (_, _, headers) = signed(&S3, when, "PUT", "https://b.s3.test/key", &[], stream()).unwrap();
        assert_eq!(headers["x-amz-content-sha256"], "UNSIGNED-PAYLOAD");
        for (keys, url) in [(&S3, "http://127.0.0.1:9000/b/key"), (&SUITE, "https://a.test/")] {
            let error = signed(keys, when, "PUT", url, &[], stream()).unwrap_err();
            assert!(matches!(error, EgressError::Denied { rule: "signature", .. }), "{error}");
        }
        let chunked = [("content-encoding", "AWS-Chunked,gzip")];
        let error = signed(&S3, when, "PUT", "https://b.s3.test/key", &chunked, Body::Empty).unwrap_err();
        assert!(error.to_string().contains("aws-chunked"), "{error}");
    }
}
