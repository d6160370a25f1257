//! Compiled components on disk, so that a component is compiled once per machine and not once per process.
//!
//! A compiled artifact is native code that runs outside the sandbox, so the folder is trusted as much as the binary:
//!
//! - it belongs to this user and is closed to others (0700, files 0600); anything else in it is ignored and replaced;
//! - a file is found only under the hash of the component's bytes and of everything that decides how they are
//!   compiled, the exact wasmtime version included: code made by an older version with a fault is not loaded;
//! - the bytes that are checked are the bytes that are loaded, and they begin with their own digest: a torn or rotten
//!   file is compiled anew;
//! - files appear by rename, whole or not at all.
//!
//! Bounds: [`MAX_CACHE_BYTES`]; the oldest files go first.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::hash::{Hash, Hasher};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256, SHA256_OUTPUT_LEN, digest};
use wasmtime::Engine;
use wasmtime::component::Component;

use super::WasmError;

/// A thousand ordinary steps at 200 KB, or forty script engines at 6 MB.
pub const MAX_CACHE_BYTES: u64 = 256 << 20;

/// Larger than the artifact of the largest component; a file beyond is not ours.
const MAX_ARTIFACT_BYTES: u64 = 512 << 20;

const EXTENSION: &str = "compiled";

#[derive(Debug)]
pub struct Cache {
    folder: PathBuf,
    /// Everything that decides how this engine compiles.
    compatibility: [u8; SHA256_OUTPUT_LEN],
}

impl Cache {
    /// Opens the folder, and makes it if there is none.
    ///
    /// # Errors
    /// When the folder is not ours or others may enter it.
    pub fn open(folder: &Path, engine: &Engine) -> Result<Self, WasmError> {
        let fail = |what| move |source| WasmError::Cache { what, path: folder.to_owned(), source };
        DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(fail("cannot make"))?;
        let metadata = fs::symlink_metadata(folder).map_err(fail("cannot read"))?;
        if !metadata.is_dir() || !private(&metadata) {
            let source = io::Error::new(
                io::ErrorKind::PermissionDenied,
                "compiled code is kept only in a folder of this user that is closed to others",
            );
            return Err(fail("cannot use")(source));
        }
        Ok(Self { folder: folder.to_owned(), compatibility: compatibility(engine) })
    }

    pub fn key(&self, component: &[u8]) -> String {
        let mut context = Context::new(&SHA256);
        context.update(&self.compatibility);
        context.update(component);
        data_encoding::HEXLOWER.encode(context.finish().as_ref())
    }

