//! First drafts of apps, from what a provider describes its API with.

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

impl Deputy {
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
        let date = jiff::Timestamp::now().strftime("%Y-%m-%d").to_string();
        let drafted = match kind {
            Description::OpenApi => draft::openapi(text, source, &date),
            Description::Postman => draft::postman(text, source, &date),
            Description::Curl => draft::curl(text, &date),
        };
        let unreadable = |DraftError(message)| Error::new("description_unreadable", message);
        let mut draft: Draft = drafted.map_err(unreadable)?;
        if let Some(slug) = slug {
            draft.slug = slug;
        }
        Ok(AppDrafted { toml: draft.to_toml(), complete: draft.is_complete(), slug: draft.slug, notes: draft.notes })
    }
}
