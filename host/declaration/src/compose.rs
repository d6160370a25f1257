//! A declaration and its hooks as one component.
//!
//! The two stay what they are, one beside the other in an outer component that passes the import `secrets` on and
//! exports what both export. There is nothing to link: neither calls the other. Deterministic.

use std::sync::OnceLock;

use wasm_encoder::{
    Alias, Component, ComponentAliasSection, ComponentExportKind, ComponentExportSection, ComponentInstanceSection,
    ComponentSectionId, RawSection,
};
use wasmparser::{Encoding, Parser, Payload};
use wit_component::ComponentEncoder;
use wit_parser::{Resolve, World, WorldId};

use crate::image::{DECLARATION, ImageError};

/// What a hook may import.
pub const SECRETS: &str = "deputy:app/secrets@0.1.0";
/// The hook that signs.
pub const SIGNING: &str = "deputy:app/signing@0.1.0";
/// The hook that reads replies with tokens.
pub const TOKEN_REPLY: &str = "deputy:app/token-reply@0.1.0";
/// The hook that says whose an account is.
pub const IDENTITY: &str = "deputy:app/identity@0.1.0";
/// Every hook that this host acts on.
pub const HOOKS: [&str; 3] = [SIGNING, TOKEN_REPLY, IDENTITY];

#[derive(Debug, thiserror::Error)]
pub enum ComposeError {
    #[error("the hooks are no core module that says its world: {0}")]
    Encode(String),
    #[error("the hooks cannot be read: {0}")]
    Read(String),
    #[error("the hooks import {}, and a hook may import only `{SECRETS}`", .0.join(", "))]
    Imports(Vec<String>),
    #[error("the hooks export {}, which is no hook", .0.join(", "))]
    Exports(Vec<String>),
    #[error("the crate exports no hook")]
    NoHook,
}

impl ComposeError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Encode(_) => "hooks_no_world",
            Self::Read(_) => "hooks_unreadable",
            Self::Imports(_) => "hooks_import",
            Self::Exports(_) => "hooks_export",
            Self::NoHook => "hooks_none",
        }
    }

    pub fn fix(&self) -> Option<String> {
        let fix = match self {
            Self::Encode(_) | Self::NoHook => {
                "depend on `deputy-hooks` and name the hooks: deputy_hooks::export_hooks!(MyApp: signing);"
            }
            Self::Imports(names) if names.iter().any(|name| name.starts_with("wasi:")) => {
                "build for wasm32-unknown-unknown, and without crates that want a clock, files or randomness"
            }
            Self::Imports(_) => "remove the imports: what a hook needs is in its arguments",
            Self::Exports(_) => "remove the exports, or take a host that acts on them",
            Self::Read(_) => return None,
        };
        Some(fix.to_owned())
    }
}

/// `declaration` is a component as [`crate::image`] makes it, `hooks` the core module that cargo made, or a component.
pub fn compose(declaration: &[u8], hooks: &[u8]) -> Result<Vec<u8>, ComposeError> {
    let encoded;
    let hooks = match Parser::is_core_wasm(hooks) {
        false => hooks,
        true => {
            encoded = ComponentEncoder::default()
                .validate(true)
                .module(hooks)
                .and_then(|mut encoder| encoder.encode())
                .map_err(|error| ComposeError::Encode(format!("{error:#}")))?;
            &encoded
        }
    };
    let head = Head::read(hooks)?;
    let mut whole = Component::new();
    for (id, data) in &head.import {
        whole.section(&RawSection { id: *id, data });
    }
    for nested in [declaration, hooks] {
        whole.section(&RawSection { id: ComponentSectionId::Component.into(), data: nested });
    }
    let secrets = u32::from(!head.import.is_empty());
    let mut instances = ComponentInstanceSection::new();
    instances.instantiate(0, [] as [(&str, ComponentExportKind, u32); 0]);
    instances.instantiate(1, (secrets > 0).then_some((SECRETS, ComponentExportKind::Instance, 0)));
    whole.section(&instances);
    // Instances are counted through: the import, the two parts, then what is taken out of them.
    let (of_declaration, of_hooks) = (secrets, secrets + 1);
    let taken = std::iter::once((of_declaration, DECLARATION)).chain(head.exports.iter().map(|name| (of_hooks, *name)));
    let (mut aliases, mut exports) = (ComponentAliasSection::new(), ComponentExportSection::new());
    for (index, (instance, name)) in (secrets + 2..).zip(taken) {
        aliases.alias(Alias::InstanceExport { instance, kind: ComponentExportKind::Instance, name });
        exports.export(name, ComponentExportKind::Instance, index, None);
    }
    whole.section(&aliases).section(&exports);
    Ok(whole.finish())
}

