//! Makes a pack from a folder of apps.

use std::io;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};

use super::{ENTRY_BYTES, FORMAT, HEADER_BYTES, MAGIC, sources};
use crate::image::{self, ImageError};
use crate::source::{self, Beside, Problem, Problems};
use crate::types::{App, EvidenceLevel};

/// A pack and what was put into it.
#[derive(Debug)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub apps: usize,
    /// The text of the sidecar.
    pub sources: String,
}

#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// Of all apps.
    #[error("{0}")]
    Problems(Problems),
    #[error("{app}: {error}")]
    Image { app: String, error: ImageError },
    #[error("{}: {error}", path.display())]
    Io { path: PathBuf, error: io::Error },
    #[error("the pack outgrows 4 GB")]
    TooLarge,
}

impl BuildError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Problems(_) => "app_source_invalid",
            Self::Image { error, .. } => error.code(),
            Self::Io { .. } => "pack_io",
            Self::TooLarge => "pack_too_large",
        }
    }
}

/// Reads every `<apps>/<slug>/app.toml` and the scripts it names. The folder bears the app's slug. Deterministic.
pub fn build(apps: &Path) -> Result<Built, BuildError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| BuildError::Io { path, error }
    };
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for file in sources::app_files(apps).map_err(io(apps))? {
        let text = std::fs::read_to_string(&file).map_err(io(&file))?;
        let name = file.display().to_string();
        let beside = file.parent().map_or_else(Beside::default, |folder| Beside::read(&text, folder));
        match source::parse_with(&name, &text, &beside) {
            Ok(app) => match misplaced(&name, &file, &app) {
                Some(problem) => problems.push(problem),
                None => parsed.push(app),
            },
            Err(found) => problems.extend(found.0),
        }
    }
    if !problems.is_empty() {
        return Err(BuildError::Problems(Problems(problems)));
    }
    let sources = sources::fingerprint(apps, crate::WIT.as_bytes()).map_err(io(apps))?;
    parsed.sort_by(|one, other| one.slug.cmp(&other.slug));
    Ok(Built { bytes: lay_out(&parsed)?, apps: parsed.len(), sources })
}

fn misplaced(name: &str, file: &Path, app: &App) -> Option<Problem> {
    let folder = file.parent().and_then(Path::file_name).map(|folder| folder.to_string_lossy().into_owned());
    (folder.as_deref() != Some(&app.slug)).then(|| Problem {
        file: name.to_owned(),
        line: 1,
        column: 1,
        span: 0..0,
        message: format!("the folder is called `{}`, the app `{}`", folder.unwrap_or_default(), app.slug),
        help: Some(format!("call the folder `{}`", app.slug)),
    })
}

fn lay_out(apps: &[App]) -> Result<Vec<u8>, BuildError> {
    let number = |number: usize| u32::try_from(number).map(u32::to_le_bytes).map_err(|_| BuildError::TooLarge);
    let mut index = Vec::with_capacity(HEADER_BYTES + apps.len() * ENTRY_BYTES);
    index.extend_from_slice(MAGIC);
    index.extend_from_slice(&FORMAT.to_le_bytes());
    index.extend_from_slice(&number(apps.len())?);
    let data_start = HEADER_BYTES + apps.len() * ENTRY_BYTES;
    let mut data = Vec::new();
    for app in apps {
        let image = |error| BuildError::Image { app: app.slug.clone(), error };
        let component = image::component(app).map_err(image)?;
        let declaration = serde_json::to_vec(app)
            .map_err(|error| image(ImageError::Value { path: "app".into(), message: error.to_string() }))?;
        let level: u32 = match app.evidence.level {
            EvidenceLevel::Facts => 0,
            EvidenceLevel::Checked => 1,
            EvidenceLevel::Verified => 2,
        };
        index.extend_from_slice(&level.to_le_bytes());
        let methods = app.methods.iter().map(|method| method.id.as_str()).collect::<Vec<_>>().join("\n");
        let fields: [&[u8]; super::SPANS] = [
            app.slug.as_bytes(),
            app.name.as_bytes(),
            app.summary.as_bytes(),
            app.evidence.date.as_bytes(),
            methods.as_bytes(),
            &component,
            &declaration,
        ];
        for field in fields {
            index.extend_from_slice(&number(data_start + data.len())?);
            index.extend_from_slice(&number(field.len())?);
            data.extend_from_slice(field);
        }
        index.extend_from_slice(digest(&SHA256, &component).as_ref());
        index.extend_from_slice(digest(&SHA256, &declaration).as_ref());
    }
    index.extend_from_slice(&data);
    Ok(index)
}

/// Writes pack and sidecar into `folder`. A file whose content stays is left alone, so that nothing is built anew
/// for it; the sidecar comes last, so that it never vouches for an older pack.
pub fn write(built: &Built, folder: &Path) -> Result<PathBuf, BuildError> {
    let io = |path: &Path| {
        let path = path.to_owned();
        move |error| BuildError::Io { path, error }
    };
    std::fs::create_dir_all(folder).map_err(io(folder))?;
    let pack = folder.join(sources::PACK);
    for (path, bytes) in [(&pack, &built.bytes[..]), (&folder.join(sources::SIDECAR), built.sources.as_bytes())] {
        if std::fs::read(path).is_ok_and(|old| old == bytes) {
            continue;
        }
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        std::fs::write(&temporary, bytes).map_err(io(&temporary))?;
        std::fs::rename(&temporary, path).map_err(io(path))?;
    }
    Ok(pack)
}
