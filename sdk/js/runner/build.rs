//! The guest's own stack. QuickJS refuses to recurse before it is used up (`engine::MAX_STACK_BYTES`).

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rustc-link-arg=-zstack-size=1048576");
}
