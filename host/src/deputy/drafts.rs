//! First drafts of apps, from what a provider describes its API with.

use deputy_declaration::draft::new::{KINDS, New};
use deputy_declaration::draft::{self, Draft, DraftError};
use serde::Serialize;

use super::{Caller, Deputy, Error};

/// What an API is described with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Description {
    OpenApi,
    Postman,
    Curl,
}

/// The draft of an `app.toml`.
#[derive(Debug, Serialize)]
pub struct AppDrafted {
    pub slug: String,
    pub toml: String,
    /// Base and authentication are known: it passes `deputy app check`.
    pub complete: bool,
    /// What a person still has to decide or to find out.
    pub notes: Vec<String>,
}

/// What a new app is made from.
#[derive(Debug, Clone)]
pub struct AppNew {
    /// As the vendor writes it.
    pub name: String,
    /// None: made from the name.
    pub slug: Option<String>,
    /// `https://api.acme.com/v1`
    pub base: String,
    pub docs: Option<String>,
    /// The path of the request that shows whose account it is; none: `/me`.
    pub test: Option<String>,
    /// Of OAuth; none: guessed from the base.
    pub authorize_url: Option<String>,
    pub token_url: Option<String>,
    /// One of [`app_kinds`].
    pub kind: String,
}

#[derive(Debug, Serialize)]
pub struct AppCreated {
    pub slug: String,
    pub files: Vec<AppFile>,
}

#[derive(Debug, Serialize)]
pub struct AppFile {
    /// Below the app's folder.
    pub path: &'static str,
    pub text: String,
}

/// The kinds of new apps, and what each is for.
pub fn app_kinds() -> impl Iterator<Item = (&'static str, &'static str)> {
    KINDS.iter().map(|(word, _, about)| (*word, *about))
}

impl Deputy {
    /// The files of a new app, from a few answers.
    pub fn app_new(&self, _caller: &Caller, new: AppNew) -> Result<AppCreated, Error> {
        let AppNew { name, slug, base, docs, test, authorize_url, token_url, kind } = new;
        let known = KINDS.iter().find(|(word, ..)| *word == kind).ok_or_else(|| {
            let words: Vec<_> = app_kinds().map(|(word, _)| word).collect();
            Error::new("usage", format!("there is no kind `{kind}` of app"))
                .with_fix(format!("one of {}", words.join(", ")))
        })?;
        let date = today();
        let made =
            draft::new::new(&New { name, slug, base, docs, test, authorize_url, token_url, kind: known.1, date });
        let (slug, files) = made.map_err(|reason| Error::new("app_invalid", reason))?;
        Ok(AppCreated { slug, files: files.into_iter().map(|(path, text)| AppFile { path, text }).collect() })
    }

    /// Drafts an app. `source` is the file or URL of the description: relative servers lead from it, and the evidence
    /// names it. Nothing is fetched, and no secret of the description reaches the draft.
    pub fn app_draft(
        &self,
        _caller: &Caller,
        kind: Description,
        text: &str,
        source: &str,
        slug: Option<String>,
    ) -> Result<AppDrafted, Error> {
        let date = today();
        let drafted = match kind {
            Description::OpenApi => draft::openapi(text, source, &date),
            Description::Postman => draft::postman(text, source, &date),
            Description::Curl => draft::curl(text, &date),
        };
        let unreadable = |DraftError(message)| {
            let of = match (kind, source) {
                (Description::Curl, _) => "the command",
                (_, "-") => "standard input",
                (_, named) => named,
            };
            Error::new("description_unreadable", format!("{of}: {message}"))
        };
        let mut draft: Draft = drafted.map_err(unreadable)?;
        if let Some(slug) = slug {
            draft.slug = slug;
        }
        Ok(AppDrafted { toml: draft.to_toml(), complete: draft.is_complete(), slug: draft.slug, notes: draft.notes })
    }
}

fn today() -> String {
    jiff::Timestamp::now().strftime("%Y-%m-%d").to_string()
}
