//! A declaration told as what the host does with it: for its author, who can then see what is not meant.

use deputy_declaration::types::{
    AnyOf, App, AuthKind, AuthMethod, Call, CallBody, ClientAuth, Condition, Discovery, Expiry, Input, InputKind,
    InputSource, OAuth2, Pkce, Rotation, Token, TokenBody,
};
use serde::Serialize;

use super::words::{origin, rule, template};

/// One part of an account's life.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Chapter {
    pub title: String,
    pub steps: Vec<String>,
}

/// Every method from connect to deletion, in order.
pub fn explain(app: &App) -> Vec<Chapter> {
    let mut chapters = Vec::new();
    for method in &app.methods {
        chapters.push(Chapter { title: format!("Connecting with `{}`", method.id), steps: connect(app, method) });
        chapters.push(Chapter { title: format!("A request of `{}`", method.id), steps: request(app, method) });
        chapters.push(Chapter { title: format!("The end of a token of `{}`", method.id), steps: renewal(app, method) });
        chapters.push(Chapter { title: format!("Deleting an account of `{}`", method.id), steps: deletion(method) });
    }
    chapters
}

fn connect(app: &App, method: &AuthMethod) -> Vec<String> {
    let mut steps = Vec::new();
    if let AuthKind::OAuth2Code(oauth2) = &method.kind {
        let place = method.setup.as_ref().and_then(|setup| setup.url.as_deref()).unwrap_or("the provider");
        let what = if oauth2.client_auth == ClientAuth::None { "client id" } else { "client id and secret" };
        steps.push(format!(
            "The operator registers an OAuth client at {place} and gives its {what}: `deputy client set {}`.",
            app.slug
        ));
    }
    for input in &app.inputs {
        steps.extend(asked(app, input));
    }
    let pasted: Vec<&str> =
        method.tokens.iter().filter(|token| token.reply.is_none()).map(|token| token.name.as_str()).collect();
    if !pasted.is_empty() {
        steps.push(format!("A person pastes {}.", pasted.join(", ")));
    }
    match &method.kind {
        AuthKind::Keys => {}
        AuthKind::Exchange(exchange) => {
            steps.extend(exchange.calls.iter().map(call));
            steps.extend(method.tokens.iter().filter_map(found));
        }
        AuthKind::OAuth2Code(oauth2) => {
            steps.extend(oauth(oauth2));
            steps.extend(oauth2.then.iter().map(call));
            steps.extend(method.tokens.iter().filter_map(found));
        }
    }
    if method.reply_hook {
        steps.push("The app's hook reads these replies first, without seeing a secret.".to_owned());
    }
    for input in &app.inputs {
        if let InputSource::Discovered(discovery) = &input.source {
            steps.push(format!("`{}` is found out: {}.", input.name, discovered(discovery)));
        }
    }
    steps.push(match &app.test {
        None => "Nothing is asked of the account: a wrong key shows at the first request. A `test` would show it now."
            .to_owned(),
        Some(test) => {
            let who = match (&test.id, &test.label) {
                _ if test.identity_hook => "the app's hook says whose account it is".to_owned(),
                (Some(id), Some(label)) => format!("`{id}` is its identity and `{label}` the name people see"),
                (Some(id), None) => format!("`{id}` is its identity"),
                (None, Some(label)) => format!("`{label}` is the name people see; nothing tells two accounts apart"),
                (None, None) => "nothing in the answer tells whose account it is".to_owned(),
            };
            format!("{} {} must answer 2xx; {who}. Only then is the account stored.", test.method, test.path)
        }
    });
    steps
}

fn asked(app: &App, input: &Input) -> Option<String> {
    let name = &input.name;
    let kind = match input.kind {
        InputKind::Text => "a text",
        InputKind::HostLabel => "one label of a host name",
        InputKind::BaseUrl => "a base URL, pinned from then on",
    };
    match &input.source {
        InputSource::Account => Some(format!("A person gives `{name}`, {kind}.")),
        InputSource::Once => Some(format!("A person gives `{name}`, {kind}; it is not stored.")),
        InputSource::Client => {
            Some(format!("`{name}`, {kind}, comes with the client: `deputy client set {} --input {name}=…`.", app.slug))
        }
        InputSource::Discovered(_) => None,
    }
}

