//! OpenAPI 3 and Swagger 2, as JSON or YAML.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value};
use url::Url;

use super::{Draft, DraftAuth, DraftError, DraftInput, DraftMethod, DraftOAuth2, DraftScope, DraftSlot, DraftTest};
use super::{identifier, schemes, sentence};

/// References that are followed before a circle is assumed.
const MAX_HOPS: usize = 8;
/// Words that a request about oneself has in its path, best first.
const WHO: [&str; 12] = [
    "whoami",
    "me",
    "@me",
    "self",
    "current_user",
    "current-user",
    "userinfo",
    "account",
    "profile",
    "user",
    "ping",
    "status",
];

/// `source`: where the text comes from; a URL also completes relative servers.
pub fn openapi(text: &str, source: &str, date: &str) -> Result<Draft, DraftError> {
    let root = parse(text)?;
    let version = root.get("openapi").or(root.get("swagger")).and_then(|version| match version {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    });
    let Some(version) = version.filter(|version| version.starts_with(['2', '3'])) else {
        return Err(DraftError("it has neither `openapi: 3…` nor `swagger: 2…`".to_owned()));
    };
    let info = root.get("info").unwrap_or(&Value::Null);
    let title = info.get("title").and_then(Value::as_str).filter(|title| !title.trim().is_empty()).unwrap_or("app");
    let mut draft = Draft::named(title);
    if draft.slug.is_empty() {
        draft.slug = "app".to_owned();
        draft.notes.push("the title gives no slug: choose one".to_owned());
    }
    draft.source = source.to_owned();
    draft.date = date.to_owned();
    let summary = ["summary", "description"].iter().filter_map(|key| info.get(key)?.as_str()).find_map(sentence);
    draft.summary = summary.unwrap_or_else(|| format!("The API of {}.", draft.name));
    draft.docs = root.pointer("/externalDocs/url").and_then(Value::as_str).and_then(https);
    draft.homepage = info.pointer("/contact/url").and_then(Value::as_str).and_then(https);
    let document = Document { root: &root, two: version.starts_with('2') };
    document.server(&mut draft, source);
    document.methods(&mut draft);
    document.paths(&mut draft);
    document.default_scopes(&mut draft);
    if draft.methods.is_empty() {
        draft.notes.push("no security scheme that an app can use is described: add a method".to_owned());
    }
    if draft.test.is_none() {
        draft.notes.push("no request is known that any account may make: add `test` when there is one".to_owned());
    }
    Ok(draft)
}

fn parse(text: &str) -> Result<Value, DraftError> {
    if text.trim_start().starts_with('{') {
        return serde_json::from_str(text).map_err(|error| DraftError(format!("it is no JSON: {error}")));
    }
    serde_saphyr::from_str(text).map_err(|error| {
        let error = error.to_string();
        DraftError(format!("it is neither JSON nor YAML: {}", error.lines().next().unwrap_or_default()))
    })
}

/// An https URL without what a link does not need.
fn https(text: &str) -> Option<String> {
    let url = Url::parse(text.trim()).ok()?;
    (url.scheme() == "https" && url.has_host() && url.username().is_empty()).then(|| text.trim().to_owned())
}

struct Document<'d> {
    root: &'d Value,
    two: bool,
}

