//! The built binary `deputy`, each with data, config and home of its own.

use std::ffi::OsStr;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::provider::Provider;

/// Ends a command that hangs, so that the test says which one it was. No test measures time by it.
const PATIENCE: Duration = Duration::from_secs(120);

pub struct Deputy {
    folder: TempDir,
}

impl Deputy {
    /// A fresh machine whose operator lets these private addresses through.
    pub fn new(allow: &[SocketAddr]) -> Self {
        Self::configured(allow, "")
    }

    /// The same, with hosts that requests without an account may reach.
    pub fn with_plain(allow: &[SocketAddr], plain: &[SocketAddr]) -> Self {
        let plain: Vec<_> = plain.iter().map(|address| format!("\"{address}\"")).collect();
        // Right behind the keys of `[egress]`.
        Self::configured(allow, &format!("plain = [{}]\n", plain.join(", ")))
    }

    /// With more lines at the end of its `deputy.toml`.
    pub fn configured(allow: &[SocketAddr], more: &str) -> Self {
        let folder = tempfile::tempdir().expect("a temporary folder");
        for name in ["data", "config", "home"] {
            std::fs::create_dir(folder.path().join(name)).expect("a folder");
        }
        let allow: Vec<_> = allow.iter().map(|address| format!("\"{address}\"")).collect();
        let config = format!(
            "[callback]\nlisten = \"{}\"\n\n[egress]\nallow = [{}]\n\n{more}",
            super::free_address(),
            allow.join(", ")
        );
        std::fs::write(folder.path().join("config/deputy.toml"), config).expect("deputy.toml");
        Self { folder }
    }

    /// One to whom a provider's names lead to it, and its certificate is good.
    pub fn before(provider: &Provider) -> Self {
        let deputy = Self::new(&[provider.address]);
        let config = deputy.folder().join("config");
        let file = config.join("deputy.toml");
        let text = std::fs::read_to_string(&file).expect("deputy.toml");
        let more = format!("[egress]\n{}", provider.egress(&config));
        std::fs::write(&file, text.replace("[egress]\n", &more)).expect("deputy.toml");
        deputy
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The command in this machine's own environment and no other.
    pub fn command<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Command {
        let home = self.folder.path().join("home");
        let mut command = Command::new(binary());
        command
            .env_clear()
            .current_dir(&home)
            .env("HOME", &home)
            .env("PATH", std::env::var_os("PATH").unwrap_or_default());
        command.env("DEPUTY_DATA", self.folder.path().join("data"));
        command.env("DEPUTY_CONFIG", self.folder.path().join("config"));
        command.args(arguments.iter().map(AsRef::as_ref));
        command
    }

    /// Runs a command to its end with nothing on standard input.
    pub fn run(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, b"")
    }

    pub fn run_with(&self, arguments: &[&str], stdin: &[u8]) -> Ended {
        let mut running = Running::start(self.command(arguments), arguments);
        running.say(stdin);
        running.wait()
    }

    /// Runs with `--json`, which must succeed, and reads the last line.
    #[track_caller]
    pub fn json(&self, arguments: &[&str]) -> Value {
        self.json_with(arguments, b"")
    }

    #[track_caller]
    pub fn json_with(&self, arguments: &[&str], stdin: &[u8]) -> Value {
        let ended = self.run_with(&with_json(arguments), stdin);
        assert_eq!(ended.code(), Some(0), "{ended}");
        ended.last_json()
    }

    /// Runs with `--json`, which must fail with 1, and gives the error object.
    #[track_caller]
    pub fn fails(&self, arguments: &[&str]) -> Value {
        self.fails_with(arguments, b"")
    }

    #[track_caller]
    pub fn fails_with(&self, arguments: &[&str], stdin: &[u8]) -> Value {
        self.run_with(&with_json(arguments), stdin).error()
    }

    /// Starts a command that waits for something, with `--json`.
    pub fn start(&self, arguments: &[&str]) -> Running {
        let arguments = with_json(arguments);
        Running::start(self.command(&arguments), &arguments)
    }

    /// Installs an app from the text of its `app.toml`.
    #[track_caller]
    pub fn install(&self, app_toml: &str) {
        let folder = self.folder.path().join("app");
        std::fs::create_dir_all(&folder).expect("a folder");
        std::fs::write(folder.join("app.toml"), app_toml).expect("app.toml");
        let ended = self.run(&["app", "install", &folder.to_string_lossy(), "--json"]);
        assert_eq!(ended.code(), Some(0), "{ended}\n{app_toml}");
    }

    /// Names of the accounts there are.
    #[track_caller]
    pub fn accounts(&self) -> Vec<String> {
        let list = self.json(&["account", "list"]);
        let accounts = list["accounts"].as_array().unwrap_or_else(|| panic!("no accounts in {list}"));
        accounts.iter().map(|account| super::text(account, "name")).collect()
    }
}

fn with_json<'a>(arguments: &[&'a str]) -> Vec<&'a str> {
    arguments.iter().copied().chain(["--json"]).collect()
}

/// Where cargo put the binary: two folders above the test's own.
fn binary() -> PathBuf {
    let own = std::env::current_exe().expect("the path of this test");
    let folder = own.parent().and_then(Path::parent).expect("target/debug/deps/…");
    let binary = folder.join(format!("deputy{}", std::env::consts::EXE_SUFFIX));
    assert!(binary.is_file(), "{} is missing: run `cargo xtask build`", binary.display());
    binary
}

