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

    /// Does it speak WASI, beyond the streams that every step has?
    pub fn wasi(&self) -> Vec<String> {
        let is_wasi = |name: &&String| name.starts_with("wasi:") && !name.starts_with("wasi:io/");
        self.imports.iter().filter(is_wasi).map(|name| short(name)).collect()
    }

    /// Nothing that this host lacks, and all that it calls.
    pub fn check(&self) -> Result<Shape, StepError> {
        if self.exports.iter().any(|name| name.starts_with("deputy:app/")) {
            return wrong(
                vec!["it is an app, not a step".to_owned()],
                "install it with `deputy app install`".to_owned(),
            );
        }
        let mut problems = Vec::new();
        let mut absent = Vec::new();
        let mut other_wasi = Vec::new();
        let mut other_version = None;
        for name in &self.imports {
            let (interface, version) = name.split_once('@').unwrap_or((name, ""));
            match interface.split_once('/') {
                Some(("deputy:step", _)) if version != VERSION => {
                    other_version = Some(version.to_owned());
                }
                Some(("deputy:step", "types" | "accounts" | "http" | "log" | "clock" | "random")) => {}
                Some((package, interface)) if offers(package, interface) => {
                    if !version.starts_with("0.2.") {
                        other_wasi.push(short(name));
                    }
                }
                Some((package, _)) if package.starts_with("wasi:") => absent.push(short(name)),
                _ => problems.push(format!("it imports `{}`, which does not exist here", short(name))),
            }
        }
        if let Some(version) = &other_version {
            problems.push(format!("it is built for deputy:step@{}, and this host offers {VERSION}", short(version)));
        }
        if !other_wasi.is_empty() {
            problems.push(format!("it imports {}, and this host speaks WASI 0.2", other_wasi.join(", ")));
        }
        if !absent.is_empty() {
            problems.push(format!("it imports {}, which this host does not offer to steps", absent.join(", ")));
        }
        let exports = |wanted: &str| self.exports.iter().any(|export| export == wanted);
        let of_wasi = |wanted: &str| self.exports.iter().find(|export| export.split('@').next() == Some(wanted));
        let mut server = false;
        let shape = match of_wasi("wasi:cli/run") {
            Some(run) if !exports("props") && !exports("run") => {
                if !run.starts_with("wasi:cli/run@0.2.") {
                    problems.push(format!("it exports {}, and this host speaks WASI 0.2", short(run)));
                    other_wasi.push(short(run));
                }
                Shape::Command
            }
            _ => {
                server = of_wasi("wasi:http/incoming-handler").is_some() && !exports("run");
                if server {
                    problems.push("it is an HTTP server, and nothing here listens for a step".to_owned());
                } else {
                    let missing = ["props", "run"].into_iter().filter(|name| !exports(name));
                    problems.extend(missing.map(|name| format!("it does not export `{name}`")));
                }
                Shape::Step
            }
        };
        if problems.is_empty() {
            return Ok(shape);
        }
        let fix = if other_version.is_some() {
            format!("build it with the SDK of deputy:step@{VERSION}")
        } else if !other_wasi.is_empty() {
            "build it for WASI 0.2; for Rust that is the target wasm32-wasip2".to_owned()
        } else if !absent.is_empty() {
            "of WASI, steps have clocks, random bytes, standard streams and `wasi:http/outgoing-handler`: reach what \
             it needs over HTTP, through an account"
                .to_owned()
        } else if server {
            "export `wasi:cli/run`, or `props` and `run`".to_owned()
        } else {
            "`deputy step new` writes a step that fits; a command of another language exports `wasi:cli/run`".to_owned()
        };
        wrong(problems, fix)
    }
}

/// How a component is run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// It exports `props` and `run`.
    Step,
    /// It exports `wasi:cli/run`: input and output are its standard streams, and it declares no props.
    Command,
}

/// The interfaces of WASI 0.2 that [`super::wasi`] links. Most of them give nothing, but toolchains import them.
fn offers(package: &str, interface: &str) -> bool {
    match package {
        "wasi:io" => matches!(interface, "poll" | "error" | "streams"),
        "wasi:clocks" => matches!(interface, "wall-clock" | "monotonic-clock"),
        "wasi:random" => matches!(interface, "random" | "insecure" | "insecure-seed"),
        "wasi:cli" => matches!(
            interface,
            "environment"
                | "exit"
                | "stdin"
                | "stdout"
                | "stderr"
                | "terminal-input"
                | "terminal-output"
                | "terminal-stdin"
                | "terminal-stdout"
                | "terminal-stderr"
        ),
        "wasi:filesystem" => matches!(interface, "types" | "preopens"),
        "wasi:sockets" => matches!(
            interface,
            "network"
                | "instance-network"
                | "ip-name-lookup"
                | "tcp"
                | "tcp-create-socket"
                | "udp"
                | "udp-create-socket"
        ),
        "wasi:http" => matches!(interface, "types" | "outgoing-handler"),
        _ => false,
    }
}

fn wrong(problems: Vec<String>, fix: String) -> Result<Shape, StepError> {
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

        let (message, fix) = refusal(&fixtures::importing_component("wasi:keyvalue/store@0.2.0-draft"));
        assert!(message.contains("wasi:keyvalue/store@0.2.0-draft, which this host does not offer"), "{message}");
        assert!(fix.contains("over HTTP"), "{fix}");

        for other in ["wasi:http/types@0.3.0", "wasi:cli/environment@0.1.9", "wasi:clocks/wall-clock"] {
            let (message, fix) = refusal(&fixtures::importing_component(other));
            assert!(message.contains(&format!("it imports {other}, and this host speaks WASI 0.2")), "{message}");
            assert!(fix.contains("wasm32-wasip2"), "{fix}");
        }
    }

    fn surface(imports: &[&str], exports: &[&str]) -> Surface {
        let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
        Surface { imports: owned(imports), exports: owned(exports) }
    }

    #[test]
    fn both_shapes_may_speak_any_wasi_0_2() {
        for version in ["0.2.0", "0.2.3", "0.2.12", "0.2.99"] {
            let (sockets, http) =
                (format!("wasi:sockets/tcp@{version}"), format!("wasi:http/outgoing-handler@{version}"));
            let run = format!("wasi:cli/run@{version}");
            assert_eq!(surface(&[&sockets, &http], &[&run]).check().unwrap(), Shape::Command);
            assert_eq!(surface(&[&sockets, &http], &["props", "run"]).check().unwrap(), Shape::Step);
            assert_eq!(surface(&[&http], &["props", "run", &run]).check().unwrap(), Shape::Step);
        }
        assert!(surface(&["wasi:io/poll@0.2.12"], &["props", "run"]).wasi().is_empty(), "every step has streams");
        assert_eq!(surface(&["wasi:http/types@0.2.1"], &[]).wasi(), ["wasi:http/types@0.2.1"]);
    }

    #[test]
    fn commands_of_another_wasi_and_servers_are_named() {
        let said = |surface: Surface| {
            let error = surface.check().unwrap_err();
            (error.to_string(), error.fix().unwrap())
        };
        let (message, fix) = said(surface(&[], &["wasi:cli/run@0.3.0"]));
        assert!(message.contains("it exports wasi:cli/run@0.3.0, and this host speaks WASI 0.2"), "{message}");
        assert!(fix.contains("wasm32-wasip2"), "{fix}");
        let (message, fix) = said(surface(&[], &["wasi:http/incoming-handler@0.2.3"]));
        assert!(message.contains("HTTP server") && fix.contains("wasi:cli/run"), "{message} {fix}");
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
