//! Who decides a host, for good and for hostile values.

use proptest::prelude::*;

use super::*;
use crate::source::tests::app;

fn inputs(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
}

fn shop() -> App {
    app("base = \"https://{shop}.myshopify.com/admin\"\ninputs.shop = { kind = \"host-label\" }")
}

fn own() -> App {
    app("base = \"{url}\"\ninputs.url = { kind = \"base-url\" }")
}

#[test]
fn the_base_follows_the_account() {
    assert_eq!(base(&shop(), &inputs(&[("shop", "Acme")])).unwrap().as_str(), "https://acme.myshopify.com/admin");
    assert_eq!(base(&own(), &inputs(&[("url", "https://a.example/v1/")])).unwrap().as_str(), "https://a.example/v1");
    assert_eq!(base(&shop(), &inputs(&[])).unwrap_err().to_string(), "the account has no input `shop`");
}

#[test]
fn a_stored_value_is_checked_again() {
    for value in ["evil.com/", "evil.com#", "a@b", "a.b", ""] {
        let error = base(&shop(), &inputs(&[("shop", value)])).unwrap_err();
        assert_eq!(error.code(), "input_invalid", "{value}");
    }
    for value in ["https://u@a.example", "https://a.example?b", "file:///etc"] {
        let error = base(&own(), &inputs(&[("url", value)])).unwrap_err();
        assert_eq!(error.code(), "input_invalid", "{value}");
    }
}

#[test]
fn a_value_cannot_climb_out_of_its_segment() {
    let app = app("base = \"https://api.example.com/sites/{site|percent}\"\ninputs.site = {}");
    assert_eq!(
        base(&app, &inputs(&[("site", "a/b?c#d")])).unwrap().as_str(),
        "https://api.example.com/sites/a%2Fb%3Fc%23d"
    );
    let error = base(&app, &inputs(&[("site", "..")])).unwrap_err();
    assert_eq!(error.code(), "template_url_invalid", "{error}");
}

/// Inputs as an author may declare them: a free label, choices for a host and for a path.
fn many(base: &str) -> App {
    let mut app = app("base = \"https://api.example.com\"\ninputs.shop = { kind = \"host-label\" }\n\
         inputs.region = { choices = [\"us-east-1\", \"eu-west-1\"] }\n\
         inputs.site = { choices = [\"example.com\", \"example.co.uk\"] }\n\
         inputs.wide = { choices = [\"example.com\", \"co.uk\"] }\n\
         inputs.odd = { choices = [\"a/../b\", \"a?b\"] }\ninputs.free = {}");
    app.base = parts(base);
    app.reach.origins = shape(&app.base, &app.inputs).map(|authority| vec![authority.declared()]).unwrap_or_default();
    app
}

fn parts(text: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for piece in text.split_inclusive('}') {
        let (text, name) = piece.split_once('{').unwrap_or((piece, ""));
        if !text.is_empty() {
            parts.push(Part::Text(text.into()));
        }
        if let Some(name) = name.strip_suffix('}') {
            parts.push(Part::Input(types::Placeholder { name: name.into(), encodings: Vec::new() }));
        }
    }
    parts
}

#[test]
fn hosts_of_choices_and_labels_with_a_beginning() {
    let given = inputs(&[("shop", "acme"), ("region", "eu-west-1"), ("site", "example.co.uk")]);
    for (template, expected) in [
        ("https://sqs.{region}.example.com", "https://sqs.eu-west-1.example.com/"),
        ("https://sqs.{region}.example.com/{region}/x", "https://sqs.eu-west-1.example.com/eu-west-1/x"),
        ("https://api.{site}", "https://api.example.co.uk/"),
        ("https://{site}/v1", "https://example.co.uk/v1"),
        ("https://{shop}.{site}/v1", "https://acme.example.co.uk/v1"),
        ("https://{shop}.{region}.example.com", "https://acme.eu-west-1.example.com/"),
        ("https://{region}-{region}.example.com", "https://eu-west-1-eu-west-1.example.com/"),
        ("https://api-{shop}.example.com", "https://api-acme.example.com/"),
        ("https://eu.api{shop}.example.com/v1", "https://eu.apiacme.example.com/v1"),
        ("https://{shop}-api.example.com/v1", "https://acme-api.example.com/v1"),
        ("https://api.example.com/{region}", "https://api.example.com/eu-west-1"),
    ] {
        let app = many(template);
        let got = base(&app, &given).unwrap_or_else(|error| panic!("{template}: {error}"));
        assert_eq!(got.as_str(), expected, "{template}");
        assert_eq!(origins(&app, &given).unwrap(), [got.origin()], "{template}");
    }
    let sqs = many("https://sqs.{region}.example.com");
    assert!(matches!(sqs.reach.origins[..], [types::Origin::Choice(_)]));
    assert_eq!(base(&sqs, &inputs(&[("region", "evil.test/")])).unwrap_err().code(), "input_invalid");
    let label = many("https://api-{shop}.example.com").reach.origins;
    let expected = LabelOrigin { prefix: "api-".into(), input: "shop".into(), suffix: ".example.com".into() };
    assert_eq!(label, [types::Origin::Label(expected)]);
}

