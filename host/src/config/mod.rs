//! The configuration of one process: flag over `DEPUTY_*` over `deputy.toml` in the config folder over default.
//!
//! Fails closed: a key that is not known, a value out of bounds or an empty variable is an error that names its place.
//! Loading reads two files at most (`deputy.toml` and the `ca` it names) and makes none. Only the file widens egress:
//! there is no flag and no variable for it. `docs/configuration.md` lists every key.

mod error;
mod file;
mod reader;
#[cfg(test)]
mod tests;
mod values;

use std::fs;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use url::Url;

use crate::egress;
use crate::vault::{KEY_VARIABLE, KeySource, Secret};

pub use error::ConfigError;

/// The address of callback and server, unless said otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 7878);

/// What the flags say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Overrides {
    /// `--data`
    pub data: Option<PathBuf>,
    /// `--config`: a folder.
    pub config: Option<PathBuf>,
}

#[derive(Debug)]
pub struct Config {
    /// Where accounts and apps are kept. Absolute; may not exist yet.
    pub data: PathBuf,
    /// Where `deputy.toml` and the keys are. Absolute; may not exist yet.
    pub config: PathBuf,
    /// Where key files are: `keys` in the config folder. The vault refuses it inside the data folder.
    pub key_dir: PathBuf,
    /// `DEPUTY_KEY`, instead of a key file.
    pub key: Option<Secret>,
    pub egress: egress::Policy,
    pub callback: Callback,
    pub step: Step,
    pub serve: Serve,
}

/// Where providers send a browser back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Default [`DEFAULT_LISTEN`].
    pub listen: SocketAddr,
    /// The address as browsers see it, when it is not `listen`. https, or http on loopback; its path ends without a
    /// slash unless it is the root.
    pub public_url: Option<Url>,
}

/// `deputy serve`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Serve {
    /// Default [`DEFAULT_LISTEN`].
    pub listen: SocketAddr,
    /// The address that hooks are called at, when it is not `listen`. As [`Callback::public_url`].
    pub public_url: Option<Url>,
    /// Runs at a time, of all workflows together. Default 64.
    pub max_runs: usize,
}

impl Serve {
    /// In front of `/hooks/…`, without a slash at its end. `listening`: where a server that runs was told to listen.
    pub fn base(&self, listening: Option<SocketAddr>) -> String {
        match &self.public_url {
            Some(url) => url.as_str().trim_end_matches('/').to_owned(),
            None => format!("http://{}", listening.unwrap_or(self.listen)),
        }
    }
}

/// Defaults of steps, which a command may override for one run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Step {
    /// From the start of a run to its end, waiting included. Default one minute; 1 ms to one day.
    pub timeout_ms: u64,
}

impl Config {
    /// The configuration of this process. `env` looks a variable up.
    ///
    /// # Errors
    /// Names the file with line and column, or the variable, that is wrong.
    pub fn load(overrides: Overrides, env: &dyn Fn(&str) -> Option<String>) -> Result<Self, ConfigError> {
        let env = Environment(env);
        let config = env.folder(overrides.config, "DEPUTY_CONFIG", "XDG_CONFIG_HOME", ".config")?;
        let data = env.folder(overrides.data, "DEPUTY_DATA", "XDG_DATA_HOME", ".local/share")?;
        let path = config.join("deputy.toml");
        let file = match fs::read_to_string(&path) {
            Ok(text) => file::parse(&path, &text, &config)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => file::File::default(),
            Err(error) => return Err(ConfigError::Read { path, reason: error.to_string() }),
        };
        let listen = env.value("DEPUTY_CALLBACK_LISTEN", values::address)?;
        let public_url = env.value("DEPUTY_CALLBACK_PUBLIC_URL", values::public_url)?;
        let timeout_ms = env.value("DEPUTY_STEP_TIMEOUT_MS", values::timeout_ms)?;
        let serve_listen = env.value("DEPUTY_SERVE_LISTEN", values::address)?;
        let serve_public_url = env.value("DEPUTY_SERVE_PUBLIC_URL", values::public_url)?;
        Ok(Self {
            key_dir: config.join("keys"),
            key: env.get(KEY_VARIABLE)?.map(|key| Secret::new(key.into_bytes())),
            egress: file.egress,
            callback: Callback {
                listen: listen.or(file.listen).unwrap_or(DEFAULT_LISTEN),
                public_url: public_url.or(file.public_url),
            },
            step: Step { timeout_ms: timeout_ms.or(file.timeout_ms).unwrap_or(60_000) },
            serve: Serve {
                listen: serve_listen.or(file.serve.listen).unwrap_or(DEFAULT_LISTEN),
                public_url: serve_public_url.or(file.serve.public_url),
                max_runs: file.serve.max_runs.unwrap_or(64),
            },
            data,
            config,
        })
    }
}

impl KeySource {
    /// `DEPUTY_KEY` when it is set, else the key file.
    pub fn from_config(config: &Config) -> Self {
        match &config.key {
            Some(key) => Self::Variable(key.duplicate()),
            None => Self::File { folder: config.key_dir.clone(), data: config.data.clone() },
        }
    }
}

struct Environment<'a>(&'a dyn Fn(&str) -> Option<String>);

impl Environment<'_> {
    /// A variable of ours. Set but empty is a mistake, such as a secret that was not mounted, and no way to say "none".
    fn get(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match (self.0)(name) {
            Some(text) if text.trim().is_empty() => Err(ConfigError::Variable {
                name,
                message: "it is set but empty".to_owned(),
                fix: Some(format!("unset {name}, or give it a value")),
            }),
            text => Ok(text),
        }
    }

    fn value<T>(
        &self,
        name: &'static str,
        parse: impl FnOnce(&str) -> Result<T, values::Invalid>,
    ) -> Result<Option<T>, ConfigError> {
        let Some(text) = self.get(name)? else { return Ok(None) };
        let parsed = parse(text.trim());
        parsed.map(Some).map_err(|invalid| ConfigError::Variable { name, message: invalid.message, fix: invalid.fix })
    }

    /// Flag, our variable, the platform's variable (XDG Base Directory: absolute or ignored), home. The last two get
    /// `deputy` appended.
    fn folder(
        &self,
        flag: Option<PathBuf>,
        own: &'static str,
        platform: &str,
        below_home: &str,
    ) -> Result<PathBuf, ConfigError> {
        let absolute = |path: PathBuf| {
            std::path::absolute(&path).map_err(|error| ConfigError::Read { path, reason: error.to_string() })
        };
        if let Some(path) = flag {
            return absolute(path);
        }
        if let Some(path) = self.get(own)? {
            return absolute(path.into());
        }
        let absolute_only = |name: &str| (self.0)(name).map(PathBuf::from).filter(|path| path.is_absolute());
        match (absolute_only(platform), absolute_only("HOME")) {
            (Some(base), _) => Ok(base.join("deputy")),
            (None, Some(home)) => Ok(home.join(below_home).join("deputy")),
            (None, None) => Err(ConfigError::NoHome { variable: own }),
        }
    }
}
