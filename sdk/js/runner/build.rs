//! The guest's own stack: what a script may use of it (`engine::MAX_STACK_BYTES`), and as much again for what the
//! engine does at its end. Not more: it lies below the snapshot, where a slot is wiped byte by byte after each run.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-zstack-size=327680");
}