/// The part of a component that is code of its author's: the hooks, where it is put together as here, else all of it.
pub fn code(component: &[u8]) -> &[u8] {
    let mut depth = 0_usize;
    let mut nested = Vec::new();
    for payload in Parser::new(0).parse_all(component) {
        match payload {
            Ok(Payload::ComponentSection { unchecked_range, .. }) => {
                if depth == 0 {
                    nested.push(unchecked_range);
                }
                depth += 1;
            }
            Ok(Payload::ModuleSection { .. }) => depth += 1,
            Ok(Payload::End(_)) => depth = depth.saturating_sub(1),
            Ok(_) => {}
            Err(_) => return component,
        }
    }
    let parts = nested.iter().map(|range| component.get(range.clone())).collect::<Option<Vec<_>>>();
    match parts.as_deref() {
        Some([declaration, hooks]) if compose(declaration, hooks).is_ok_and(|whole| whole == component) => hooks,
        _ => component,
    }
}

/// The contract with its hooks, and the world of each of [`HOOKS`].
pub(crate) struct Contract {
    pub resolve: Resolve,
    pub worlds: Vec<(&'static str, WorldId)>,
}

impl Contract {
    /// Read once: no app changes it.
    pub(crate) fn get() -> Result<&'static Self, ImageError> {
        static CONTRACT: OnceLock<Result<Contract, String>> = OnceLock::new();
        CONTRACT.get_or_init(Self::read).as_ref().map_err(|error| ImageError::Contract(error.clone()))
    }

    fn read() -> Result<Self, String> {
        let mut resolve = Resolve::default();
        let text = [crate::WIT, crate::HOOKS_WIT].concat();
        resolve.push_str("app.wit", &text).map_err(|error| format!("{error:#}"))?;
        let world_of = |hook: &'static str| {
            let exports = |world: &World| world.exports.keys().any(|key| resolve.name_world_key(key) == hook);
            let world = resolve.worlds.iter().find(|(_, world)| exports(world));
            world.map(|(id, _)| (hook, id)).ok_or_else(|| format!("no world exports {hook}"))
        };
        let worlds = HOOKS.into_iter().map(world_of).collect::<Result<_, _>>()?;
        Ok(Self { resolve, worlds })
    }
}

/// What the hooks ask for and offer.
struct Head<'h> {
    /// The sections that say the type of `secrets` and import it, as they are; none: nothing is imported.
    import: Vec<(u8, &'h [u8])>,
    exports: Vec<&'static str>,
}

impl<'h> Head<'h> {
    fn read(hooks: &'h [u8]) -> Result<Self, ComposeError> {
        let broken = |error: wasmparser::BinaryReaderError| ComposeError::Read(error.to_string());
        let mut depth = 0_usize;
        let (mut before, mut import) = (Vec::new(), Vec::new());
        let (mut imported, mut exported) = (Vec::new(), Vec::new());
        for payload in Parser::new(0).parse_all(hooks) {
            let payload = payload.map_err(broken)?;
            if depth == 0
                && imported.is_empty()
                && let Some((id, range)) = payload.as_section()
                && id != u8::from(ComponentSectionId::CoreCustom)
            {
                before.push((id, &hooks[range]));
            }
            match payload {
                Payload::Version { encoding: Encoding::Module, .. } if depth == 0 => {
                    return Err(ComposeError::Read("they are a core module".into()));
                }
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(section) if depth == 0 => {
                    for item in section {
                        imported.push(item.map_err(broken)?.name.name.to_owned());
                    }
                    import.append(&mut before);
                }
                Payload::ComponentExportSection(section) if depth == 0 => {
                    for item in section {
                        exported.push(item.map_err(broken)?.name.name);
                    }
                }
                _ => {}
            }
        }
        if imported.len() > 1 || imported.first().is_some_and(|name| name != SECRETS) {
            imported.retain(|name| name != SECRETS);
            return Err(ComposeError::Imports(imported));
        }
        let known = |name: &&str| HOOKS.iter().find(|hook| *hook == name).copied();
        let exports: Vec<&'static str> = exported.iter().filter_map(known).collect();
        if exports.len() < exported.len() {
            let other = exported.iter().filter(|name| known(name).is_none());
            return Err(ComposeError::Exports(other.map(|name| (*name).to_owned()).collect()));
        }
        if exports.is_empty() { Err(ComposeError::NoHook) } else { Ok(Self { import, exports }) }
    }
}
