//! What the format can say and this host does not act on: refused by name, so that nothing in a declaration is inert.

use super::Check;

pub(super) fn unsupported(check: &mut Check<'_>) {
    let app = check.app;
    let mut found: Vec<(String, &'static str)> = Vec::new();
    if app.logo.is_some() {
        found.push(("logo".into(), "logos"));
    }
    for (path, what) in found {
        check.fail(path, format!("this version does not act on {what} yet"));
    }
}
