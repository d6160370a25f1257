//! Apps that are one app twice.

use std::collections::HashMap;

use super::{Source, Warning, warning};
use crate::template::{self, Name};
use crate::types::{App, AuthKind, InputKind};

/// The warnings of each source that doubles an earlier one.
pub(super) fn find(sources: &[Source<'_>]) -> HashMap<usize, Vec<Warning>> {
    let (mut names, mut doing) = (HashMap::new(), HashMap::new());
    let mut found: HashMap<usize, Vec<Warning>> = HashMap::new();
    for (at, source) in sources.iter().enumerate() {
        let app = source.app;
        let help = "keep one of them, or waive it with the reason why people want both";
        if let Some(first) = names.insert(folded(&app.name), &app.slug) {
            let message = format!("`{first}` has the same name, but for case, spaces and signs");
            found.entry(at).or_default().push(warning("duplicate", &["name"], message, help));
        }
        // Two apps that people run themselves have no host in common.
        let own_host = app.inputs.iter().any(|input| input.kind == InputKind::BaseUrl && input.hosts.is_empty());
        if let Some(first) = doing.insert(does(app), &app.slug).filter(|_| !own_host) {
            let message = format!("`{first}` sends the same credentials to the same base");
            found.entry(at).or_default().push(warning("duplicate", &["base"], message, help));
        }
    }
    found
}

/// `Drop box!` → `dropbox`; a name of signs alone stays.
fn folded(name: &str) -> String {
    let folded: String = name.chars().filter(|c| c.is_alphanumeric()).flat_map(char::to_lowercase).collect();
    if folded.is_empty() { name.to_owned() } else { folded }
}

/// What tells two apps apart on the wire; labels and actions do not.
fn does(app: &App) -> String {
    let mut methods: Vec<_> = app
        .methods
        .iter()
        .map(|method| {
            let mut rules: Vec<_> = method.rule_sets.iter().map(|set| format!("{:?}", set.rules)).collect();
            rules.sort();
            // Apps of one API are told apart by what they ask to be allowed.
            let scopes = match &method.kind {
                AuthKind::OAuth2Code(oauth2) => format!("{:?}", oauth2.scope_lists),
                AuthKind::Keys | AuthKind::Exchange(_) => String::new(),
            };
            rules.concat() + &scopes
        })
        .collect();
    methods.sort();
    // `https://{region}` is a place only with what may stand there.
    let named: Vec<_> = template::names(&app.base).collect();
    let places = app.inputs.iter().filter(|input| named.contains(&Name::Input(&input.name)));
    let places: Vec<_> = places.map(|input| (&input.choices, &input.hosts)).collect();
    format!("{:?} {places:?} {methods:?} {:?}", app.base, app.reach.paths)
}
