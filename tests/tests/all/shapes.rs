//! How much of the field a declaration expresses: the shapes of authentication that 981 providers have, each as an app
//! that passes against a provider made from it, or as one that is refused by name.

use std::collections::BTreeSet;

use deputy::deputy::conformance::{Outcome, Subject, run};
use deputy_declaration::source::parse;

/// A class of providers by what connecting one takes. Classes exclude each other; an app of the odder ones is named for
/// the service whose shape it has.
struct Shape {
    class: &'static str,
    /// In a public list of 981, by our own sorting.
    providers: u32,
    /// How many of them the examples stand for. The others need what no declaration says today.
    expressed: u32,
    examples: &'static [&'static str],
    /// What an author might write for the rest, and what the error must name.
    refused: &'static [(&'static str, &'static str)],
}

const SHAPES: &[Shape] = &[
    Shape {
        class: "a static secret in a template",
        providers: 418,
        expressed: 418,
        examples: &[
            "methods.bearer.header.Authorization = \"Bearer {token}\"",
            "methods.named.header.X-Api-Key = \"{token}\"",
            "methods.query.query.api_key = \"{token}\"",
            "[methods.basic]\ntokens.user = {}\ntokens.pass = {}\nbasic = { username = \"{user}\", password = \"{pass}\" }",
            "methods.path.path = \"/bot{token}\"",
            "methods.body.body.\"/auth/key\" = \"{token}\"\nreach.methods = [\"POST\"]",
            "[methods.pair]\ntokens.id = {}\ntokens.key = {}\nheader.X-Id = \"{id}\"\nheader.X-Key = \"{id}:{key|base64}\"",
        ],
        refused: &[],
    },
    Shape {
        class: "OAuth 2.0 authorization code with knobs",
        providers: 310,
        expressed: 310,
        examples: &[
            "[methods.oauth.oauth2]\nauthorize-url = \"https://api.shape.example/authorize\"\n\
             token-url = \"https://api.shape.example/token\"\nscopes.read = { text = \"Read\", default = true }",
            "[methods.oauth.oauth2]\nauthorize-url = \"https://api.shape.example/authorize\"\n\
             token-url = \"https://api.shape.example/token\"\nclient-auth = \"post\"\nbody = \"json\"\npkce = \"off\"\n\
             authorize-params.access_type = \"offline\"\nscope-separator = \",\"\nrotation = \"strict\"\n\
             scopes.read = { text = \"Read\", default = true }\nscopes.write = { text = \"Write\", default = true }",
        ],
        refused: &[],
    },
    Shape {
        class: "OAuth 2.0 client credentials with knobs",
        providers: 104,
        expressed: 104,
        examples: &[
            "[methods.client.client-credentials]\ntoken-url = \"https://api.shape.example/token\"\nscopes = [\"read\"]",
            "[methods.client.client-credentials]\ntoken-url = \"https://api.shape.example/token\"\n\
             client-auth = \"post\"\nbody = \"json\"\nparams.audience = \"https://api.shape.example/\"",
        ],
        refused: &[],
    },
    Shape {
        class: "one exchange of pasted secrets for a token",
        providers: 50,
        expressed: 50,
        examples: &[
            "[methods.login]\ntokens.user = {}\ntokens.pass = {}\ntokens.session = { access = \"/data/token\", \
             refresh = false, expires-in = false, lifetime-s = 3600 }\nheader.X-Session = \"{session}\"\n\
             exchange.calls = [{ url = \"https://api.shape.example/login\", json = { \"/user\" = \"{user}\", \
             \"/pass\" = \"{pass}\" } }]",
            "[methods.login]\ntokens.key = {}\ntokens.session = { access = \"\", refresh = false, expires-in = false }\n\
             header.Authorization = \"Bearer {session}\"\nexchange.calls = [{ method = \"POST\", url = \
             \"https://api.shape.example/login\", headers.X-Key = \"{key}\" }]",
        ],
        refused: &[],
    },
    Shape {
        class: "a token call of the service's own making",
        providers: 25,
        // The others echo the state, want a new number for each call, or answer a refresh without a token.
        expressed: 17,
        examples: &[
            // Facebook: a refresh with the access token.
            "[methods.oauth]\ntokens.access_token = { refresh = false }\n[methods.oauth.oauth2]\n\
             authorize-url = \"https://api.shape.example/authorize\"\ntoken-url = \"https://api.shape.example/token\"\n\
             client-auth = \"post\"\nbody = \"query\"\nrefresh = [{ url = \"https://api.shape.example/token\", query = { \
             grant_type = \"fb_exchange_token\", client_id = \"{client_id}\", client_secret = \"{client_secret}\", \
             fb_exchange_token = \"{access_token}\" } }]",
            // TikTok: names of its own, and an envelope.
            "[methods.oauth]\ntokens.access_token = { at = \"/data\" }\n[methods.oauth.oauth2]\n\
             authorize-url = \"https://api.shape.example/authorize\"\ntoken-url = \"https://api.shape.example/token\"\n\
             client-auth = \"post\"\nbody = \"json\"\nnames = { client_id = \"app_id\", client_secret = \"secret\", \
             code = \"auth_code\" }\ncallback-code = \"auth_code\"",
            // Stripe Connect: the secret as the user name, and a lifetime that no reply names.
            "[methods.oauth]\ntokens.access_token = { expires-in = false, lifetime-s = 3600 }\n[methods.oauth.oauth2]\n\
             authorize-url = \"https://api.shape.example/authorize\"\ntoken-url = \"https://api.shape.example/token\"\n\
             client-auth = \"basic-secret\"",
            // A public client.
            "[methods.oauth.oauth2]\nauthorize-url = \"https://api.shape.example/authorize\"\n\
             token-url = \"https://api.shape.example/token\"\nclient-auth = \"none\"",
        ],
        refused: &[],
    },
    Shape {
        class: "discovery and registration by program",
        providers: 25,
        expressed: 0,
        examples: &[],
        refused: &[
            ("[methods.oauth.oauth2]\ndiscovery-url = \"https://api.shape.example\"", "RFC 8414"),
            ("[methods.oauth.oauth2]\nregistration-url = \"https://api.shape.example\"", "RFC 7591"),
        ],
    },
    Shape {
        class: "a minted assertion",
        providers: 15,
        expressed: 0,
        examples: &[],
        refused: &[("[methods.jwt.jwt-bearer]\naudience = \"https://api.shape.example\"", "RFC 7523")],
    },
    Shape {
        class: "a chain of calls",
        providers: 8,
        // One of them begins with discovery.
        expressed: 7,
        examples: &[
            // Instagram: a short-lived token becomes a long-lived one.
            "[methods.oauth]\ntokens.access_token = { call = 1, refresh = false }\n[methods.oauth.oauth2]\n\
             authorize-url = \"https://api.shape.example/authorize\"\ntoken-url = \"https://api.shape.example/token\"\n\
             client-auth = \"post\"\npkce = \"off\"\nthen = [{ url = \"https://api.shape.example/long\", query = { \
             grant_type = \"ig_exchange_token\", client_secret = \"{client_secret}\", access_token = \"{access_token}\" } }]\n\
             refresh = [{ url = \"https://api.shape.example/longer\", query = { access_token = \"{access_token}\" } }]",
            // Bullhorn: OAuth, then a login of its own that says where the API lives.
            "base = \"{rest}\"\nreach.origins = [\"{rest}\"]\n[inputs.rest]\nkind = \"base-url\"\nhosts = [\".shape.example\"]\n\
             from = { reply = \"/restUrl\" }\n[methods.oauth]\ntokens.oauth_token = { call = 0 }\n\
             tokens.session = { call = 1, access = \"/BhRestToken\", refresh = false, expires-in = false, scope = false }\n\
             header.BhRestToken = \"{session}\"\n[methods.oauth.oauth2]\nauthorize-url = \"https://login.shape.example/authorize\"\n\
             token-url = \"https://login.shape.example/token\"\nthen = [{ method = \"POST\", url = \
             \"https://login.shape.example/login\", query = { version = \"*\", access_token = \"{oauth_token}\" } }]\n\
             refresh = [{ url = \"https://login.shape.example/token\", form = { grant_type = \"refresh_token\", \
             refresh_token = \"{refresh_token}\" } }, { method = \"POST\", url = \"https://login.shape.example/login\", \
             query = { version = \"*\", access_token = \"{oauth_token}\" } }]",
        ],
        refused: &[],
    },
    Shape {
        class: "two tokens in one account",
        providers: 4,
        // The others want a second audience for the same refresh token.
        expressed: 1,
        examples: &[
            // Slack.
            "[methods.oauth]\ntokens.bot = {}\ntokens.user = { at = \"/authed_user\", optional = true }\n\
             rule-sets.bot = { header.Authorization = \"Bearer {bot}\" }\n\
             rule-sets.user = { header.Authorization = \"Bearer {user}\" }\n[methods.oauth.oauth2]\n\
             authorize-url = \"https://api.shape.example/authorize\"\ntoken-url = \"https://api.shape.example/token\"\n\
             scope-lists.scope.scopes.\"chat:write\" = { text = \"Write\", default = true }\n\
             scope-lists.user_scope.scopes.\"search:read\" = { text = \"Search\", default = true }",
        ],
        refused: &[],
    },
    Shape {
        class: "a client certificate",
        providers: 5,
        expressed: 0,
        examples: &[],
        refused: &[("[methods.mtls.mtls]\ncertificate = \"x\"", "RFC 8705")],
    },
    Shape {
        class: "a signature for each request",
        providers: 13,
        // Four of AWS, five of OAuth 1.0a. Three more are a hook's business, and one signs with Ed25519.
        expressed: 9,
        examples: &[
            "[methods.keys]\ntokens.id = {}\ntokens.secret = {}\nsign.aws-sigv4 = { access-key = \"{id}\", secret-key = \
             \"{secret}\", region = \"us-east-1\", service = \"s3\" }",
            "[methods.keys]\ntokens.ck = {}\ntokens.cs = {}\ntokens.t = {}\ntokens.ts = {}\nsign.oauth1 = { consumer-key = \
             \"{ck}\", consumer-secret = \"{cs}\", token = \"{t}\", token-secret = \"{ts}\", signature = \"hmac-sha256\", \
             realm = \"1234\" }",
        ],
        refused: &[],
    },
    Shape { class: "a signed token call", providers: 2, expressed: 0, examples: &[], refused: &[] },
    Shape { class: "cookies or XML at login", providers: 2, expressed: 0, examples: &[], refused: &[] },
];