#[test]
fn no_other_value_reaches_a_host() {
    for template in [
        "https://sqs.{free}.example.com",
        "https://{wide}/v1",
        "https://{shop}.{wide}/v1",
        "https://api.{odd}",
        "https://api.example.com:{region}/",
        "https://u@{site}/",
        "https://{region}/",
        "https://x{shop}",
        "https://{site}{shop}/",
        "https://{shop}.com/",
        "https://{shop}x.example.com/",
        "https://-{shop}.example.com:0/",
        "https://A-{shop}.example.com/",
        "https://{shop}-.example.com/",
        "http://{site}/",
        "{site}/v1",
        "https://api.example.com/{odd}",
        "https://api.example.com/{free}",
        "https://{shop}.{region}/",
    ] {
        let app = many("https://api.example.com");
        assert!(shape(&parts(template), &app.inputs).is_err(), "{template}");
    }
    // As many hosts as a person would list, and no more.
    let mut app = many("https://api.example.com");
    app.inputs[1].choices = (0..30).map(|n| format!("r{n}")).collect();
    app.inputs[2].choices = (0..30).map(|n| format!("s{n}.example.com")).collect();
    assert!(shape(&parts("https://{region}.{site}"), &app.inputs).unwrap_err().message.contains("512"));
}

#[test]
fn the_fixed_path_of_a_base() {
    for (template, path) in [
        ("https://api.example.com", Some("")),
        ("https://api.example.com/v1", Some("/v1")),
        ("https://{shop}.example.com/v1", Some("/v1")),
        ("https://a.{site}", Some("")),
        ("https://a.{site}/v1/x", Some("/v1/x")),
        ("https://a.example.com/{region}", None),
        ("https://a.example.com/{region}/x", None),
    ] {
        assert_eq!(fixed_path(&parts(template)).as_deref(), path, "{template}");
    }
}

#[test]
fn suffixes_belong_to_one_vendor() {
    for suffix in [".myshopify.com", ".atlassian.net", ".api.example.co.uk", ".github.io"] {
        assert_eq!(check_suffix(suffix), Ok(()), "{suffix}");
    }
    for suffix in [".com", ".co.uk", ".uk", "example.com", ".Example.com", ".", "", "..com", ".a_b.com", ".0.0.1"] {
        assert!(check_suffix(suffix).is_err(), "{suffix}");
    }
}

#[test]
fn authorities_have_one_form() {
    for text in ["https://a.example", "https://a.example:8443", "http://127.0.0.1:80801", "http://localhost:1"] {
        assert_eq!(check_authority(text).is_ok(), !text.ends_with("80801"), "{text}");
    }
    for text in [
        "https://A.example",
        "https://a.example:443",
        "http://a.example",
        "http://10.0.0.1",
        "http://localhost.example",
        "https://u@a.example",
        "https://*.a.example",
        "https://a..example",
        "https://a.example.",
        "https://ä.example",
        "https://0x7f.1",
    ] {
        assert!(check_authority(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn no_value_moves_the_host_off_its_suffix(value in "\\PC{0,30}|[a-zA-Z0-9.:/@?#%\\\\-]{0,30}") {
        if let Ok(url) = base(&shop(), &inputs(&[("shop", &value)])) {
            let host = url.host_str().unwrap();
            let label = host.strip_suffix(".myshopify.com").unwrap();
            prop_assert!(is_host_label(label));
            prop_assert_eq!(url.path(), "/admin");
            prop_assert_eq!(origins(&shop(), &inputs(&[("shop", &value)])).unwrap(), vec![url.origin()]);
        }
    }

    /// Whatever an author puts around placeholders of every kind: a shape that passes gives hosts of its own only.
    #[test]
    fn no_template_lets_a_value_out_of_its_place(
        template in "(https?://|)[a-z.{}:@/-]{0,6}\\{(shop|region|site|wide|free|odd)\\}[a-z.:@/?#-]{0,4}(\\{(shop|region|site)\\})?(\\.example\\.com|)[/a-z?#]{0,4}",
        shop in "\\PC{0,12}|[a-z0-9.:/@?#%-]{0,12}|[a-z]{1,5}",
        region in "us-east-1|eu-west-1|\\PC{0,8}",
    ) {
        let app = many("https://api.example.com");
        let template = parts(&template);
        let given = inputs(&[("shop", &shop), ("region", &region), ("site", "example.co.uk"), ("wide", "co.uk"),
            ("free", &shop), ("odd", "a?b")]);
        let known = super::super::names(&template).all(|name| matches!(name, super::super::Name::Input(name)
            if app.inputs.iter().any(|input| input.name == name)));
        if known && let Ok(got) = url(&app, &template, &given, "base") {
            let host = got.host_str().unwrap();
            let registered = psl::domain_str(host);
            prop_assert!(registered.is_some() && registered != Some("co.uk"), "{}", got);
            prop_assert_eq!(got.scheme(), "https");
            prop_assert!(got.username().is_empty() && got.port().is_none() && got.fragment().is_none(), "{}", got);
            // The registered domain is written in the template or in a declared choice, never by a free value.
            let written: String = template.iter().map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Input(input) if input.name == "site" => "example.co.uk".into(),
                Part::Input(input) if input.name == "wide" => "co.uk".into(),
                _ => "*".into(),
            }).collect();
            let authority = &written["https://".len()..];
            let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
            prop_assert!(authority.ends_with(registered.unwrap()), "{} from {}", got, written);
        }
    }

    #[test]
    fn no_value_leaves_its_path_segment(value in "\\PC{0,30}|[a-zA-Z0-9.:/@?#%\\\\-]{0,30}") {
        let app = app("base = \"https://api.example.com/a/{site|percent}/b\"\ninputs.site = {}");
        if let Ok(url) = base(&app, &inputs(&[("site", &value)])) {
            prop_assert_eq!(url.host_str(), Some("api.example.com"));
            prop_assert_eq!(url.path().split('/').count(), 4);
            prop_assert!(url.query().is_none() && url.fragment().is_none());
        }
    }
}
