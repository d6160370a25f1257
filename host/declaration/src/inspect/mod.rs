//! Looks at bytes that claim to be an app, before any engine sees them.
//!
//! Says in words what is wrong and how to put it right: not wasm, a core module, a compiled artifact, imports, an
//! export of another version, of another shape, missing, or one that this host does not act on. Everything an accepted
//! component exports is acted on: nothing is inert. All complaints come at once.

mod shape;

use wit_parser::decoding::DecodedWasm;
use wit_parser::{IndexMap, Resolve, WorldId, WorldItem, WorldKey};

use crate::compose::{Contract, SECRETS};
use crate::image::{ImageError, contract};

/// The largest component.
pub const MAX_COMPONENT_BYTES: usize = 8 << 20;

/// Why some bytes are no app.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    #[error("the component is {bytes} bytes, more than {MAX_COMPONENT_BYTES}")]
    TooLarge { bytes: usize },
    #[error("this is no WebAssembly: it begins with {start}")]
    NotWasm { start: String },
    #[error("this is a compiled artifact: native code is never taken from outside")]
    Compiled,
    #[error("this is a core module, not a component")]
    CoreModule,
    #[error("this is a WIT package: it describes an interface and holds no code")]
    WitPackage,
    #[error("the component is broken: {0}")]
    Broken(String),
    /// An app computes from what it is given and does no I/O.
    #[error("an app imports nothing, but this component imports {}", .names.join(", "))]
    Imports { names: Vec<String> },
    #[error("the export `{wanted}` is missing")]
    Missing { wanted: String },
    #[error("`{found}` was made for version {found_version}; this host speaks {wanted_version}")]
    OtherVersion { found: String, found_version: String, wanted_version: String },
    #[error("the export `{export}` has another shape: {difference}")]
    Shape { export: String, difference: String },
    #[error("the import `{import}` has another shape: {difference}")]
    ImportShape { import: String, difference: String },
    #[error("this host does not act on the export `{export}`")]
    NotActedOn { export: String },
}

impl Refusal {
    pub fn code(&self) -> &'static str {
        match self {
            Self::TooLarge { .. } => "app_too_large",
            Self::NotWasm { .. } => "app_not_wasm",
            Self::Compiled => "app_compiled_artifact",
            Self::CoreModule => "app_core_module",
            Self::WitPackage => "app_wit_package",
            Self::Broken(_) => "app_broken",
            Self::Imports { .. } => "app_imports",
            Self::Missing { .. } => "app_export_missing",
            Self::OtherVersion { .. } => "app_other_version",
            Self::Shape { .. } => "app_export_shape",
            Self::ImportShape { .. } => "app_import_shape",
            Self::NotActedOn { .. } => "app_export_not_acted_on",
        }
    }

    pub fn fix(&self) -> Option<String> {
        let fix = match self {
            Self::TooLarge { .. } => "build it in release mode and strip it".to_owned(),
            Self::NotWasm { .. } | Self::WitPackage => {
                "build the component from its app.toml: deputy app build".to_owned()
            }
            Self::Compiled => "install the component (.wasm) that it was compiled from".to_owned(),
            Self::CoreModule => "make a component of it: deputy app build, or wasm-tools component new".to_owned(),
            Self::Broken(_) => "build it again with the tools of this host's version".to_owned(),
            Self::Imports { names } if names.iter().any(|name| name.starts_with("wasi:")) => {
                "build for wasm32-unknown-unknown: wasm32-wasip2 brings WASI imports along".to_owned()
            }
            Self::Imports { .. } => "remove the imports: what an app needs is passed to its functions".to_owned(),
            Self::Missing { .. } => "describe the app in an app.toml and build it: deputy app build".to_owned(),
            Self::OtherVersion { wanted_version, .. } => {
                format!("rebuild it against deputy:app@{wanted_version}, or take the host that speaks its version")
            }
            Self::ImportShape { .. } => {
                "rebuild the hooks with the `deputy-hooks` of this host: wit/app/0.1.0/hooks.wit".to_owned()
            }
            Self::Shape { .. } => "rebuild it against the WIT of this host: wit/app/0.1.0/app.wit".to_owned(),
            Self::NotActedOn { .. } => "remove the export, or take a host that acts on it".to_owned(),
        };
        Some(fix)
    }
}

/// Checks that `bytes` are an app of this host's contract, and gives the hooks that it exports. All complaints, never an
/// empty list.
pub fn inspect(bytes: &[u8]) -> Result<Vec<&'static str>, Vec<Refusal>> {
    let (hooks, refusals) = look(bytes).map_err(|refusal| vec![refusal])?;
    if refusals.is_empty() { Ok(hooks) } else { Err(refusals) }
}