fn oauth(oauth2: &OAuth2) -> Vec<String> {
    let mut steps = Vec::new();
    let scopes: Vec<String> = oauth2
        .scope_lists
        .iter()
        .map(|list| {
            let defaults = list.scopes.iter().filter(|scope| scope.default).map(|scope| scope.name.as_str());
            (list, defaults.collect::<Vec<_>>().join(&list.separator))
        })
        .filter(|(_, asked)| !asked.is_empty())
        .map(|(list, asked)| format!("{}={asked}", list.param))
        .collect();
    let scopes = if scopes.is_empty() { "no scope".to_owned() } else { scopes.join("&") };
    if let Some(page) = &oauth2.authorize_url {
        let pkce = if oauth2.pkce == Pkce::S256 { "with PKCE" } else { "without PKCE" };
        steps.push(format!(
            "The browser opens {}, {pkce}, and asks for {scopes} unless others are chosen.",
            template(page)
        ));
    }
    if let Some(page) = &oauth2.device_url {
        steps.push(format!(
            "Without a browser, {} gives a code that a person enters elsewhere ({scopes}).",
            template(page)
        ));
    }
    let client = match oauth2.client_auth {
        ClientAuth::Basic => "HTTP Basic, form-encoded first",
        ClientAuth::BasicRaw => "HTTP Basic as it is",
        ClientAuth::BasicSecret => "its secret as Basic user name",
        ClientAuth::Post => "id and secret among the parameters",
        ClientAuth::None => "its id alone",
    };
    let body = match oauth2.body {
        TokenBody::Form => "as a form",
        TokenBody::Json => "as JSON",
        TokenBody::Query => "in the query of a GET",
    };
    steps.push(format!(
        "The code goes to {} {body}; the client proves itself by {client}.",
        template(&oauth2.token_url)
    ));
    steps
}

fn call(call: &Call) -> String {
    let mut parts = Vec::new();
    let names = |what: &str, names: Vec<&str>| (!names.is_empty()).then(|| format!("{what} {}", names.join(", ")));
    parts.extend(names("query", call.query.iter().map(|field| field.name.as_str()).collect()));
    parts.extend(names("headers", call.headers.iter().map(|field| field.name.as_str()).collect()));
    parts.extend(call.basic.as_ref().map(|_| "HTTP Basic".to_owned()));
    parts.extend(match &call.body {
        CallBody::None => None,
        CallBody::Form(fields) => names("form", fields.iter().map(|field| field.name.as_str()).collect()),
        CallBody::Json(fields) => names("JSON", fields.iter().map(|field| field.at.as_str()).collect()),
        CallBody::Text(text) => Some(format!("{} body", text.content_type)),
    });
    let with = if parts.is_empty() { String::new() } else { format!(" with {}", parts.join("; ")) };
    format!("Deputy calls {} {}{with}.", call.method, template(&call.url))
}

fn found(token: &Token) -> Option<String> {
    let reply = token.reply.as_ref()?;
    let place = match (&reply.access_header, reply.access.as_str()) {
        (Some(header), _) => format!("the reply's header {header}"),
        (None, "") => "the reply's whole body".to_owned(),
        (None, at) => format!("`{at}` of the reply"),
    };
    let lasts = match (&reply.expiry, reply.lifetime_s) {
        (Some(Expiry::Seconds(at)), _) => format!("it lasts the seconds at `{at}`"),
        (Some(Expiry::Milliseconds(at)), _) => format!("it lasts the milliseconds at `{at}`"),
        (Some(Expiry::At(at)), _) => format!("it lasts until `{at}`"),
        (Some(Expiry::Jwt), _) => "it says itself how long it lasts".to_owned(),
        (None, Some(seconds)) => format!("it lasts {seconds} s"),
        (None, None) => "it lasts until the app says otherwise".to_owned(),
    };
    let refresh = reply.refresh.as_ref().map(|at| format!("; its refresh token is `{at}`, where there is one"));
    Some(format!("`{}` is {place}; {lasts}{}.", token.name, refresh.unwrap_or_default()))
}

fn discovered(discovery: &Discovery) -> String {
    match discovery {
        Discovery::Reply(at) => format!("`{at}` of the reply that brought the tokens"),
        Discovery::Callback(field) => format!("`{field}` of the callback's query"),
        Discovery::Token(part) => format!("cut out of the token `{}`", part.token),
        Discovery::Request(request) => match &request.items {
            Some(items) => {
                format!("GET {}, `{}` of one of the items at `{items}`", template(&request.url), request.value)
            }
            None => format!("GET {}, `{}`", template(&request.url), request.value),
        },
    }
}

fn request(app: &App, method: &AuthMethod) -> Vec<String> {
    let origins: Vec<_> = app.reach.origins.iter().map(origin).collect();
    let mut steps =
        vec![format!("A path goes below {}; an absolute URL may go to {}.", template(&app.base), origins.join(", "))];
    if !app.reach.methods.is_empty() {
        steps.push(format!("Only {} are let through.", app.reach.methods.join(", ")));
    }
    if !app.reach.paths.is_empty() {
        steps.push(format!("Only paths below {} are let through.", app.reach.paths.join(", ")));
    }
    if !app.reach.denied_paths.is_empty() {
        steps.push(format!("Nothing below {} is let through.", app.reach.denied_paths.join(", ")));
    }
    for header in &app.headers {
        let caller = if header.locked { "a caller's own is refused" } else { "unless the caller gives another" };
        steps.push(format!("{}: {} is added, {caller}.", header.name, header.value));
    }
    for set in &method.rule_sets {
        let rules: Vec<_> = set.rules.iter().map(rule).collect();
        let when = if method.rule_sets.len() > 1 { format!(" (`--as {}`)", set.name) } else { String::new() };
        steps.push(format!("The host adds{when}: {}. A caller's own value there is refused.", rules.join("; ")));
    }
    let signals =
        [("failed although the status is good", &app.signals.failed), ("asked too often", &app.signals.throttled)];
    for (what, lists) in signals {
        if !lists.is_empty() {
            steps.push(format!("It counts as {what} where {}.", conditions(lists)));
        }
    }
    steps
}

