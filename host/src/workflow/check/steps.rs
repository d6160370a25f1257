//! What a step names outside its file: apps, actions, accounts, programs.

use std::collections::BTreeMap;

use deputy_declaration::nearest;
use deputy_declaration::types::App;
use serde_json::{Map, Value};
use url::Url;

use super::{AccountFacts, Known, Unknown, props};
use crate::step::{Call, Prop, PropKind, action};
use crate::workflow::expression::syntax::is_template;
use crate::workflow::source::{Source, child};
use crate::workflow::types::{Step, StepWhat};

pub(super) fn check(
    source: &mut Source<'_>,
    step: &mut Step,
    index: usize,
    known: &dyn Known,
) -> BTreeMap<String, AccountFacts> {
    let path = format!("steps[{index}]");
    let mut bound = BTreeMap::new();
    for (prop, name) in &step.accounts {
        match known.account(name) {
            Ok(facts) => {
                bound.insert(prop.clone(), facts);
            }
            Err(unknown) => tell(source, &account_path(&path, prop), unknown),
        }
    }
    let empty = Map::new();
    let input = match &step.input {
        Value::Object(fields) => fields,
        _ => &empty,
    };
    match &mut step.what {
        StepWhat::Action { app, action } => {
            action_step(source, &path, (app, action), bound.get("account"), input, known);
        }
        StepWhat::Http(call) => {
            if let Some(account) = bound.get("account") {
                http_step(source, &path, call, account);
            }
        }
        StepWhat::Program { path: file, hash } => {
            let key = match file.ends_with("js") {
                true => "script",
                false => "component",
            };
            match known.program(file) {
                Ok(facts) => {
                    *hash = facts.hash;
                    let bindings = (&step.accounts, &bound);
                    program_step(source, &path, file, &facts.props, bindings);
                    props::check(source, &path, file, &facts.props, input);
                }
                Err(unknown) => tell(source, &child(&path, key), unknown),
            }
        }
    }
    bound
}

fn tell(source: &mut Source<'_>, path: &str, Unknown { message, help }: Unknown) {
    source.fault(source.span(path), message, help);
}

fn account_path(path: &str, prop: &str) -> String {
    child(&child(path, "accounts"), prop)
}

/// `needed`: all of one of the lists. An account whose scopes nobody knows is taken at its word.
fn scopes(source: &mut Source<'_>, place: &str, what: &str, account: &AccountFacts, needed: &[Vec<String>]) {
    let Some(granted) = &account.scopes else { return };
    let missing = needed.iter().map(|all| all.iter().filter(|scope| !granted.contains(scope)).collect::<Vec<_>>());
    let Some(missing) = missing.min_by_key(Vec::len).filter(|missing| !missing.is_empty()) else { return };
    let list = missing.iter().map(|scope| format!("`{scope}`")).collect::<Vec<_>>().join(", ");
    let flags: String = missing.iter().map(|scope| format!(" --add-scope {scope}")).collect();
    let message = format!("{} lacks the scope {list}, which {what} needs", account.name);
    let help = format!("`deputy account reconnect {}{flags}`", account.name);
    source.fault(source.span(place), message, Some(help));
}

fn wrong_app(source: &mut Source<'_>, place: &str, what: &str, wanted: &str, account: &AccountFacts) {
    let message = format!("{what} wants an account of {wanted}, but {} is one of {}", account.name, account.app);
    let help = format!("name one such as \"{wanted}/NICKNAME\"; `deputy account list` shows them");
    source.fault(source.span(place), message, Some(help));
}

fn action_step(
    source: &mut Source<'_>,
    path: &str,
    (slug, name): (&str, &str),
    account: Option<&AccountFacts>,
    input: &Map<String, Value>,
    known: &dyn Known,
) {
    let what = format!("{slug}/{name}");
    let place = child(path, "action");
    let app = match account {
        Some(account) if account.app == slug => account.declaration.clone(),
        _ => match known.app(slug) {
            Ok(app) => app,
            Err(unknown) => return tell(source, &place, unknown),
        },
    };
    if let Some(account) = account.filter(|account| account.app != slug) {
        wrong_app(source, &account_path(path, "account"), &what, slug, account);
    }
    let Some(found) = app.actions.iter().find(|action| action.name == name) else {
        let names: Vec<&str> = app.actions.iter().map(|action| action.name.as_str()).collect();
        let help = match nearest(name, names.iter().copied()) {
            Some(near) => format!("did you mean \"{slug}/{near}\"?"),
            None if names.is_empty() => "it has none: use `http = { … }`".to_owned(),
            None => format!("it has {}", names.join(", ")),
        };
        return source.fault(source.span(&place), format!("{slug} has no action `{name}`"), Some(help));
    };
    if let Some(account) = account.filter(|account| account.app == slug) {
        scopes(source, &account_path(path, "account"), &what, account, &found.scopes);
    }
    match action::declared(found) {
        Ok(props) => props::check(source, path, &what, &props, input),
        Err(error) => source.fault(source.span(&place), error.to_string(), error.fix()),
    }
}

