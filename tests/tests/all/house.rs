//! Rules about the source itself: who may import whom, who may open a secret, what may be compiled in.
//!
//! They read the text, so they hold for code that no other test reaches. `docs/architecture.md` gives the reasons.

mod source;

use std::collections::BTreeSet;
use std::process::Command;

use source::{File, crate_paths, files, root};

/// The rooms from the doors down, then what all of them may use. Each imports only what stands below it. The vault
/// keeps its wrapped keyring in the store, so it stands above it; the configuration is made of the policies of
/// egress and vault, so it stands above them.
const ORDER: &[&str] = &[
    "cli",
    "server",
    "deputy",
    "conformance",
    "workflow",
    "step",
    "account",
    "auth",
    "config",
    "egress",
    "app",
    "wasm",
    "vault",
    "store",
    "killpoint",
    "caller",
    "time",
    "ids",
];

/// Doors speak to the facade and to nothing else.
const DOORS: &[&str] = &["cli", "server"];

fn host() -> Vec<File> {
    let mut files = files(&root().join("host/src"), &["rs"]);
    source::leave_out_test_modules(&mut files);
    assert!(files.len() > 10, "the host's source was not found");
    files
}

/// The first part of the path below `host/src`.
fn room(file: &File) -> &str {
    let relative = file.path.strip_prefix("host/src/").expect("a file of the host");
    relative.split('/').next().unwrap_or(relative).trim_end_matches(".rs")
}

fn imports_upwards(room: &str, imported: &str) -> Result<(), String> {
    let height = |name: &str| ORDER.iter().position(|known| *known == name);
    if room == imported {
        return Ok(());
    }
    let (Some(own), Some(other)) = (height(room), height(imported)) else {
        return Err(format!("`{room}` or `{imported}` has no place in the order of rooms"));
    };
    // `deputy serve` is a command: the command line starts the other door, and asks it nothing.
    let starts = (room, imported) == ("cli", "server");
    if DOORS.contains(&room) && imported != "deputy" && !starts {
        return Err(format!("`{room}` is a door: it may import `deputy`, not `{imported}`"));
    }
    if other < own {
        return Err(format!("`{room}` stands below `{imported}`"));
    }
    Ok(())
}