fn text(more: &str) -> String {
    let base = if more.contains("base = ") { "" } else { "base = \"https://api.shape.example/v1\"\n" };
    format!(
        "slug = \"shape\"\nname = \"Shape\"\nsummary = \"One shape of authentication.\"\n{base}\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n{more}\n"
    )
}

#[tokio::test(flavor = "multi_thread")]
async fn most_of_the_field_is_data() {
    let mut faults = Vec::new();
    let mut classes = BTreeSet::new();
    for shape in SHAPES {
        assert!(classes.insert(shape.class), "{} is counted twice", shape.class);
        assert_eq!(shape.expressed > 0, !shape.examples.is_empty(), "{}: a count stands on an example", shape.class);
        for example in shape.examples {
            let text = text(example);
            match parse("app.toml", &text) {
                Err(problems) => faults.push(format!("{}: {problems}\n{text}", shape.class)),
                Ok(app) => {
                    let subject = Subject::from(app);
                    let report = run(&subject, &subject).await.expect("a report");
                    if !report.ok {
                        let failed =
                            report.checks.iter().filter(|check| matches!(check.outcome, Outcome::Failed { .. }));
                        faults.push(format!("{}: {:#?}\n{text}", shape.class, failed.collect::<Vec<_>>()));
                    }
                }
            }
        }
        for (written, named) in shape.refused {
            match parse("app.toml", &text(written)) {
                Ok(_) => faults.push(format!("{}: {written} is taken", shape.class)),
                Err(problems) if problems.to_string().contains(named) => {}
                Err(problems) => faults.push(format!("{}: {problems} does not name {named}", shape.class)),
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
    let total: u32 = SHAPES.iter().map(|shape| shape.providers).sum();
    let expressed: u32 = SHAPES.iter().map(|shape| shape.expressed).sum();
    // The figures of docs/app-toml.md.
    let told = format!("{expressed} of {total} ({:.1} %)", f64::from(expressed) * 100.0 / f64::from(total));
    let docs = std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/app-toml.md")).expect("the docs");
    assert!(docs.contains(&told), "docs/app-toml.md does not say: {told}");
}