    /// The component, if a sound artifact is there.
    pub fn load(&self, engine: &Engine, key: &str) -> Option<Component> {
        let path = self.path(key);
        let bytes = match read_private(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return None,
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a compiled component is not usable; compiling again");
                return None;
            }
        };
        let (sum, artifact) = bytes.split_at_checked(SHA256_OUTPUT_LEN)?;
        if digest(&SHA256, artifact).as_ref() != sum {
            tracing::warn!(path = %path.display(), "a compiled component is damaged; compiling again");
            return None;
        }
        // SAFETY: `deserialize` wants an artifact made by `serialize` of a compatible engine and not changed since.
        // The file lay in a folder and under an owner and mode that only this user (who could replace this binary
        // as well) can write, its name binds it to this engine's full configuration and version, and its digest
        // says that it is whole. No artifact comes from anywhere else: `to_component` refuses them.
        match unsafe { Component::deserialize(engine, artifact) } {
            Ok(component) => Some(component),
            Err(error) => {
                tracing::warn!(%error, path = %path.display(), "a compiled component does not load; compiling again");
                None
            }
        }
    }

    pub fn save(&self, key: &str, artifact: &[u8]) -> Result<(), WasmError> {
        let path = self.path(key);
        let fail = |source| WasmError::Cache { what: "cannot write", path: path.clone(), source };
        let temporary = self.folder.join(format!("{key}.{}", uuid::Uuid::new_v4().simple()));
        let written = (|| {
            let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&temporary)?;
            file.write_all(digest(&SHA256, artifact).as_ref())?;
            file.write_all(artifact)?;
            fs::rename(&temporary, &path)
        })();
        if let Err(source) = written {
            // It may not exist; what matters is the first error.
            let _ = fs::remove_file(&temporary);
            return Err(fail(source));
        }
        self.sweep(MAX_CACHE_BYTES).map_err(fail)
    }

    fn path(&self, key: &str) -> PathBuf {
        self.folder.join(format!("{key}.{EXTENSION}"))
    }

    /// Removes the oldest files beyond `limit` bytes, and what a crash left.
    fn sweep(&self, limit: u64) -> io::Result<()> {
        let mut files = Vec::new();
        for entry in fs::read_dir(&self.folder)? {
            let entry = entry?;
            // Another process may have swept it.
            let Ok(metadata) = entry.metadata() else { continue };
            if metadata.is_file() {
                files.push((metadata.modified()?, metadata.len(), entry.path()));
            }
        }
        files.sort_by_key(|(modified, ..)| std::cmp::Reverse(*modified));
        let mut total = 0_u64;
        for (modified, bytes, path) in files {
            total = total.saturating_add(bytes);
            let left_over = path.extension().is_none_or(|extension| extension != EXTENSION)
                && modified.elapsed().is_ok_and(|age| age.as_secs() > 3_600);
            if total > limit || left_over {
                match fs::remove_file(&path) {
                    Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// Of this user, and closed to everybody else.
fn private(metadata: &fs::Metadata) -> bool {
    metadata.uid() == rustix::process::geteuid().as_raw() && metadata.mode() & 0o077 == 0
}

/// The file's bytes, if it is a plain file of ours.
fn read_private(path: &Path) -> io::Result<Vec<u8>> {
    let flags = rustix::fs::OFlags::NOFOLLOW.bits().cast_signed();
    let file = File::options().read(true).custom_flags(flags).open(path)?;
    let metadata = file.metadata()?;
    if !metadata.is_file() || !private(&metadata) {
        return Err(io::Error::new(io::ErrorKind::PermissionDenied, "not a private file of this user"));
    }
    let mut bytes = Vec::new();
    file.take(MAX_ARTIFACT_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The engine's whole compilation environment: target, CPU flags, tunables, wasm features, wasmtime's version.
fn compatibility(engine: &Engine) -> [u8; SHA256_OUTPUT_LEN] {
    struct Sha(Context);
    impl Hasher for Sha {
        fn write(&mut self, bytes: &[u8]) {
            self.0.update(bytes);
        }
        /// Not asked: the digest is taken whole.
        fn finish(&self) -> u64 {
            0
        }
    }
    let mut hasher = Sha(Context::new(&SHA256));
    hasher.write(b"deputy compiled component 1\0");
    hasher.write(env!("CARGO_PKG_VERSION").as_bytes());
    engine.precompile_compatibility_hash().hash(&mut hasher);
    let mut out = [0; SHA256_OUTPUT_LEN];
    out.copy_from_slice(hasher.0.finish().as_ref());
    out
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::wasm::{Class, Limits, Room, fixtures};

    struct House {
        folder: tempfile::TempDir,
        room: Room,
        component: Vec<u8>,
    }

    impl House {
        fn new() -> Self {
            let folder = tempfile::tempdir().unwrap();
            let room = Room::new(Class::Apps, Limits::apps(), 1, Some(&folder.path().join("cache"))).unwrap();
            let component = fixtures::app(fixtures::TRAP);
            room.component_now(&component).unwrap();
            Self { folder, room, component }
        }

        fn cache(&self) -> Cache {
            Cache::open(&self.folder.path().join("cache"), self.room.engine()).unwrap()
        }

        fn file(&self) -> PathBuf {
            let cache = self.cache();
            cache.path(&cache.key(&self.component))
        }

        fn hit(&self) -> bool {
            let cache = self.cache();
            cache.load(self.room.engine(), &cache.key(&self.component)).is_some()
        }
    }

    #[test]
    fn a_compiled_component_is_found_again_and_private() {
        let house = House::new();
        assert!(house.hit());
        assert_eq!(fs::metadata(house.file()).unwrap().mode() & 0o777, 0o600);
        assert_eq!(fs::metadata(house.folder.path().join("cache")).unwrap().mode() & 0o777, 0o700);
    }

    #[test]
    fn a_damaged_file_is_compiled_again() {
        let house = House::new();
        let mut bytes = fs::read(house.file()).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 1;
        fs::write(house.file(), &bytes).unwrap();
        assert!(!house.hit(), "one flipped bit");
        house.room.component_now(&house.component).unwrap();
        assert!(house.hit(), "compiling again replaced it");

        for bytes in [&b""[..], b"short", &[0; 4096]] {
            fs::write(house.file(), bytes).unwrap();
            assert!(!house.hit(), "{} bytes", bytes.len());
        }
    }

    #[test]
    fn what_others_may_write_is_not_loaded() {
        let house = House::new();
        fs::set_permissions(house.file(), fs::Permissions::from_mode(0o666)).unwrap();
        assert!(!house.hit());

        fs::set_permissions(house.file(), fs::Permissions::from_mode(0o600)).unwrap();
        let elsewhere = house.folder.path().join("elsewhere");
        fs::rename(house.file(), &elsewhere).unwrap();
        std::os::unix::fs::symlink(&elsewhere, house.file()).unwrap();
        assert!(!house.hit(), "a link leads out of the folder");

        let open = house.folder.path().join("open");
        fs::create_dir(&open).unwrap();
        fs::set_permissions(&open, fs::Permissions::from_mode(0o755)).unwrap();
        let error = Cache::open(&open, house.room.engine()).unwrap_err();
        assert_eq!(error.code(), "wasm_cache");
        assert!(error.fix().unwrap().contains("0700"));
    }

    #[test]
    fn another_engine_finds_nothing() {
        let house = House::new();
        let other = Room::new(Class::Inspecting, Limits::steps(), 1, None).unwrap();
        let cache = Cache::open(&house.folder.path().join("cache"), other.engine()).unwrap();
        assert_ne!(cache.key(&house.component), house.cache().key(&house.component));
        assert!(cache.load(other.engine(), &cache.key(&house.component)).is_none());
    }

    #[test]
    fn an_artifact_from_outside_is_refused_before_it_is_read() {
        let house = House::new();
        let artifact = house.room.component_now(&house.component).unwrap().serialize().unwrap();
        let error = crate::wasm::load::to_component(&artifact).unwrap_err();
        assert_eq!(error.code(), "wasm_precompiled");
        assert!(error.fix().unwrap().contains(".wasm"));
    }

    #[test]
    fn the_oldest_go_first() {
        let house = House::new();
        let cache = house.cache();
        cache.save("newer", &[1; 100]).unwrap();
        let newer = cache.path("newer");
        let old = File::options().write(true).open(house.file()).unwrap();
        old.set_modified(std::time::SystemTime::UNIX_EPOCH).unwrap();
        cache.sweep(200).unwrap();
        assert!(newer.exists() && !house.file().exists());
    }
}