impl<'d> Document<'d> {
    /// The value behind `$ref`s within the document.
    fn resolve(&self, mut value: &'d Value) -> &'d Value {
        for _ in 0..MAX_HOPS {
            let Some(reference) = value.get("$ref").and_then(Value::as_str) else { return value };
            match reference.strip_prefix('#').and_then(|pointer| self.root.pointer(pointer)) {
                Some(found) => value = found,
                None => return &Value::Null,
            }
        }
        &Value::Null
    }

    fn server(&self, draft: &mut Draft, source: &str) {
        if self.two {
            let text = |key: &str| self.root.get(key).and_then(Value::as_str);
            let host =
                text("host").map(str::to_owned).or_else(|| Some(Url::parse(source).ok()?.host_str()?.to_owned()));
            let path = text("basePath").unwrap_or_default().trim_end_matches('/');
            match host.and_then(|host| https(&format!("https://{host}{path}"))) {
                Some(base) => draft.base = Some(without_own_port(base.trim_end_matches('/'))),
                None => draft.notes.push("no host is described: write `base`".to_owned()),
            }
            return;
        }
        let servers = self.root.get("servers").and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default();
        let mut fallback = None;
        for server in servers {
            let Some(url) = server.get("url").and_then(Value::as_str) else { continue };
            let variables = server.get("variables").and_then(Value::as_object);
            match base(url.trim(), variables, source) {
                Some(found) => {
                    (draft.base, draft.inputs) = (Some(found.0), found.1);
                    return;
                }
                None => fallback = fallback.or(Some(url)),
            }
        }
        draft.notes.push(match fallback {
            Some(url) => format!("the server `{}` is no base that an app can have: write `base`", shortened(url)),
            None => "no server is described: write `base`".to_owned(),
        });
    }

    fn methods(&self, draft: &mut Draft) {
        let place = if self.two { "/securityDefinitions" } else { "/components/securitySchemes" };
        let Some(declared) = self.root.pointer(place).and_then(Value::as_object) else { return };
        // Those that are asked for everywhere first, then those of single operations, then the rest.
        let mut wanted: Vec<Vec<&str>> = Vec::new();
        let mut want = |list: Option<&'d Value>| {
            for all in list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object) {
                let names: Vec<&str> = all.keys().map(String::as_str).collect();
                if !names.is_empty() && !wanted.contains(&names) {
                    wanted.push(names);
                }
            }
        };
        want(self.root.get("security"));
        self.operations(|_, _, operation| want(operation.get("security")));
        for name in declared.keys() {
            if !wanted.iter().flatten().any(|known| known == name) {
                wanted.push(vec![name]);
            }
        }
        for names in wanted {
            let found: Vec<&Value> = names.iter().filter_map(|name| Some(self.resolve(declared.get(*name)?))).collect();
            if found.len() == names.len() {
                self.method(draft, &found);
            }
        }
    }

    /// Schemes that are asked for together.
    fn method(&self, draft: &mut Draft, together: &[&'d Value]) {
        let mut slots: Vec<DraftSlot> = Vec::new();
        for scheme in together {
            let text = |key: &str| scheme.get(key).and_then(Value::as_str).unwrap_or_default();
            match (text("type"), text("scheme").to_ascii_lowercase().as_str()) {
                ("apiKey", _) => {
                    match schemes::key(text("in"), text("name"), prefix(text("name"), text("description"))) {
                        Some(slot) => slots.push(slot),
                        None => {
                            let message =
                                format!("a key in the {} `{}` has no place in an app", text("in"), text("name"));
                            return note(&mut draft.notes, message);
                        }
                    }
                }
                ("http", "bearer") => slots.push(schemes::bearer()),
                ("http", "basic") | ("basic", _) if together.len() == 1 => {
                    return schemes::add(&mut draft.methods, schemes::basic());
                }
                ("oauth2", _) if together.len() == 1 => return self.oauth2(draft, scheme),
                ("openIdConnect", _) => {
                    return note(
                        &mut draft.notes,
                        "sign-in by OpenID Connect is described: write its endpoints as `oauth2`".into(),
                    );
                }
                (kind, other) => {
                    return note(&mut draft.notes, format!("the scheme `{kind} {other}` is not taken over"));
                }
            }
        }
        if !slots.is_empty() {
            let mut seen = Vec::new();
            for slot in &mut slots {
                while seen.contains(&slot.token) {
                    slot.token.push_str("_2");
                }
                seen.push(slot.token.clone());
            }
            schemes::add(&mut draft.methods, schemes::keys(slots));
        }
    }

    fn oauth2(&self, draft: &mut Draft, scheme: &'d Value) {
        let flows: Vec<(&str, &Value)> = match scheme.get("flows").and_then(Value::as_object) {
            Some(flows) => flows.iter().map(|(name, flow)| (name.as_str(), flow)).collect(),
            None => scheme.get("flow").and_then(Value::as_str).map(|flow| (flow, scheme)).into_iter().collect(),
        };
        for (name, flow) in flows {
            let url = |key: &str| flow.get(key).and_then(Value::as_str).and_then(|text| self.endpoint(draft, text));
            let scopes = flow.get("scopes").and_then(Value::as_object).into_iter().flatten();
            let scopes = scopes.filter(|(name, _)| !name.is_empty() && !name.contains(' ')).map(|(name, about)| {
                let about = about.as_str().and_then(sentence).map(|text| text.trim_end_matches('.').to_owned());
                let text = about.unwrap_or_else(|| name.clone());
                DraftScope { name: name.clone(), text, default: false }
            });
            let code = matches!(name, "authorizationCode" | "accessCode");
            let method = match (code, matches!(name, "clientCredentials" | "application")) {
                (false, false) => continue,
                _ => match (url("authorizationUrl"), url("tokenUrl")) {
                    (Some(authorize), Some(token_url)) if code => DraftOAuth2 {
                        authorize_url: Some(authorize),
                        token_url,
                        refresh_url: url("refreshUrl"),
                        scopes: scopes.collect(),
                    },
                    (_, Some(token_url)) if !code => {
                        DraftOAuth2 { token_url, scopes: scopes.collect(), ..DraftOAuth2::default() }
                    }
                    _ => {
                        note(&mut draft.notes, format!("the OAuth flow `{name}` names no https endpoints: add them"));
                        continue;
                    }
                },
            };
            let id = if code { "oauth" } else { "app" };
            let auth = DraftAuth::OAuth2(method);
            schemes::add(&mut draft.methods, DraftMethod { id: id.to_owned(), label: None, auth });
        }
    }

    /// Relative endpoints stand below the server.
    fn endpoint(&self, draft: &Draft, text: &str) -> Option<String> {
        let text = text.trim();
        let url = if text.starts_with('/') {
            let base = draft.base.as_ref().filter(|base| !base.contains('{'))?;
            Url::parse(base).ok()?.join(text).ok()?
        } else {
            Url::parse(text).ok()?
        };
        let plain = url.scheme() == "https" && url.has_host() && url.query().is_none() && url.fragment().is_none();
        (plain && !text.contains(['{', '}'])).then(|| url.to_string())
    }

    /// Calls with path, HTTP method and operation.
    fn operations(&self, mut each: impl FnMut(&'d str, &'d str, &'d Value)) {
        let paths = self.root.get("paths").and_then(Value::as_object).into_iter().flatten();
        for (path, item) in paths {
            for (method, operation) in self.resolve(item).as_object().into_iter().flatten() {
                if matches!(method.as_str(), "get" | "put" | "post" | "delete" | "patch" | "head") {
                    each(path, method, operation);
                }
            }
        }
    }

    fn paths(&self, draft: &mut Draft) {
        let mut first: BTreeMap<String, usize> = BTreeMap::new();
        let mut best: Option<(usize, usize, &str, &Value)> = None;
        self.operations(|path, method, operation| {
            if let Some(segment) =
                path.split('/').nth(1).filter(|segment| !segment.is_empty() && !segment.contains('{'))
            {
                *first.entry(format!("/{segment}")).or_default() += 1;
            }
            if method != "get" || path.contains('{') || !path.starts_with('/') || self.needs_more(path, operation) {
                return;
            }
            let last = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_ascii_lowercase();
            let last = last.trim_end_matches(".json");
            if let Some(rank) = WHO.iter().position(|word| *word == last) {
                let candidate = (rank, path.len(), path, operation);
                if best.is_none_or(|(rank, length, ..)| (candidate.0, candidate.1) < (rank, length)) {
                    best = Some(candidate);
                }
            }
        });
        let mut first: Vec<(String, usize)> = first.into_iter().collect();
        first.sort_by(|one, other| other.1.cmp(&one.1).then_with(|| one.0.cmp(&other.0)));
        draft.paths = first;
        draft.test = best.map(|(_, _, path, operation)| self.test(path, operation));
    }

    /// Asked for unless the owner chooses: what all operations need, and what the test request does.
    fn default_scopes(&self, draft: &mut Draft) {
        let mut asked: BTreeSet<&str> = BTreeSet::new();
        let mut ask = |list: Option<&'d Value>| {
            let all = list.and_then(Value::as_array).into_iter().flatten().filter_map(Value::as_object);
            let scopes = all.flat_map(Map::values).filter_map(Value::as_array).flatten();
            asked.extend(scopes.filter_map(Value::as_str));
        };
        ask(self.root.get("security"));
        let tested = draft.test.as_ref().map(|test| test.path.as_str());
        self.operations(|path, method, operation| {
            if method == "get" && tested == Some(path) {
                ask(operation.get("security"));
            }
        });
        for method in &mut draft.methods {
            let DraftAuth::OAuth2(oauth2) = &mut method.auth else { continue };
            for scope in &mut oauth2.scopes {
                scope.default = asked.contains(scope.name.as_str());
            }
            if oauth2.authorize_url.is_some()
                && !oauth2.scopes.is_empty()
                && !oauth2.scopes.iter().any(|scope| scope.default)
            {
                let message = "no scope is asked for by default: mark those that most uses need with `default = true`";
                note(&mut draft.notes, message.to_owned());
            }
        }
    }

    /// A parameter that must be given, besides those of the credentials.
    fn needs_more(&self, path: &str, operation: &'d Value) -> bool {
        let own = operation.get("parameters").and_then(Value::as_array);
        let item = self.root.get("paths").and_then(|paths| paths.get(path)).map(|item| self.resolve(item));
        let shared = item.and_then(|item| item.get("parameters")).and_then(Value::as_array);
        own.into_iter()
            .chain(shared)
            .flatten()
            .any(|parameter| self.resolve(parameter).get("required").and_then(Value::as_bool).unwrap_or(false))
    }

    fn test(&self, path: &str, operation: &'d Value) -> DraftTest {
        let responses = operation.get("responses").unwrap_or(&Value::Null);
        let answer = self.resolve(responses.get("200").unwrap_or(&Value::Null));
        let schema = match self.two {
            true => answer.get("schema"),
            false => answer.pointer("/content/application~1json/schema"),
        };
        let properties = schema.map(|schema| self.resolve(schema)).and_then(|schema| schema.get("properties"));
        let has = |name: &&str| properties.is_some_and(|properties| properties.get(*name).is_some());
        let pick = |names: &[&str]| names.iter().copied().find(|name| has(name)).map(|name| format!("/{name}"));
        DraftTest {
            path: path.to_owned(),
            id: pick(&["id", "uuid", "user_id", "account_id", "uid"]),
            label: pick(&["email", "username", "login", "name", "display_name"]),
        }
    }
}

