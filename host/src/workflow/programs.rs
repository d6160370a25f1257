//! The programs of deployed workflows: files named by their hash, `programs/<sha256>` in the data folder.
//!
//! A file is fsynced before a version names it, and hashed again before it runs: whoever can write the folder cannot
//! make a workflow run something else. Nothing is deleted: versions never change, and may be asked for again.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;

use super::WorkflowError;
use crate::step::{Program, Script};

/// Programs kept in memory, each as large as its file.
const MOST_CACHED: usize = 32;

#[derive(Debug)]
pub struct Programs {
    folder: PathBuf,
    cached: Mutex<HashMap<String, Arc<[u8]>>>,
}

/// The name of a program: SHA-256 in hex.
pub fn hash(bytes: &[u8]) -> String {
    HEXLOWER.encode(digest(&SHA256, bytes).as_ref())
}

pub fn bytes(program: &Program) -> &[u8] {
    match program {
        Program::Component(bytes) => bytes,
        Program::Script(script) => script.source.as_bytes(),
    }
}

impl Programs {
    /// Makes no folder yet.
    pub fn new(data: &Path) -> Self {
        Self { folder: data.join("programs"), cached: Mutex::default() }
    }

    /// Durable when it returns; gives the hash. A second time changes nothing.
    pub fn keep(&self, program: &[u8]) -> Result<String, WorkflowError> {
        let name = hash(program);
        let path = self.folder.join(&name);
        let failed = |error: io::Error| WorkflowError::Program {
            what: "keep the program",
            path: path.clone(),
            reason: error.to_string(),
        };
        match fs::read(&path) {
            Ok(known) if known == program => return Ok(name),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(failed(error)),
        }
        self.write(&path, program).map_err(failed)?;
        Ok(name)
    }

    fn write(&self, path: &Path, program: &[u8]) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder)?;
        let temporary = path.with_extension(format!("{}.tmp", std::process::id()));
        let mut file = fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
        file.write_all(program)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        File::open(&self.folder)?.sync_all()?;
        // The folder's own name, where it was made just now.
        if let Some(data) = self.folder.parent() {
            File::open(data)?.sync_all()?;
        }
        Ok(())
    }

    /// The program of a hash; `named` is the path in the workflow's file, which says whether it is a script.
    pub fn load(&self, hash: &str, named: &str) -> Result<Program, WorkflowError> {
        let known = self.cached.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned();
        let bytes = match known {
            Some(bytes) => bytes,
            None => self.read(hash)?,
        };
        program(bytes, named)
    }

    fn read(&self, name: &str) -> Result<Arc<[u8]>, WorkflowError> {
        // A hash of a sealed record; a path it can never be.
        if name.len() != 64 || !name.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(WorkflowError::Damaged("a version names no program".to_owned()));
        }
        let path = self.folder.join(name);
        let bytes: Arc<[u8]> = match fs::read(&path) {
            Ok(bytes) => bytes.into(),
            Err(error) => {
                return Err(WorkflowError::Program { what: "read the program", path, reason: error.to_string() });
            }
        };
        if hash(&bytes) != name {
            return Err(WorkflowError::ProgramChanged { path });
        }
        let mut cached = self.cached.lock().unwrap_or_else(PoisonError::into_inner);
        if cached.len() >= MOST_CACHED {
            cached.clear();
        }
        cached.insert(name.to_owned(), bytes.clone());
        Ok(bytes)
    }
}

/// A component, or a script: by what it is and how it is named, as where it was checked.
fn program(bytes: Arc<[u8]>, named: &str) -> Result<Program, WorkflowError> {
    let path = Path::new(named);
    let is_script = path.extension().is_some_and(|extension| extension == "js" || extension == "mjs");
    if bytes.starts_with(b"\0asm") || !is_script {
        return Ok(Program::Component(bytes));
    }
    let source =
        std::str::from_utf8(&bytes).map_err(|_| WorkflowError::Damaged(format!("the program {named} is not UTF-8")))?;
    let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    Ok(Program::Script(Script { name, source: source.into() }))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_program_is_kept_once_for_its_owner_alone_and_checked_before_it_runs() {
        let data = tempfile::tempdir().unwrap();
        let programs = Programs::new(data.path());
        let hash = programs.keep(b"export default 1").unwrap();
        assert_eq!(programs.keep(b"export default 1").unwrap(), hash);
        let path = data.path().join("programs").join(&hash);
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(data.path().join("programs")).unwrap().count(), 1, "nothing else is left");
        match programs.load(&hash, "steps/one.js").unwrap() {
            Program::Script(script) => assert_eq!((&*script.name, &*script.source), ("one.js", "export default 1")),
            Program::Component(_) => panic!("a script"),
        }
        fs::write(&path, "export default 2").unwrap();
        let fresh = Programs::new(data.path());
        assert_eq!(fresh.load(&hash, "one.js").unwrap_err().code(), "program_changed");
        assert_eq!(fresh.load("../../etc/passwd", "one.js").unwrap_err().code(), "record_refused");
        assert_eq!(fresh.keep(b"export default 1").unwrap(), hash, "deploying again repairs it");
        assert!(fresh.load(&hash, "one.js").is_ok());
    }
}