fn conditions(lists: &AnyOf) -> String {
    let one = |condition: &Condition| match condition {
        Condition::Status(code) => format!("the status is {code}"),
        Condition::Header(header) => format!("{} is `{}`", header.name, header.value),
        Condition::Body(field) => format!("`{}` is `{}`", field.name, field.value),
    };
    let all = lists.iter().map(|list| list.iter().map(one).collect::<Vec<_>>().join(" and "));
    all.collect::<Vec<_>>().join(", or ")
}

fn renewal(app: &App, method: &AuthMethod) -> Vec<String> {
    let ended = match app.signals.expired.is_empty() {
        true => "the status is 401".to_owned(),
        false => conditions(&app.signals.expired),
    };
    let mut steps = match &method.kind {
        AuthKind::Keys => vec![format!("Where {ended}, the account is marked: a person must give a new key.")],
        AuthKind::Exchange(exchange) => {
            let calls = if exchange.refresh.is_empty() { &exchange.calls } else { &exchange.refresh };
            std::iter::once(format!("Before a token ends, and where {ended}:")).chain(calls.iter().map(call)).collect()
        }
        AuthKind::OAuth2Code(oauth2) if !oauth2.refresh.is_empty() => {
            let calls = oauth2.refresh.iter().map(call);
            std::iter::once(format!("Before a token ends, and where {ended}:")).chain(calls).collect()
        }
        AuthKind::OAuth2Code(oauth2) => {
            let url = oauth2.refresh_url.as_ref().unwrap_or(&oauth2.token_url);
            let fate = match oauth2.rotation {
                Rotation::None => "it stays".to_owned(),
                Rotation::Rotating => "a new one may come".to_owned(),
                Rotation::Strict => "a new one comes, and using the old one again would end the grant".to_owned(),
                Rotation::Grace(seconds) => format!("a new one comes; the old one works {seconds} s more"),
            };
            vec![format!(
                "Before a token ends, and where {ended}, the refresh token goes to {}; {fate}.",
                template(url)
            )]
        }
    };
    if !matches!(method.kind, AuthKind::Keys) {
        steps.push("The request is then made once more, unless its body was a stream.".to_owned());
    }
    if !app.signals.revoked.is_empty() {
        steps.push(format!(
            "Where {}, the account is stopped until somebody reconnects it.",
            conditions(&app.signals.revoked)
        ));
    }
    steps
}

fn deletion(method: &AuthMethod) -> Vec<String> {
    let mut steps = Vec::new();
    if let AuthKind::OAuth2Code(oauth2) = &method.kind
        && let Some(url) = &oauth2.revoke_url
    {
        steps.push(format!("Its refresh and access tokens are revoked at {} (RFC 7009).", template(url)));
    }
    steps.extend(method.revoke.iter().map(call));
    if steps.is_empty() {
        steps.push(
            "The provider is told nothing: what was given stays valid there until somebody removes it.".to_owned(),
        );
    }
    steps.push("The account and its secrets are erased here.".to_owned());
    steps
}

#[cfg(test)]
mod tests {
    use deputy_declaration::source::parse;

    use super::*;

    #[test]
    fn an_app_is_told_from_connect_to_deletion() {
        let text = r#"
            slug = "acme"
            name = "Acme"
            summary = "An example."
            base = "https://{shop}.acme.example/v1"
            evidence = { level = "facts", date = "2026-11-23", source = "a test" }
            test = { path = "/me", id = "/id" }
            signals.expired = [{ status = 400, body = { "/code" = "7" } }]
            inputs.shop = { kind = "host-label" }
            [methods.oauth.oauth2]
            authorize-url = "https://acme.example/authorize"
            token-url = "https://acme.example/token"
            rotation = "strict"
            scopes.read = { text = "Read", default = true }
        "#;
        let app = parse("app.toml", text).unwrap_or_else(|problems| panic!("{problems}"));
        let told = explain(&app);
        let whole: String =
            told.iter().flat_map(|chapter| chapter.steps.iter().cloned()).collect::<Vec<_>>().join("\n");
        assert_eq!(told.len(), 4);
        for part in [
            "A person gives `shop`, one label of a host name.",
            "https://acme.example/authorize, with PKCE, and asks for scope=read",
            "HTTP Basic, form-encoded first",
            "GET /me must answer 2xx; `/id` is its identity",
            "header Authorization: Bearer {access_token}",
            "the status is 400 and `/code` is `7`",
            "using the old one again would end the grant",
            "The provider is told nothing",
        ] {
            assert!(whole.contains(part), "{part}\n{whole}");
        }
    }
}