fn note(notes: &mut Vec<String>, note: String) {
    if !notes.contains(&note) {
        notes.push(note);
    }
}

/// What stands before a key in `Authorization`, where the description says so.
fn prefix(name: &str, description: &str) -> &'static str {
    if !name.eq_ignore_ascii_case("authorization") {
        return "";
    }
    let description = description.to_ascii_lowercase();
    let known = [("bearer", "Bearer "), ("token token=", "Token token="), ("apikey", "ApiKey "), ("token ", "Token ")];
    known.iter().find(|(word, _)| description.contains(word)).map_or("", |(_, prefix)| prefix)
}

/// A server's URL as a base, with the inputs that its variables become.
fn base(url: &str, variables: Option<&Map<String, Value>>, source: &str) -> Option<(String, Vec<DraftInput>)> {
    let absolute = match url.strip_prefix("//") {
        Some(rest) => format!("https://{rest}"),
        None if url.starts_with('/') || url.is_empty() || url == "." => {
            let origin = Url::parse(source).ok().filter(|source| source.scheme() == "https")?.origin();
            format!("{}{}", origin.ascii_serialization(), url.trim_end_matches('.'))
        }
        None if url.starts_with("http://") => format!("https://{}", &url[7..]),
        None => url.to_owned(),
    };
    let mut text = absolute.trim_end_matches('/').to_owned();
    let mut inputs: Vec<DraftInput> = Vec::new();
    let mut from = 0;
    while let Some(start) = text[from..].find('{').map(|at| from + at) {
        let end = start + text[start..].find('}')?;
        let name = text[start + 1..end].to_owned();
        let variable = variables.and_then(|variables| variables.get(&name));
        let default = variable.and_then(|variable| variable.get("default")).and_then(plain);
        let choices: Vec<String> = variable
            .and_then(|variable| variable.get("enum"))
            .and_then(Value::as_array)
            .map(|list| list.iter().filter_map(plain).collect())
            .unwrap_or_default();
        let name = identifier(&name);
        let host_ends = text.get(8..).and_then(|rest| rest.find('/')).map_or(text.len(), |at| at + 8);
        let alone = text[..start] == *"https://" && text[end + 1..].starts_with('.');
        let replacement = if choices.len() > 1 {
            let default = default.filter(|default| choices.contains(default));
            inputs.push(DraftInput { name: name.clone(), choices, default, ..DraftInput::default() });
            format!("{{{name}}}")
        } else if start == 0 && end + 1 == host_ends.max(end + 1) {
            inputs.push(DraftInput { name: name.clone(), kind: Some("base-url"), ..DraftInput::default() });
            format!("{{{name}}}")
        } else if alone && end < host_ends {
            inputs.push(DraftInput { name: name.clone(), kind: Some("host-label"), ..DraftInput::default() });
            format!("{{{name}}}")
        } else if start > host_ends && default.is_none() {
            inputs.push(DraftInput { name: name.clone(), ..DraftInput::default() });
            format!("{{{name}|percent}}")
        } else {
            // One value is no choice.
            default.or_else(|| choices.first().cloned())?
        };
        text.replace_range(start..=end, &replacement);
        from = start + replacement.len();
    }
    let text = without_own_port(text.trim_end_matches('/'));
    let filled = text.replace(['{', '}'], "x").replace("|percent", "");
    let whole = text.starts_with('{');
    let url = Url::parse(&if whole { format!("https://{filled}.example") } else { filled }).ok()?;
    let plain =
        url.scheme() == "https" && url.query().is_none() && url.fragment().is_none() && url.username().is_empty();
    let real =
        url.host_str().is_some_and(|host| host.trim_end_matches('.').contains('.') && !host.ends_with("localhost"));
    (plain && real).then_some((text, inputs))
}

/// https has its own port: written out, it is another text for the same origin.
fn without_own_port(base: &str) -> String {
    let (scheme, rest) = base.split_at(base.find("://").map_or(0, |at| at + 3));
    let (host, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    format!("{scheme}{}{path}", host.strip_suffix(":443").unwrap_or(host))
}

fn plain(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn shortened(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
