//! `deputy.toml`.

use std::collections::BTreeMap;
use std::fs;
use std::net::SocketAddr;
use std::path::Path;

use toml::de::DeTable;
use url::Url;

use super::reader::{Reader, Value};
use super::{ConfigError, values};
use crate::egress::{Limits, Policy};

/// What the file says; what it does not say is none, or egress's own default.
#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) egress: Policy,
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: Option<Url>,
    pub(super) timeout_ms: Option<u64>,
    pub(super) serve: Serve,
}

#[derive(Debug, Default)]
pub(super) struct Serve {
    pub(super) listen: Option<SocketAddr>,
    pub(super) public_url: Option<Url>,
    pub(super) max_runs: Option<usize>,
}

const LIMITS: &[&str] =
    &["request_bytes", "response_bytes", "header_bytes", "connect_ms", "first_byte_ms", "total_ms", "min_bytes_per_s"];

/// Above this a limit is none.
const MAX_BYTES: u64 = 1 << 40;
const MAX_HEADER_BYTES: u64 = 1 << 20;
const MAX_RUNS: u64 = 100_000;
const MAX_MS: u64 = 24 * 60 * 60 * 1000;

/// Paths in the text are relative to `folder`.
pub(super) fn parse(path: &Path, text: &str, folder: &Path) -> Result<File, ConfigError> {
    let reader = Reader::new(path, text);
    let document = reader.document()?;
    let document = document.get_ref();
    reader.known("", document, &["egress", "callback", "step", "serve"])?;
    let mut file = File::default();
    if let Some(value) = document.get("egress") {
        file.egress = egress(&reader, reader.table(value)?, folder)?;
    }
    if let Some(value) = document.get("callback") {
        let table = reader.table(value)?;
        reader.known("callback", table, &["listen", "public_url"])?;
        file.listen = table.get("listen").map(|value| reader.parsed(value, values::address)).transpose()?;
        file.public_url = table.get("public_url").map(|value| reader.parsed(value, values::public_url)).transpose()?;
    }
    if let Some(value) = document.get("step") {
        let table = reader.table(value)?;
        reader.known("step", table, &["timeout_ms"])?;
        file.timeout_ms = table.get("timeout_ms").map(|value| bounded(&reader, value, 1, MAX_MS)).transpose()?;
    }
    if let Some(value) = document.get("serve") {
        let table = reader.table(value)?;
        reader.known("serve", table, &["listen", "public_url", "max_runs"])?;
        file.serve.listen = table.get("listen").map(|value| reader.parsed(value, values::address)).transpose()?;
        file.serve.public_url =
            table.get("public_url").map(|value| reader.parsed(value, values::public_url)).transpose()?;
        let runs = table.get("max_runs").map(|value| bounded(&reader, value, 1, MAX_RUNS)).transpose()?;
        file.serve.max_runs = runs.map(|runs| runs as usize);
    }
    Ok(file)
}

fn egress(reader: &Reader<'_>, table: &DeTable<'_>, folder: &Path) -> Result<Policy, ConfigError> {
    reader.known("egress", table, &["allow", "plain", "resolve", "ca", "limits"])?;
    let mut policy = Policy::default();
    if let Some(value) = table.get("allow") {
        let entries = reader.array(value)?.iter();
        policy.allow = entries.map(|entry| reader.parsed(entry, values::address)).collect::<Result<_, _>>()?;
    }
    if let Some(value) = table.get("plain") {
        let entries = reader.array(value)?.iter();
        policy.plain = entries.map(|entry| reader.parsed(entry, values::plain_host)).collect::<Result<_, _>>()?;
    }
    if let Some(value) = table.get("resolve") {
        policy.resolve = resolve(reader, reader.table(value)?)?;
    }
    if let Some(value) = table.get("ca") {
        policy.ca_pem = Some(ca(reader, value, folder)?);
    }
    if let Some(value) = table.get("limits") {
        policy.limits = limits(reader, reader.table(value)?)?;
    }
    Ok(policy)
}

fn resolve(reader: &Reader<'_>, table: &DeTable<'_>) -> Result<BTreeMap<String, SocketAddr>, ConfigError> {
    let mut found = BTreeMap::new();
    for (key, value) in table {
        let name = values::host_and_port(key.get_ref()).map_err(|invalid| reader.invalid(&key.span(), invalid))?;
        let to = reader.parsed(value, values::address)?;
        if found.insert(name.clone(), to).is_some() {
            return Err(reader.error(&key.span(), format!("`{name}` stands here twice"), None));
        }
    }
    Ok(found)
}

fn ca(reader: &Reader<'_>, value: &Value<'_>, folder: &Path) -> Result<Vec<u8>, ConfigError> {
    let path = folder.join(reader.text(value)?);
    let wrong = |message| {
        let fix = "name a file with a root certificate in PEM, relative to the config folder";
        reader.error(&value.span(), message, Some(fix.to_owned()))
    };
    let pem = fs::read(&path).map_err(|error| wrong(format!("cannot read {}: {error}", path.display())))?;
    if !values::is_pem(&pem) {
        return Err(wrong(format!("{} holds no certificate in PEM", path.display())));
    }
    Ok(pem)
}

fn limits(reader: &Reader<'_>, table: &DeTable<'_>) -> Result<Limits, ConfigError> {
    reader.known("egress.limits", table, LIMITS)?;
    let mut limits = Limits::default();
    let set = |name: &str, max: u64, limit: &mut u64| {
        if let Some(value) = table.get(name) {
            *limit = bounded(reader, value, 1, max)?;
        }
        Ok(())
    };
    set("request_bytes", MAX_BYTES, &mut limits.request_bytes)?;
    set("response_bytes", MAX_BYTES, &mut limits.response_bytes)?;
    set("connect_ms", MAX_MS, &mut limits.connect_ms)?;
    set("first_byte_ms", MAX_MS, &mut limits.first_byte_ms)?;
    set("total_ms", MAX_MS, &mut limits.total_ms)?;
    set("min_bytes_per_s", MAX_BYTES, &mut limits.min_bytes_per_s)?;
    let mut header_bytes = limits.header_bytes as u64;
    set("header_bytes", MAX_HEADER_BYTES, &mut header_bytes)?;
    limits.header_bytes = header_bytes as usize;
    Ok(limits)
}

fn bounded(reader: &Reader<'_>, value: &Value<'_>, min: u64, max: u64) -> Result<u64, ConfigError> {
    values::bounded(reader.number(value)?, min, max).map_err(|invalid| reader.invalid(&value.span(), invalid))
}
