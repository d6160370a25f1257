//! An answer's body as a file: streamed, private (0600), and there whole or not at all.

use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use data_encoding::HEXLOWER;
use futures_util::StreamExt;
use http::{HeaderMap, header};
use serde_json::{Value, json};
use tokio::fs::{File, OpenOptions};
use tokio::io::AsyncWriteExt;
use uuid::Uuid;

use super::CallError;
use crate::egress::AnswerBody;
use crate::step::props::short;

/// How many numbered names are tried.
const MAX_NUMBER: u32 = 1_000;

/// Where a call may put files: the caller's choice, never the call's.
#[derive(Debug, Clone)]
pub struct Files {
    /// Made when it is not there.
    pub folder: PathBuf,
    pub taken: Taken,
}

/// What happens where a file of the name is there already.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Taken {
    /// The new one takes its place, once it is whole.
    Replace,
    /// The new one is called `name-2.txt`.
    Number,
}

/// A name, and nothing else: no folder, no way out of one. At most 200 bytes, so that a number fits behind it.
pub(super) fn check_name(name: &str) -> Result<(), CallError> {
    let plain = !name.is_empty()
        && name.len() <= 200
        && name != "."
        && name != ".."
        && !name.contains(['/', '\\', ':'])
        && !name.chars().any(char::is_control);
    if plain {
        return Ok(());
    }
    Err(CallError::invalid(
        format!("`{}` is no file name", short(name)),
        "save under a plain name such as report.pdf, without folders",
    ))
}

impl Files {
    /// Before anything is sent: an answer that cannot be kept should not be asked for.
    pub(super) async fn prepare(&self) -> Result<(), CallError> {
        let mut builder = tokio::fs::DirBuilder::new();
        builder.recursive(true);
        #[cfg(unix)]
        builder.mode(0o700);
        builder.create(&self.folder).await.map_err(|error| failed(&self.folder, &error))
    }

    /// The body to its end. Whatever ends it early leaves no file behind.
    pub(super) async fn keep(&self, name: &str, headers: &HeaderMap, mut body: AnswerBody) -> Result<Value, CallError> {
        let part = Part(self.folder.join(format!(".{name}.{}", Uuid::new_v4().simple())));
        let mut file = create(&part.0).await.map_err(|error| failed(&part.0, &error))?;
        let mut hash = Context::new(&SHA256);
        let mut size = 0_u64;
        while let Some(chunk) = body.next().await {
            let chunk = chunk?;
            hash.update(&chunk);
            size += chunk.len() as u64;
            file.write_all(&chunk).await.map_err(|error| failed(&part.0, &error))?;
        }
        file.sync_all().await.map_err(|error| failed(&part.0, &error))?;
        drop(file);
        let path = self.free(name).await?;
        tokio::fs::rename(&part.0, &path).await.map_err(|error| failed(&path, &error))?;
        let content_type = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
        Ok(json!({
            "path": path.to_string_lossy(),
            "bytes": size,
            "sha256": HEXLOWER.encode(hash.finish().as_ref()),
            "content_type": content_type,
        }))
    }

    /// A path that is ours: an empty file holds a new name until the whole one takes its place.
    async fn free(&self, name: &str) -> Result<PathBuf, CallError> {
        let mut path = self.folder.join(name);
        if self.taken == Taken::Replace {
            return Ok(path);
        }
        for number in 2..=MAX_NUMBER {
            match create(&path).await {
                Ok(_) => return Ok(path),
                Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
                    path = self.folder.join(numbered(name, number));
                }
                Err(error) => return Err(failed(&path, &error)),
            }
        }
        Err(failed(&path, &std::io::Error::from(std::io::ErrorKind::AlreadyExists)))
    }
}

/// `report.tar.gz` → `report-2.tar.gz`
fn numbered(name: &str, number: u32) -> String {
    // A dot in front is part of the name.
    match name.char_indices().skip(1).find(|(_, c)| *c == '.') {
        Some((dot, _)) => format!("{}-{number}{}", &name[..dot], &name[dot..]),
        None => format!("{name}-{number}"),
    }
}

