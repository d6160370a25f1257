use super::*;

/// A small app; `top` are keys and inline tables of the first level.
pub(crate) fn app(top: &str) -> App {
    parse("app.toml", &text(top)).unwrap_or_else(|problems| panic!("{problems}"))
}

pub(crate) fn text(top: &str) -> String {
    format!(
        "slug = \"example\"\nname = \"Example\"\nsummary = \"An example.\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"a test\" }}\n{top}\n\
         [methods.key]\nheader.Authorization = \"Bearer {{token}}\"\n"
    )
}