fn look(bytes: &[u8]) -> Result<(Vec<&'static str>, Vec<Refusal>), Refusal> {
    if bytes.len() > MAX_COMPONENT_BYTES {
        return Err(Refusal::TooLarge { bytes: bytes.len() });
    }
    if bytes.starts_with(b"\x7fELF") {
        return Err(Refusal::Compiled);
    }
    if !bytes.starts_with(b"\0asm") {
        return Err(Refusal::NotWasm { start: start(bytes) });
    }
    if wasmparser::Parser::is_core_wasm(bytes) {
        return Err(Refusal::CoreModule);
    }
    let broken = |error: &dyn std::fmt::Display| Refusal::Broken(format!("{error:#}"));
    wasmparser::Validator::new().validate_all(bytes).map_err(|error| broken(&error))?;
    // The decoder is for trusted tools: a validated component may still make it panic.
    let decoded = std::panic::catch_unwind(|| wit_parser::decoding::decode(bytes))
        .map_err(|_| Refusal::Broken("its interfaces cannot be read".into()))?
        .map_err(|error| broken(&error))?;
    let (found, world) = match decoded {
        DecodedWasm::WitPackage(..) => return Err(Refusal::WitPackage),
        DecodedWasm::Component(resolve, world) => (resolve, world),
    };
    let (wanted, app) = contract().map_err(|error| broken(&error))?;
    let mut refusals = Vec::new();
    let hooks = hooks(&found, world, &mut refusals).map_err(|error| broken(&error))?;
    let imports: Vec<String> = found.worlds[world]
        .imports
        .iter()
        // A type used by an export stands here too; it asks for nothing.
        .filter(|(_, item)| !is_type_only(&found, item))
        .map(|(key, _)| found.name_world_key(key))
        .filter(|name| hooks.is_empty() || name != SECRETS)
        .collect();
    if !imports.is_empty() {
        refusals.push(Refusal::Imports { names: imports });
    }
    exports(&found, world, wanted, *app, &hooks, &mut refusals);
    Ok((hooks, refusals))
}

/// The hooks that are there. Each has the contract's shape, and what they import of `secrets` too, or it is told.
fn hooks(found: &Resolve, world: WorldId, refusals: &mut Vec<Refusal>) -> Result<Vec<&'static str>, ImageError> {
    let Contract { resolve: wanted, worlds } = Contract::get()?;
    let item = |resolve: &Resolve, items: &IndexMap<WorldKey, WorldItem>, name: &str| {
        items.iter().find(|(key, _)| resolve.name_world_key(key) == name).map(|(_, item)| item.clone())
    };
    let mut there = Vec::new();
    for (hook, want) in worlds.iter().copied() {
        let Some(have) = item(found, &found.worlds[world].exports, hook) else { continue };
        there.push(hook);
        let want = &wanted.worlds[want];
        if let Some(want) = item(wanted, &want.exports, hook)
            && let Some(difference) = shape::difference(found, &have, wanted, &want)
        {
            refusals.push(Refusal::Shape { export: hook.to_owned(), difference });
        }
        if let Some(want) = item(wanted, &want.imports, SECRETS)
            && let Some(have) = item(found, &found.worlds[world].imports, SECRETS)
            && let Some(difference) = shape::part_difference(found, &have, wanted, &want)
        {
            refusals.push(Refusal::ImportShape { import: SECRETS.to_owned(), difference });
        }
    }
    Ok(there)
}

fn is_type_only(resolve: &Resolve, item: &WorldItem) -> bool {
    match item {
        WorldItem::Type { .. } => true,
        WorldItem::Interface { id, .. } => {
            let interface = &resolve.interfaces[*id];
            let resources =
                interface.types.values().any(|ty| resolve.types[*ty].kind == wit_parser::TypeDefKind::Resource);
            interface.functions.is_empty() && !resources
        }
        WorldItem::Function(_) => false,
    }
}

fn exports(
    found: &Resolve,
    world: WorldId,
    wanted: &Resolve,
    app: WorldId,
    hooks: &[&str],
    refusals: &mut Vec<Refusal>,
) {
    let name = |resolve: &Resolve, key: &WorldKey| resolve.name_world_key(key);
    let mut answered: Vec<String> = hooks.iter().map(|hook| (*hook).to_owned()).collect();
    for (key, want) in &wanted.worlds[app].exports {
        let want_name = name(wanted, key);
        let same = found.worlds[world].exports.iter().find(|(key, _)| name(found, key) == want_name);
        if let Some((_, have)) = same {
            answered.push(want_name.clone());
            if let Some(difference) = shape::difference(found, have, wanted, want) {
                refusals.push(Refusal::Shape { export: want_name, difference });
            }
            continue;
        }
        let other = found.worlds[world].exports.keys().map(|key| name(found, key)).find(|other| {
            let (other, want) = (other.split_once('@'), want_name.split_once('@'));
            other.zip(want).is_some_and(|(other, want)| other.0 == want.0)
        });
        match other {
            Some(other) => {
                let version =
                    |name: &str| name.split_once('@').map_or(String::new(), |(_, version)| version.to_owned());
                refusals.push(Refusal::OtherVersion {
                    found_version: version(&other),
                    wanted_version: version(&want_name),
                    found: other.clone(),
                });
                answered.push(other);
            }
            None => refusals.push(Refusal::Missing { wanted: want_name }),
        }
    }
    for key in found.worlds[world].exports.keys() {
        let export = name(found, key);
        if !answered.contains(&export) {
            refusals.push(Refusal::NotActedOn { export });
        }
    }
}

fn start(bytes: &[u8]) -> String {
    match bytes {
        [] => "nothing".to_owned(),
        [b'{' | b'[', ..] => "what looks like JSON".to_owned(),
        [b'<', ..] => "what looks like HTML".to_owned(),
        [b'(', ..] => "what looks like WebAssembly text".to_owned(),
        [b'P', b'K', ..] => "a zip archive".to_owned(),
        [0x1f, 0x8b, ..] => "a gzip archive".to_owned(),
        _ => format!("the bytes {:02x?}", &bytes[..bytes.len().min(4)]),
    }
}

#[cfg(test)]
mod tests;
