//! Is this component a step that this host can run? Said in words, before anything of it runs.

use wasmparser::{Parser, Payload};

use super::StepError;
use super::props::short;

/// The contract's version of this host.
pub(super) const VERSION: &str = "0.1.0";

/// What a component asks for and offers, by the names of its outermost level.
#[derive(Debug, Default)]
pub(super) struct Surface {
    imports: Vec<String>,
    exports: Vec<String>,
}

impl Surface {
    pub fn of(component: &[u8]) -> Result<Self, StepError> {
        let fail =
            |error: wasmparser::BinaryReaderError| StepError::Wasm(crate::wasm::WasmError::Invalid(error.to_string()));
        let mut surface = Self::default();
        let mut depth = 0_usize;
        for payload in Parser::new(0).parse_all(component) {
            match payload.map_err(fail)? {
                Payload::ModuleSection { .. } | Payload::ComponentSection { .. } => depth += 1,
                Payload::End(_) => depth = depth.saturating_sub(1),
                Payload::ComponentImportSection(imports) if depth == 0 => {
                    for import in imports {
                        let import = import.map_err(fail)?;
                        // A type that a world names is no capability.
                        if !matches!(import.ty, wasmparser::ComponentTypeRef::Type(_)) {
                            surface.imports.push(import.name.name.to_owned());
                        }
                    }
                }
                Payload::ComponentExportSection(exports) if depth == 0 => {
                    for export in exports {
                        surface.exports.push(export.map_err(fail)?.name.name.to_owned());
                    }
                }
                _ => {}
            }
        }
        Ok(surface)
    }

    /// Nothing that this host lacks, and all that it calls.
    pub fn check(&self) -> Result<(), StepError> {
        if self.exports.iter().any(|name| name.starts_with("deputy:app/")) {
            return wrong(
                vec!["it is an app, not a step".to_owned()],
                "install it with `deputy app install`".to_owned(),
            );
        }
        let mut problems = Vec::new();
        let mut wasi = Vec::new();
        let mut other_version = None;
        for name in &self.imports {
            let (interface, version) = name.split_once('@').unwrap_or((name, ""));
            match interface.split_once('/') {
                Some(("deputy:step", _)) if version != VERSION => {
                    other_version = Some(version.to_owned());
                }
                Some(("deputy:step", "types" | "accounts" | "http" | "log" | "clock" | "random")) => {}
                Some(("wasi:io", "poll" | "error" | "streams")) if version.starts_with("0.2.") => {}
                Some((package, _)) if package.starts_with("wasi:") => wasi.push(short(name)),
                _ => problems.push(format!("it imports `{}`, which does not exist here", short(name))),
            }
        }
        if let Some(version) = &other_version {
            problems.push(format!("it is built for deputy:step@{}, and this host offers {VERSION}", short(version)));
        }
        if !wasi.is_empty() {
            problems.push(format!("it imports {}, which this release does not offer to steps", wasi.join(", ")));
        }
        for name in ["props", "run"] {
            if !self.exports.iter().any(|export| export == name) {
                problems.push(format!("it does not export `{name}`"));
            }
        }
        if problems.is_empty() {
            return Ok(());
        }
        let fix = if !wasi.is_empty() {
            "build it for wasm32-unknown-unknown, where nothing imports WASI; clock, random and log are in the SDK"
                .to_owned()
        } else if other_version.is_some() {
            format!("build it with the SDK of deputy:step@{VERSION}")
        } else {
            "`deputy step new` writes a step that fits".to_owned()
        };
        wrong(problems, fix)
    }
}

fn wrong(problems: Vec<String>, fix: String) -> Result<(), StepError> {
    Err(StepError::WrongWorld { problems, fix })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wasm::fixtures;

    fn refusal(component: &[u8]) -> (String, String) {
        let error = Surface::of(component).unwrap().check().unwrap_err();
        assert_eq!(error.code(), "step_wrong_world");
        (error.to_string(), error.fix().unwrap())
    }

    #[test]
    fn what_is_missing_extra_or_of_another_version_is_named() {
        let (message, fix) = refusal(&fixtures::empty_component());
        assert!(message.contains("export `props`") && message.contains("export `run`"), "{message}");
        assert!(fix.contains("deputy step new"));

        let (message, fix) = refusal(&fixtures::importing_component("deputy:step/http@0.9.0"));
        assert!(message.contains("deputy:step@0.9.0") && message.contains(VERSION), "{message}");
        assert!(fix.contains(VERSION));

        let (message, _) = refusal(&fixtures::importing_component("deputy:step/vault@0.1.0"));
        assert!(message.contains("`deputy:step/vault@0.1.0`, which does not exist"), "{message}");

        let (message, fix) = refusal(&fixtures::importing_component("wasi:filesystem/types@0.2.6"));
        assert!(message.contains("wasi:filesystem/types@0.2.6, which this release does not offer"), "{message}");
        assert!(fix.contains("wasm32-unknown-unknown"));
    }

    #[test]
    fn an_app_is_sent_to_where_apps_go() {
        let (message, fix) = refusal(&fixtures::app(fixtures::TRAP));
        assert!(message.contains("is an app"), "{message}");
        assert!(fix.contains("deputy app install"));
    }

    #[test]
    fn names_inside_composed_parts_do_not_count() {
        let surface = Surface::of(&fixtures::step(fixtures::TRAP)).unwrap();
        assert_eq!(surface.exports, ["props", "run"]);
        assert!(surface.check().is_ok(), "{surface:?}");
    }
}