#[test]
fn rooms_import_only_rooms_below_them() {
    let mut faults = Vec::new();
    for file in host() {
        if ["lib", "main"].contains(&room(&file)) {
            continue;
        }
        for imported in crate_paths(&file.shipped) {
            if let Err(fault) = imports_upwards(room(&file), &imported) {
                faults.push(format!("{}: {fault}", file.path));
            }
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_order_refuses_what_it_should() {
    for (room, imported) in [("cli", "egress"), ("cli", "vault"), ("egress", "auth"), ("store", "step"), ("cli", "new")]
    {
        assert!(imports_upwards(room, imported).is_err(), "{room} → {imported}");
    }
    for (room, imported) in [("cli", "deputy"), ("deputy", "vault"), ("auth", "egress"), ("step", "ids")] {
        assert_eq!(imports_upwards(room, imported), Ok(()), "{room} → {imported}");
    }
}

/// Files of the host outside `rooms` that hold `needle` in code that ships.
fn outside(rooms: &[&str], needle: &str) -> Vec<String> {
    let holds = |file: &File| !rooms.contains(&room(file)) && file.shipped.contains(needle);
    host().into_iter().filter(holds).map(|file| file.path).collect()
}

#[test]
fn secrets_are_opened_in_three_rooms() {
    assert_eq!(outside(&["vault", "auth", "egress"], ".expose("), [""; 0], "only vault, auth and egress open a secret");
    assert!(!outside(&[], ".expose(").is_empty(), "the search finds nothing anywhere: it is broken");
}

#[test]
fn the_network_is_reached_from_one_room() {
    for needle in ["reqwest", "TcpStream::connect", "hyper_util::client"] {
        assert_eq!(outside(&["egress"], needle), [""; 0], "`{needle}` stands outside egress");
    }
}

#[test]
fn nothing_that_ships_panics_by_habit() {
    for needle in [".unwrap()", "todo!(", "unimplemented!(", "dbg!("] {
        assert_eq!(outside(&[], needle), [""; 0], "`{needle}` stands in code that ships");
    }
}

#[test]
fn files_stay_small_enough_to_read() {
    let mut long = Vec::new();
    for folder in ["host", "tests", "xtask", "sdk"] {
        let files = files(&root().join(folder), &["rs", "mjs"]);
        long.extend(files.iter().filter(|file| file.text.lines().count() > 600).map(|file| file.path.clone()));
    }
    assert!(long.is_empty(), "past 600 lines something wants to be carved out: {long:?}");
}

/// Paths of one machine and hosts of package registries say nothing to a reader, and break on the next machine.
#[test]
fn the_project_speaks_only_of_itself() {
    const FOREIGN: &[&str] = &[
        concat!("/", "work/main"),
        concat!("/", "work/shared"),
        concat!("/", "work/rooms"),
        concat!("/", "root/"),
        concat!("registry.", "npmjs"),
        concat!("static.", "crates.io"),
        concat!("index.", "crates.io"),
        concat!("py", "pi.org"),
        concat!("static.", "rust-lang.org"),
    ];
    let mut found = Vec::new();
    let kinds = ["rs", "toml", "md", "wit", "mjs", "json", "run", "npmrc", "yml", "html", "js"];
    let all = files(&root(), &kinds);
    assert!(all.iter().any(|file| file.path == ".ci/run"), "the search does not reach .ci/run");
    for file in all {
        for needle in FOREIGN.iter().filter(|needle| file.text.contains(**needle)) {
            found.push(format!("{}: {needle}", file.path));
        }
    }
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn the_peers_lock_file_names_no_host() {
    let lock = std::fs::read_to_string(root().join("tests/peers/oidc/package-lock.json")).expect("the lock file");
    assert!(lock.contains("\"integrity\""), "no hashes in the lock file");
    assert!(!lock.contains("\"resolved\""), "npm wrote registry hosts: keep the folder's .npmrc");
}

#[test]
fn every_dependency_is_explained() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let table = manifest.split("[workspace.dependencies]\n").nth(1).and_then(|rest| rest.split("\n[").next());
    let named: BTreeSet<_> = table
        .expect("the dependencies")
        .lines()
        .filter_map(|line| line.split_once(" = "))
        .map(|(name, _)| name)
        .collect();
    let text = std::fs::read_to_string(root().join("docs/dependencies.md")).expect("docs/dependencies.md");
    let explained = |name: &&&str| text.contains(&format!("`{name}`"));
    let missing: Vec<_> = named.iter().filter(|name| !explained(name)).collect();
    assert!(named.len() > 20 && missing.is_empty(), "docs/dependencies.md says nothing about {missing:?}");
    // And nothing is explained that has left: the first cell of each row of the crates' tables.
    let rows = text.lines().take_while(|line| *line != "## Exceptions").filter_map(|line| line.strip_prefix("| `"));
    let cells = rows.filter_map(|row| row.split(" |").next()).flat_map(|cell| cell.split('`').step_by(2));
    let gone: Vec<_> = cells.filter(|name| !name.is_empty() && !named.contains(name)).collect();
    assert!(gone.is_empty(), "docs/dependencies.md still explains {gone:?}");
}

fn cargo_tree(arguments: &[&str]) -> String {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .current_dir(root())
        .args(["tree", "--workspace", "--locked", "--offline", "--prefix", "none"])
        .args(arguments);
    let output = command.output().expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn one_cryptography_and_one_tls() {
    assert!(cargo_tree(&["-i", "aws-lc-rs"]).contains("aws-lc-rs"), "the search finds nothing: it is broken");
    let tree = cargo_tree(&["-e", "normal,build"]);
    for unwanted in ["ring", "openssl-sys", "native-tls", "hickory-resolver", "self_cell"] {
        let line = tree.lines().find(|line| line.split(' ').next() == Some(unwanted));
        assert_eq!(line, None, "{unwanted} is compiled");
    }
}

/// Each of these costs speed, size or safety: see docs/dependencies.md. A tool in the same workspace that asks for
/// more would give it to the host silently, because cargo unifies features.
#[test]
fn wasmtime_stays_trimmed() {
    let tree = cargo_tree(&["-e", "features", "-i", "wasmtime"]);
    let features: BTreeSet<_> = tree
        .lines()
        .filter_map(|line| line.strip_prefix("wasmtime feature \""))
        .filter_map(|rest| rest.split('"').next())
        .collect();
    let known = [
        "anyhow",
        "async",
        "component-model",
        "cranelift",
        "debug",
        "once_cell",
        "parallel-compilation",
        "pooling-allocator",
        "runtime",
        "std",
        "wasmtime-jit-icache-coherence",
        "wasmtime-unwinder",
    ];
    assert!(features.contains("cranelift"), "the search finds nothing: {tree}");
    let more: Vec<_> = features.iter().filter(|feature| !known.contains(feature)).collect();
    assert!(more.is_empty(), "wasmtime is built with {more:?} too");
}
