//! Makes a pack from a folder of apps.

use std::io::{self, Write as _};
use std::num::NonZero;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Digest, SHA256, digest};
use flate2::Compression;
use flate2::write::DeflateEncoder;

use super::{ENTRY_BYTES, FORMAT, HEADER_BYTES, MAGIC, sources};
use crate::image::{self, ImageError};
use crate::lint;
use crate::source::{self, Beside, Problem, Problems};
use crate::types::{App, EvidenceLevel};

/// A pack and what was put into it.
#[derive(Debug)]
pub struct Built {
    pub bytes: Vec<u8>,
    pub apps: usize,
    /// The text of the sidecar.
    pub sources: String,
    /// What the lints say, of all apps.
    pub warnings: Vec<Problem>,
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

/// Reads every `<apps>/<first letter or digit>/<slug>/app.toml` and what stands beside it. Deterministic.
pub fn build(apps: &Path) -> Result<Built, BuildError> {
    let files = sources::app_files(apps).map_err(io(apps))?;
    // Parsing and encoding are all of the work, and no app needs another one.
    let threads = std::thread::available_parallelism().map_or(1, NonZero::get);
    let share = files.len().div_ceil(threads).max(1);
    let packed: Vec<_> = std::thread::scope(|scope| {
        let workers: Vec<_> = files
            .chunks(share)
            .map(|files| scope.spawn(move || files.iter().map(|f| read(apps, f)).collect()))
            .collect();
        let join = |worker: std::thread::ScopedJoinHandle<'_, Vec<_>>| match worker.join() {
            Ok(done) => done,
            Err(panic) => std::panic::resume_unwind(panic),
        };
        workers.into_iter().flat_map(join).collect()
    });
    let (mut parsed, mut problems) = (Vec::new(), Vec::new());
    for app in packed {
        match app {
            Ok(app) => parsed.push(app),
            Err(BuildError::Problems(found)) => problems.extend(found),
            Err(other) => return Err(other),
        }
    }
    if !problems.is_empty() {
        return Err(BuildError::Problems(Problems(problems)));
    }
    let sources = sources::fingerprint(apps, crate::PACKED_BY.as_bytes()).map_err(io(apps))?;
    parsed.sort_by(|one, other| one.app.slug.cmp(&other.app.slug));
    let warnings =
        lint::catalogue(parsed.iter().map(|app| lint::Source { file: &app.file, text: &app.text, app: &app.app }));
    Ok(Built { bytes: lay_out(&parsed)?, apps: parsed.len(), sources, warnings })
}

fn io(path: &Path) -> impl FnOnce(io::Error) -> BuildError {
    let path = path.to_owned();
    move |error| BuildError::Io { path, error }
}

/// One app, as far as it is made without the others.
struct Packed {
    file: String,
    text: String,
    app: App,
    declaration: Vec<u8>,
    deflated: Vec<u8>,
    component_sha256: Digest,
}

fn read(apps: &Path, file: &Path) -> Result<Packed, BuildError> {
    let text = std::fs::read_to_string(file).map_err(io(file))?;
    let name = file.display().to_string();
    let beside = file.parent().map_or_else(Beside::default, |folder| Beside::read(&text, folder));
    let app = source::parse_with(&name, &text, &beside).map_err(BuildError::Problems)?;
    if let Some(problem) = misplaced(apps, &name, file, &app) {
        return Err(BuildError::Problems(Problems(vec![problem])));
    }
    if !app.hooks().is_empty() {
        let message = "a rule wants a hook, and built-in apps are data alone".to_owned();
        let help = Some("build it with `deputy app build` and install the component".to_owned());
        let problem = Problem { file: name, line: 1, column: 1, span: 0..0, message, help };
        return Err(BuildError::Problems(Problems(vec![problem])));
    }
    let image = |error| BuildError::Image { app: app.slug.clone(), error };
    let component_sha256 = digest(&SHA256, &image::component(&app).map_err(image)?);
    let declaration = serde_json::to_vec(&app)
        .map_err(|error| image(ImageError::Value { path: "app".into(), message: error.to_string() }))?;
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::best());
    let deflated = encoder.write_all(&declaration).and_then(|()| encoder.finish()).map_err(io(file))?;
    Ok(Packed { file: name, text, app, declaration, deflated, component_sha256 })
}

/// A folder whose name is not its slug, or that stands under the wrong letter.
fn misplaced(apps: &Path, name: &str, file: &Path, app: &App) -> Option<Problem> {
    let letter = app.slug.get(..1)?;
    let wanted = format!("{letter}/{}", app.slug);
    let folder = file.parent()?.strip_prefix(apps).ok()?.to_string_lossy().replace('\\', "/");
    (folder != wanted).then(|| Problem {
        file: name.to_owned(),
        line: 1,
        column: 1,
        span: 0..0,
        message: format!("the app `{}` stands in the folder `{folder}`", app.slug),
        help: Some(format!("move it to `{wanted}`")),
    })
}

fn lay_out(apps: &[Packed]) -> Result<Vec<u8>, BuildError> {
    let number = |number: usize| u32::try_from(number).map(u32::to_le_bytes).map_err(|_| BuildError::TooLarge);
    let mut index = Vec::with_capacity(HEADER_BYTES + apps.len() * ENTRY_BYTES);
    index.extend_from_slice(MAGIC);
    index.extend_from_slice(&FORMAT.to_le_bytes());
    index.extend_from_slice(&number(apps.len())?);
    let texts_start = HEADER_BYTES + apps.len() * ENTRY_BYTES;
    let texts: Vec<_> = apps.iter().map(|packed| texts(&packed.app)).collect();
    let mut declaration_at = texts_start + texts.iter().flatten().map(String::len).sum::<usize>();
    let mut text_at = texts_start;
    for (packed, texts) in apps.iter().zip(&texts) {
        let app = &packed.app;
        let level: u8 = match app.evidence.level {
            EvidenceLevel::Facts => 0,
            EvidenceLevel::Checked => 1,
            EvidenceLevel::Verified => 2,
        };
        index.extend_from_slice(&[level, u8::from(app.logo.is_some()), 0, 0]);
        index.extend_from_slice(&number(packed.declaration.len())?);
        for text in texts {
            index.extend_from_slice(&number(text_at)?);
            index.extend_from_slice(&number(text.len())?);
            text_at += text.len();
        }
        index.extend_from_slice(&number(declaration_at)?);
        index.extend_from_slice(&number(packed.deflated.len())?);
        declaration_at += packed.deflated.len();
        index.extend_from_slice(packed.component_sha256.as_ref());
        index.extend_from_slice(digest(&SHA256, &packed.declaration).as_ref());
    }
    texts.iter().flatten().for_each(|text| index.extend_from_slice(text.as_bytes()));
    apps.iter().for_each(|packed| index.extend_from_slice(&packed.deflated));
    Ok(index)
}

/// What lists and searches read.
fn texts(app: &App) -> [String; super::SPANS - 1] {
    let methods: Vec<_> = app.methods.iter().map(|method| format!("{} {}", method.kind.word(), method.id)).collect();
    [
        app.slug.clone(),
        app.name.clone(),
        app.summary.clone(),
        app.evidence.date.clone(),
        app.categories.join("\n"),
        methods.join("\n"),
    ]
}

/// Writes pack and sidecar into `folder`. A file whose content stays is left alone, so that nothing is built anew
/// for it; the sidecar comes last, so that it never vouches for an older pack.
pub fn write(built: &Built, folder: &Path) -> Result<PathBuf, BuildError> {
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