/// A command under way. Killed when dropped.
pub struct Running {
    child: Child,
    shown: String,
    stdout: Option<BufReader<std::process::ChildStdout>>,
    stderr: Option<JoinHandle<Vec<u8>>>,
    /// What [`line`](Self::line) already took from standard output.
    read: Vec<u8>,
    deadline: Instant,
}

impl Running {
    fn start<S: AsRef<OsStr>>(mut command: Command, arguments: &[S]) -> Self {
        let shown: Vec<_> = arguments.iter().map(|argument| argument.as_ref().to_string_lossy().into_owned()).collect();
        let shown = format!("deputy {}", shown.join(" "));
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot start `{shown}`: {error}"));
        let stdout = child.stdout.take().map(BufReader::new);
        let stderr = child.stderr.take().map(read_aside);
        Self { child, shown, stdout, stderr, read: Vec::new(), deadline: Instant::now() + PATIENCE }
    }

    /// Writes standard input and closes it. A command that ended without reading it is no failure here.
    pub fn say(&mut self, stdin: &[u8]) {
        if let Some(mut pipe) = self.child.stdin.take() {
            match pipe.write_all(stdin) {
                Ok(()) => {}
                Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {}
                Err(error) => panic!("cannot write to `{}`: {error}", self.shown),
            }
        }
    }

    /// The next line of standard output, as JSON.
    #[track_caller]
    pub fn line(&mut self) -> Value {
        let mut reader = self.stdout.take().expect("standard output is still open");
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let mut line = Vec::new();
            let result = reader.read_until(b'\n', &mut line);
            // The receiver is gone only when the test gave up waiting.
            let _ = sender.send((reader, line, result));
        });
        let Ok((reader, line, result)) = receiver.recv_timeout(self.deadline.saturating_duration_since(Instant::now()))
        else {
            panic!("`{}` printed no line", self.shown);
        };
        result.unwrap_or_else(|error| panic!("cannot read from `{}`: {error}", self.shown));
        self.stdout = Some(reader);
        self.read.extend_from_slice(&line);
        match serde_json::from_slice(&line) {
            Ok(value) => value,
            Err(_) => panic!("`{}` printed {:?} instead of a line of JSON", self.shown, String::from_utf8_lossy(&line)),
        }
    }

    pub fn wait(mut self) -> Ended {
        drop(self.child.stdin.take());
        let rest = self.stdout.take().map(read_aside);
        let status = loop {
            match self.child.try_wait() {
                Ok(Some(status)) => break status,
                Ok(None) if Instant::now() < self.deadline => std::thread::sleep(Duration::from_millis(5)),
                Ok(None) => {
                    let _ = self.child.kill();
                    panic!("`{}` did not end", self.shown);
                }
                Err(error) => panic!("cannot wait for `{}`: {error}", self.shown),
            }
        };
        let mut stdout = std::mem::take(&mut self.read);
        stdout.extend(rest.map(|rest| rest.join().expect("standard output")).unwrap_or_default());
        let stderr = self.stderr.take().map(|rest| rest.join().expect("standard error")).unwrap_or_default();
        Ended { shown: self.shown.clone(), status, stdout, stderr }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn read_aside(mut from: impl Read + Send + 'static) -> JoinHandle<Vec<u8>> {
    std::thread::spawn(move || {
        let mut bytes = Vec::new();
        // What came before an error is still worth showing.
        let _ = from.read_to_end(&mut bytes);
        bytes
    })
}

/// A command that ended.
pub struct Ended {
    shown: String,
    pub status: ExitStatus,
    pub stdout: Vec<u8>,
    pub stderr: Vec<u8>,
}

impl Ended {
    /// None when a signal ended it.
    pub fn code(&self) -> Option<i32> {
        self.status.code()
    }

    #[track_caller]
    pub fn last_json(&self) -> Value {
        let text = String::from_utf8_lossy(&self.stdout);
        let line = text.lines().last().unwrap_or_default();
        serde_json::from_str(line).unwrap_or_else(|error| panic!("the last line is no JSON ({error}): {self}"))
    }

    /// The error object of a command that failed with 1.
    #[track_caller]
    pub fn error(&self) -> Value {
        assert_eq!(self.code(), Some(1), "{self}");
        let value = self.last_json();
        let error = value.get("error").unwrap_or_else(|| panic!("no error object: {self}"));
        for key in ["code", "message"] {
            assert!(error[key].as_str().is_some_and(|text| !text.is_empty()), "no `{key}`: {self}");
        }
        error.clone()
    }

    /// No secret stands in anything that was printed.
    #[track_caller]
    pub fn assert_holds_none_of(&self, secrets: &[String]) {
        assert!(!secrets.is_empty(), "there are no secrets to look for");
        for stream in [&self.stdout, &self.stderr] {
            let text = String::from_utf8_lossy(stream);
            for secret in secrets {
                assert!(!text.contains(secret.as_str()), "a secret was printed: {self}");
            }
        }
    }
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let shorten = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(4096)]).into_owned();
        write!(f, "`{}` ended with {}", self.shown, self.status)?;
        write!(f, "\n--- stdout\n{}\n--- stderr\n{}", shorten(&self.stdout), shorten(&self.stderr))
    }
}
