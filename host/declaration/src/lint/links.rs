//! Links that people follow: https, so that nobody in between changes what they read.

use super::{Warning, warning};
use crate::types::App;

pub(super) fn check(app: &App, warnings: &mut Vec<Warning>) {
    let mut link = |keys: &[&str], link: Option<&String>| {
        if let Some(link) = link
            && !link.starts_with("https://")
        {
            let message = format!("`{link}` is no https address");
            warnings.push(warning("http-link", keys, message, "link the page by https"));
        }
    };
    link(&["docs"], app.docs.as_ref());
    link(&["homepage"], app.homepage.as_ref());
    for method in &app.methods {
        link(&["methods", &method.id, "docs"], method.docs.as_ref());
        link(&["methods", &method.id, "setup", "url"], method.setup.as_ref().and_then(|setup| setup.url.as_ref()));
    }
    for action in &app.actions {
        link(&["actions", &action.name, "docs"], action.docs.as_ref());
    }
}
