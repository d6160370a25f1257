//! First drafts of an `app.toml`: from a few answers, or from what a provider describes its API with.
//!
//! [`openapi`], [`postman`] and [`curl`] read what they can into a [`Draft`]; what they could not find out stands in its
//! notes, which the text holds as comments. Pure: no file is read here. A secret that stands in a description never
//! reaches the draft.

mod curl;
pub mod new;
mod openapi;
mod postman;
mod schemes;
#[cfg(test)]
mod tests;
mod write;

pub use curl::curl;
pub use openapi::openapi;
pub use postman::postman;

/// An app as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Draft {
    pub slug: String,
    pub name: String,
    pub summary: String,
    pub homepage: Option<String>,
    pub docs: Option<String>,
    /// A template; none: not known.
    pub base: Option<String>,
    pub inputs: Vec<DraftInput>,
    pub methods: Vec<DraftMethod>,
    pub test: Option<DraftTest>,
    /// First segments of the paths that are described, with how many paths begin so; most first.
    pub paths: Vec<(String, usize)>,
    /// Where the facts come from.
    pub source: String,
    /// The day, `2026-11-23`.
    pub date: String,
    /// What a person has to decide or to find out.
    pub notes: Vec<String>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftInput {
    pub name: String,
    /// `host-label` or `base-url`; none: text.
    pub kind: Option<&'static str>,
    pub choices: Vec<String>,
    pub default: Option<String>,
    pub help: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftMethod {
    pub id: String,
    pub label: Option<String>,
    pub auth: DraftAuth,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DraftAuth {
    /// Pasted secrets, and where they go.
    Keys(Vec<DraftSlot>),
    Basic,
    OAuth2(DraftOAuth2),
}

/// One place of one secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DraftSlot {
    /// Of the token.
    pub token: String,
    pub place: Place,
    pub name: String,
    /// What stands before the token: `Bearer `.
    pub prefix: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    Header,
    Query,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftOAuth2 {
    /// None: client credentials.
    pub authorize_url: Option<String>,
    pub token_url: String,
    pub refresh_url: Option<String>,
    pub scopes: Vec<DraftScope>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftScope {
    pub name: String,
    pub text: String,
    /// The description asks for it everywhere, or for the test request.
    pub default: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DraftTest {
    pub path: String,
    pub id: Option<String>,
    pub label: Option<String>,
}

/// Why a description cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DraftError(pub String);

impl Draft {
    /// All that a working app needs is known.
    pub fn is_complete(&self) -> bool {
        self.base.is_some() && !self.methods.is_empty()
    }

    /// Finds name and slug in the title of a description.
    fn named(title: &str) -> Self {
        let name = name_of(title);
        Self { slug: slug_of(&name), name, ..Self::default() }
    }
}

/// `The Acme REST API (v2)` → `Acme`
fn name_of(title: &str) -> String {
    let without_brackets = title.split(['(', '[']).next().unwrap_or(title);
    let is_noise = |word: &str| {
        let word = word.trim_matches(|c: char| !c.is_alphanumeric()).to_ascii_lowercase();
        let version = word.strip_prefix('v').unwrap_or(&word);
        matches!(
            word.as_str(),
            "" | "the"
                | "api"
                | "apis"
                | "rest"
                | "restful"
                | "openapi"
                | "swagger"
                | "specification"
                | "spec"
                | "reference"
                | "documentation"
                | "docs"
                | "public"
                | "version"
                | "http"
                | "web"
        ) || (!version.is_empty() && version.chars().all(|c| c.is_ascii_digit() || c == '.'))
    };
    let words: Vec<&str> = without_brackets.split_whitespace().filter(|word| !is_noise(word)).collect();
    let name = words.join(" ");
    let name = name.trim_matches(|c: char| !c.is_alphanumeric() && c != '!').to_owned();
    let name = if name.is_empty() { title.trim().to_owned() } else { name };
    name.chars().filter(|c| !c.is_control()).take(60).collect()
}

/// The nearest thing to a slug.
pub fn slug_of(name: &str) -> String {
    let mut slug = String::new();
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            slug.push(c.to_ascii_lowercase());
        } else if !slug.is_empty() && !slug.ends_with('-') && c != '\'' {
            slug.push('-');
        }
    }
    slug.truncate(40);
    slug.trim_end_matches('-').to_owned()
}

/// The nearest thing to a name of an input or a token.
fn identifier(text: &str) -> String {
    let mut name = String::new();
    let mut last_lower = false;
    for c in text.chars() {
        if c.is_ascii_alphanumeric() {
            if c.is_ascii_uppercase() && last_lower {
                name.push('_');
            }
            name.push(c.to_ascii_lowercase());
            last_lower = c.is_ascii_lowercase() || c.is_ascii_digit();
        } else {
            if !name.is_empty() && !name.ends_with('_') {
                name.push('_');
            }
            last_lower = false;
        }
    }
    let name = name.trim_matches('_');
    let name = name.trim_start_matches(|c: char| c.is_ascii_digit() || c == '_');
    let name: String = name.chars().take(40).collect();
    if name.is_empty() { "value".to_owned() } else { name }
}

/// The first sentence of a text, as one line that ends with a full stop.
fn sentence(text: &str) -> Option<String> {
    let line =
        text.lines().map(str::trim).find(|line| line.len() > 3 && !line.starts_with(['#', '<', '!', '[', '|', '`']))?;
    let end = line.find(". ").map_or(line.len(), |at| at + 1);
    let line = line[..end].trim().trim_end_matches(['.', ':', ';']);
    let plain = line.chars().all(|c| !c.is_control() && !matches!(c, '<' | '>' | '{' | '}' | '`' | '*'));
    (plain && (4..=118).contains(&line.chars().count())).then(|| format!("{line}."))
}