/// What the file binds, and the accounts that were found.
type Bindings<'b> = (&'b BTreeMap<String, String>, &'b BTreeMap<String, AccountFacts>);

fn program_step(source: &mut Source<'_>, path: &str, file: &str, all: &[Prop], (named, found): Bindings<'_>) {
    let needs: Vec<_> = all
        .iter()
        .filter_map(|prop| match &prop.kind {
            PropKind::App(need) => Some((prop, need)),
            _ => None,
        })
        .collect();
    for prop in named.keys() {
        let place = account_path(path, prop);
        let Some((_, need)) = needs.iter().find(|(known, _)| known.name == *prop) else {
            let message = match all.iter().any(|known| known.name == *prop) {
                true => format!("the prop `{prop}` of {file} is no account"),
                false => format!("{file} has no prop `{prop}`"),
            };
            let names: Vec<&str> = needs.iter().map(|(known, _)| known.name.as_str()).collect();
            let help = match nearest(prop, names.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None if names.is_empty() => "it takes no accounts".to_owned(),
                None => format!("its accounts are {}", names.join(", ")),
            };
            source.fault(source.span(&place), message, Some(help));
            continue;
        };
        let Some(account) = found.get(prop) else { continue };
        let what = format!("the prop `{prop}` of {file}");
        if account.app != need.app {
            wrong_app(source, &place, &what, &need.app, account);
        } else if !need.scopes.is_empty() {
            scopes(source, &place, &what, account, std::slice::from_ref(&need.scopes));
        }
    }
    for (prop, need) in needs.iter().filter(|(prop, _)| !prop.optional && !named.contains_key(&prop.name)) {
        let message = format!("no account is bound to the prop `{}` of {file}", prop.name);
        let help = format!("accounts = {{ {} = \"{}/NICKNAME\" }}", prop.name, need.app);
        source.fault(source.span(path), message, Some(help));
    }
}

fn http_step(source: &mut Source<'_>, path: &str, call: &Call, account: &AccountFacts) {
    let app: &App = &account.declaration;
    let path = child(path, "http");
    let name = &account.name;
    if !app.reach.methods.is_empty() && !app.reach.methods.contains(&call.method) {
        let help = format!("it allows {}", app.reach.methods.join(", "));
        let place = child(&path, "method");
        source.fault(source.span(&place), format!("{} does not allow {}", app.slug, call.method), Some(help));
    }
    if let Some(origin) = origin(&call.path)
        && !account.origins.contains(&origin)
    {
        let help = format!("it reaches {}", account.origins.join(", "));
        let place = child(&path, "path");
        source.fault(source.span(&place), format!("{origin} is beyond the reach of {name}"), Some(help));
    }
    // One with an expression in it is told as such.
    let identity = call.identity.as_ref().filter(|text| !is_template(text));
    if let (Some(identity), Some(method)) = (identity, app.methods.get(account.method)) {
        let sets: Vec<&str> = method.rule_sets.iter().map(|set| set.name.as_str()).collect();
        if !sets.contains(&identity.as_str()) {
            let help = match nearest(identity, sets.iter().copied()) {
                Some(near) => format!("did you mean \"{near}\"?"),
                None => format!("it has {}", sets.join(", ")),
            };
            let place = child(&path, "identity");
            source.fault(source.span(&place), format!("{name} has no identity `{identity}`"), Some(help));
        }
    }
    if let Some(pages) = &call.answer.pages
        && pages.next.is_none()
        && app.pagination.is_none()
    {
        let help = "say how: paginate = { items = \"/results\", next = \"link-header\" }";
        let place = child(&path, "paginate");
        let message = format!("{} does not declare how its lists go on", app.slug);
        source.fault(source.span(&place), message, Some(help.to_owned()));
    }
}

/// Of an absolute URL whose host is written out.
fn origin(path: &str) -> Option<String> {
    let written = path.split("{{").next().unwrap_or_default();
    let authority = written.split_once("://")?.1;
    if written.len() < path.len() && !authority.contains('/') {
        return None;
    }
    let url = Url::parse(written).ok()?;
    Some(url.origin().ascii_serialization())
}
