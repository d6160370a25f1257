//! The apps folder: `<hash>.wasm`, `<hash>.json`, and `installed.json`, the lock file: which version each name stands for,
//! by hash, and where it came from.
//!
//! The hash of a version is SHA-256 over the SHA-256 of the component and the SHA-256 of the declaration's JSON bytes.
//! Both files are read and hashed before a declaration is believed. Every write is temporary file, fsync, rename, fsync
//! of the folder; `installed.json` comes last, so a crash leaves at most unnamed files. A lock file serialises those who
//! change it.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use serde::{Deserialize, Serialize};

use super::AppError;
use crate::time::Time;

/// `installed.json`: which version each name stands for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Index {
    pub apps: BTreeMap<String, Name>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Name {
    pub hash: String,
    pub installed_at: Time,
    /// A file or a URL: what `app update` reads again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<String>,
}

/// The two files of a version.
pub(super) struct Version {
    pub component: Vec<u8>,
    pub declaration: Vec<u8>,
}

#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
}

/// Held while the index is read, changed and written; the system releases it with the process.
pub(super) struct Lock(#[allow(dead_code)] File);

pub(super) fn version_hash(component_sha256: &[u8], declaration_sha256: &[u8]) -> String {
    let both: Vec<u8> = component_sha256.iter().chain(declaration_sha256).copied().collect();
    HEXLOWER.encode(digest(&SHA256, &both).as_ref())
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

impl Files {
    /// Creates nothing: a folder that is not there holds nothing.
    pub fn new(folder: &Path) -> Self {
        Self { folder: folder.to_owned() }
    }

    pub fn index_path(&self) -> PathBuf {
        self.folder.join("installed.json")
    }

    pub fn index(&self) -> Result<Index, AppError> {
        let path = self.index_path();
        let Some(bytes) = read(&path)? else { return Ok(Index::default()) };
        serde_json::from_slice(&bytes).map_err(|error| AppError::Catalog { path, message: error.to_string() })
    }

    pub fn write_index(&self, index: &Index) -> Result<(), AppError> {
        let path = self.index_path();
        let bytes = serde_json::to_vec_pretty(index)
            .map_err(|error| AppError::Catalog { path: path.clone(), message: error.to_string() })?;
        self.write("installed.json", &bytes)
    }

    pub fn lock(&self) -> Result<Lock, AppError> {
        self.create()?;
        let path = self.folder.join("installed.lock");
        let fail = |error: io::Error| AppError::Io { path: path.clone(), error };
        let file =
            fs::OpenOptions::new().create(true).truncate(false).write(true).mode(0o600).open(&path).map_err(fail)?;
        rustix::fs::flock(&file, rustix::fs::FlockOperation::LockExclusive).map_err(|errno| fail(errno.into()))?;
        Ok(Lock(file))
    }

    /// Stores a version under its hash; a second time changes nothing.
    pub fn put(&self, hash: &str, component: &[u8], declaration: &[u8]) -> Result<(), AppError> {
        self.create()?;
        for (name, bytes) in [(format!("{hash}.wasm"), component), (format!("{hash}.json"), declaration)] {
            if read(&self.folder.join(&name))?.is_none_or(|old| old != bytes) {
                self.write(&name, bytes)?;
            }
        }
        Ok(())
    }

    /// The component and the declaration of a version, after both files were held against the hash.
    pub fn get(&self, hash: &str) -> Result<Option<Version>, AppError> {
        if hash.len() != 64 || !hash.bytes().all(|byte| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte)) {
            return Ok(None);
        }
        let path = self.folder.join(format!("{hash}.json"));
        let (Some(declaration), Some(component)) = (read(&path)?, read(&self.folder.join(format!("{hash}.wasm")))?)
        else {
            return Ok(None);
        };
        if version_hash(&sha256(&component), &sha256(&declaration)) != hash {
            return Err(AppError::Tampered { path });
        }
        Ok(Some(Version { component, declaration }))
    }

    fn create(&self) -> Result<(), AppError> {
        let fail = |error| AppError::Io { path: self.folder.clone(), error };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.folder).map_err(fail)
    }

    fn write(&self, name: &str, bytes: &[u8]) -> Result<(), AppError> {
        let path = self.folder.join(name);
        let temporary = self.folder.join(format!("{name}.{}.tmp", std::process::id()));
        let written = (|| {
            let mut file =
                fs::OpenOptions::new().create(true).truncate(true).write(true).mode(0o600).open(&temporary)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            File::open(&self.folder)?.sync_all()
        })();
        written.map_err(|error| AppError::Io { path, error })
    }
}

fn read(path: &Path) -> Result<Option<Vec<u8>>, AppError> {
    match fs::read(path) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(AppError::Io { path: path.to_owned(), error }),
    }
}
