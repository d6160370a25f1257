//! `deputy app new`: a folder with an app that works against its own test, from a few answers.

use std::fs;
use std::path::PathBuf;

use super::output::{GOOD, Output};
use super::{Done, Error, prompt};
use crate::deputy::{AppNew, Caller, Deputy, app_kinds};

#[derive(clap::Args)]
pub struct New {
    /// The service's name, as it writes it
    name: Option<String>,
    /// Where its API lives, such as https://api.acme.com/v1
    #[arg(long, value_name = "URL")]
    base: Option<String>,
    /// How its accounts prove themselves: bearer, header, query, basic, oauth, client-credentials, tenant, two-tokens,
    /// aws or hook
    #[arg(long, value_name = "KIND")]
    auth: Option<String>,
    /// Its API documentation
    #[arg(long, value_name = "URL")]
    docs: Option<String>,
    /// The path of the request that shows whose account it is [default: /me]
    #[arg(long, value_name = "PATH")]
    test: Option<String>,
    /// Of OAuth, where people consent [default: /oauth/authorize where the API lives]
    #[arg(long, value_name = "URL")]
    authorize_url: Option<String>,
    /// Of OAuth, where tokens come from [default: /oauth/token where the API lives]
    #[arg(long, value_name = "URL")]
    token_url: Option<String>,
    /// The app's slug [default: from the name]
    #[arg(long)]
    slug: Option<String>,
    /// The new folder, which must not exist yet [default: the slug]
    #[arg(short, long, value_name = "FOLDER")]
    output: Option<PathBuf>,
}

impl New {
    pub fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let name = asked(self.name, "<NAME>", "The service's name")?;
        let base = asked(self.base, "--base", "Where its API lives (such as https://api.acme.com/v1)")?;
        let kind = match self.auth {
            Some(kind) => kind,
            None => {
                if prompt::interactive() {
                    for (word, about) in app_kinds() {
                        eprintln!("  {word:<20}{about}");
                    }
                }
                asked(None, "--auth", "How its accounts prove themselves")?
            }
        };
        let Self { slug, docs, test, authorize_url, token_url, .. } = self;
        let new = AppNew { name, slug, base, docs, test, authorize_url, token_url, kind };
        let created = deputy.app_new(caller, new)?;
        let folder = self.output.unwrap_or_else(|| PathBuf::from(&created.slug));
        let failed = |what: &std::path::Path, error: std::io::Error| {
            Error::new("output_failed", format!("cannot make {}: {error}", what.display()))
                .with_fix("name a folder that does not exist yet, in one that does")
        };
        fs::create_dir(&folder).map_err(|error| failed(&folder, error))?;
        for file in &created.files {
            let path = folder.join(file.path);
            let parent = path.parent().unwrap_or(&folder);
            fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
            fs::write(&path, &file.text).map_err(|error| failed(&path, error))?;
        }
        let paths: Vec<_> = created.files.iter().map(|file| folder.join(file.path)).collect();
        let answer = serde_json::json!({ "slug": created.slug, "folder": folder, "files": paths });
        output.emit(&answer, || {
            let folder = folder.display();
            format!(
                "{GOOD}made{GOOD:#} {folder}/app.toml\nnext: deputy app dev {folder}   # tells what is wrong and \
                 tests it, at every change\n"
            )
        })?;
        Ok(Done::Ok)
    }
}

fn asked(given: Option<String>, flag: &str, question: &str) -> Result<String, Error> {
    match given {
        Some(given) => Ok(given),
        None if prompt::interactive() => prompt::text(question, None),
        None => Err(Error::new("usage", format!("{flag} is missing")).with_fix("see `deputy app new --help`")),
    }
}