async fn create(path: &Path) -> std::io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    options.mode(0o600);
    options.open(path).await
}

fn failed(path: &Path, error: &std::io::Error) -> CallError {
    CallError::Save {
        message: format!("cannot write {}: {error}", path.display()),
        fix: "check the folder, its permissions and the room on its disk".to_owned(),
    }
}

/// A file that is not whole yet: gone when it is dropped, unless it was renamed.
struct Part(PathBuf);

impl Drop for Part {
    fn drop(&mut self) {
        // After the rename there is nothing left to remove.
        let _ = std::fs::remove_file(&self.0);
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use futures_util::stream;
    use http::HeaderValue;

    use super::*;
    use crate::egress::EgressError;

    fn files(folder: &Path, taken: Taken) -> Files {
        Files { folder: folder.join("run"), taken }
    }

    fn body(chunks: &[&'static str]) -> AnswerBody {
        let chunks: Vec<_> = chunks.iter().map(|chunk| Ok(Bytes::from_static(chunk.as_bytes()))).collect();
        AnswerBody::from_stream(stream::iter(chunks))
    }

    fn entries(folder: &Path) -> Vec<String> {
        let mut names: Vec<_> = std::fs::read_dir(folder.join("run"))
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_body_becomes_a_private_file_and_its_facts() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), Taken::Number);
        files.prepare().await.unwrap();
        let mut headers = HeaderMap::new();
        headers.insert("content-type", HeaderValue::from_static("text/plain"));
        let value = files.keep("a.txt", &headers, body(&["ab", "c"])).await.unwrap();
        let path = folder.path().join("run/a.txt");
        let expected = json!({
            "path": path.to_string_lossy(),
            "bytes": 3,
            "sha256": "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad",
            "content_type": "text/plain",
        });
        assert_eq!(value, expected);
        assert_eq!(std::fs::read_to_string(&path).unwrap(), "abc");
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        }
    }

    #[tokio::test]
    async fn a_name_that_is_taken_gets_a_number_or_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let numbering = files(folder.path(), Taken::Number);
        numbering.prepare().await.unwrap();
        for _ in 0..3 {
            numbering.keep("a.tar.gz", &HeaderMap::new(), body(&["x"])).await.unwrap();
        }
        assert_eq!(entries(folder.path()), ["a-2.tar.gz", "a-3.tar.gz", "a.tar.gz"]);
        files(folder.path(), Taken::Replace).keep("a.tar.gz", &HeaderMap::new(), body(&["new"])).await.unwrap();
        assert_eq!(std::fs::read_to_string(folder.path().join("run/a.tar.gz")).unwrap(), "new");
        assert_eq!(entries(folder.path()).len(), 3);
    }

    #[tokio::test]
    async fn a_body_that_breaks_leaves_nothing_behind() {
        let folder = tempfile::tempdir().unwrap();
        let files = files(folder.path(), Taken::Number);
        files.prepare().await.unwrap();
        let broken = EgressError::Protocol { host: "h".to_owned(), reason: "cut short".to_owned() };
        let body = AnswerBody::from_stream(stream::iter([Ok(Bytes::from_static(b"x")), Err(broken)]));
        assert!(files.keep("a", &HeaderMap::new(), body).await.is_err());
        assert_eq!(entries(folder.path()), [""; 0]);
    }

    #[test]
    fn only_plain_names_are_taken() {
        for name in ["a", "report.pdf", ".hidden", "ä b.txt", "a..b"] {
            assert!(check_name(name).is_ok(), "{name}");
        }
        for name in ["", ".", "..", "a/b", "../a", "/a", "a\\b", "c:a", "a\n", "a\0", &"x".repeat(201)] {
            assert!(check_name(name).is_err(), "{name:?}");
        }
        assert_eq!(numbered(".env", 2), ".env-2");
        assert_eq!(numbered("a", 2), "a-2");
    }
}
