//! `deputy app import`: an `app.toml` from an OpenAPI document, a Postman collection or a curl command.

use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::output::{BOLD, GOOD, Output, printable};
use super::{Done, Error};
use crate::deputy::{Caller, Deputy, Description};

/// Larger descriptions are no longer written by people.
const MAX_BYTES: u64 = 64 << 20;

#[derive(Args)]
pub struct Import {
    /// What describes the API
    kind: Kind,
    /// A file, an https URL, `-` for standard input, or the curl command as one argument
    source: String,
    /// The app's slug [default: from the description's title]
    #[arg(long)]
    slug: Option<String>,
    /// The app's folder, or a file that ends in .toml; the app.toml must not be there yet [default: standard output]
    #[arg(short, long, value_name = "PATH")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, ValueEnum)]
enum Kind {
    Openapi,
    Postman,
    Curl,
}

impl Import {
    pub async fn run(self, deputy: &Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
        let kind = match self.kind {
            Kind::Openapi => Description::OpenApi,
            Kind::Postman => Description::Postman,
            Kind::Curl => Description::Curl,
        };
        let text = match kind {
            Description::Curl if self.source != "-" && !Path::new(&self.source).is_file() => self.source.clone(),
            _ => read(&self.source, deputy, caller).await?,
        };
        let drafted = deputy.app_draft(caller, kind, &text, &self.source, self.slug)?;
        let to = self.output.map(|path| if is_file(&path) { path } else { path.join("app.toml") });
        if let Some(to) = &to {
            write(to, &drafted.toml)?;
        }
        output.emit(&drafted, || match &to {
            None => drafted.toml.clone(),
            Some(to) => {
                let mut text = format!("{GOOD}written{GOOD:#} {}\n", to.display());
                for note in &drafted.notes {
                    text.push_str(&format!("{BOLD}to do{BOLD:#} {}\n", printable(note)));
                }
                text.push_str(&format!("next: deputy app check {}\n", to.display()));
                text
            }
        })?;
        Ok(Done::Ok)
    }
}

async fn read(source: &str, deputy: &Deputy, caller: &Caller) -> Result<String, Error> {
    let failed = |why: String| {
        Error::new("description_unreadable", format!("cannot read {source}: {why}"))
            .with_fix("name a file or an https URL, or `-` and give the text on standard input")
    };
    let utf8 = |bytes: Vec<u8>| String::from_utf8(bytes).map_err(|_| failed("it is not UTF-8".into()));
    if source.starts_with("https://") || source.starts_with("http://") {
        return utf8(deputy.fetch(caller, source, usize::try_from(MAX_BYTES).unwrap_or(usize::MAX)).await?);
    }
    let mut bytes = Vec::new();
    let took = match source {
        "-" => std::io::stdin().lock().take(MAX_BYTES + 1).read_to_end(&mut bytes),
        path => std::fs::File::open(path).and_then(|file| file.take(MAX_BYTES + 1).read_to_end(&mut bytes)),
    };
    took.map_err(|error| failed(error.to_string()))?;
    if bytes.len() as u64 > MAX_BYTES {
        return Err(failed(format!("it has more than {MAX_BYTES} bytes")));
    }
    utf8(bytes)
}

fn is_file(path: &Path) -> bool {
    path.extension().is_some_and(|extension| extension == "toml")
}

/// A file that is there is somebody's work.
fn write(to: &Path, text: &str) -> Result<(), Error> {
    let failed = |error: std::io::Error| {
        Error::new("output_failed", format!("cannot write {}: {error}", to.display()))
            .with_fix("name a folder without an app.toml, or a file that does not exist yet")
    };
    if let Some(folder) = to.parent() {
        std::fs::create_dir_all(folder).map_err(failed)?;
    }
    let mut file = std::fs::File::create_new(to).map_err(failed)?;
    file.write_all(text.as_bytes()).and_then(|()| file.sync_all()).map_err(failed)
}
