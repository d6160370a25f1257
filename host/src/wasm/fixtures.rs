//! Components for tests, made in place: small guests that no compiler need build, and the guests of `tests/guests`.

use std::path::PathBuf;

use wasm_encoder::{
    BlockType, CodeSection, Component, ComponentImportSection, ComponentTypeRef, ComponentTypeSection, ExportKind,
    ExportSection, Function, FunctionSection, InstanceType, Instruction, MemorySection, MemoryType, Module,
    TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::Resolve;

/// The body of a function that never returns in peace.
pub type Body = [Instruction<'static>];

/// Never ends.
pub const LOOP: &Body =
    &[Instruction::Loop(BlockType::Empty), Instruction::Br(0), Instruction::End, Instruction::Unreachable];

pub const TRAP: &Body = &[Instruction::Unreachable];

/// Takes 1 MiB at a time and traps when there is no more.
pub const MEMORY: &Body = &[
    Instruction::Loop(BlockType::Empty),
    Instruction::I32Const(16),
    Instruction::MemoryGrow(0),
    Instruction::I32Const(-1),
    Instruction::I32Ne,
    Instruction::BrIf(0),
    Instruction::End,
    Instruction::Unreachable,
];

/// The app `demo` with one bearer token, from its source.
pub fn declaration() -> std::sync::Arc<deputy_declaration::types::App> {
    let text = r#"
        slug = "demo"
        name = "Demo"
        summary = "For tests."
        base = "https://api.demo.example"
        evidence = { level = "facts", date = "2026-11-23", source = "https://demo.example" }
        [methods.key]
        tokens.token = {}
        header.Authorization = "Bearer {token}"
    "#;
    std::sync::Arc::new(deputy_declaration::source::parse("app.toml", text).expect("the app is valid"))
}

/// An app whose `declare` is this body.
pub fn app(body: &Body) -> Vec<u8> {
    let wit = include_str!("../../../wit/app/0.1.0/app.wit");
    let exports = [("deputy:app/declaration@0.1.0#declare", 0, body)];
    encode(&core_module(&[("app.wit", wit)], "app", &exports))
}

/// A step whose `props` is this body.
pub fn step(props: &Body) -> Vec<u8> {
    let files = [
        ("io.wit", include_str!("../../../wit/step/0.1.0/deps/io.wit")),
        ("step.wit", include_str!("../../../wit/step/0.1.0/step.wit")),
    ];
    encode(&core_module(&files, "step", &[("props", 0, props), ("run", 2, TRAP)]))
}

fn encode(module: &[u8]) -> Vec<u8> {
    ComponentEncoder::default().validate(true).module(module).unwrap().encode().unwrap()
}

/// A core module that exports functions of so many `i32` parameters and one result, with the world embedded.
fn core_module(files: &[(&str, &str)], world: &str, exports: &[(&str, usize, &Body)]) -> Vec<u8> {
    let mut types = TypeSection::new();
    let mut functions = FunctionSection::new();
    let mut names = ExportSection::new();
    let mut code = CodeSection::new();
    names.export("memory", ExportKind::Memory, 0);
    let realloc = TRAP;
    for (at, (name, params, body)) in exports.iter().copied().chain([("cabi_realloc", 4, realloc)]).enumerate() {
        let at = u32::try_from(at).unwrap();
        types.ty().function(vec![ValType::I32; params], [ValType::I32]);
        functions.function(at);
        names.export(name, ExportKind::Func, at);
        let mut function = Function::new([]);
        for instruction in body {
            function.instruction(instruction);
        }
        function.instruction(&Instruction::End);
        code.function(&function);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&names).section(&code);
    let mut module = module.finish();

    let mut resolve = Resolve::default();
    let package = files.iter().map(|(name, text)| resolve.push_str(name, text).unwrap()).last().unwrap();
    let world = resolve.select_world(&[package], Some(world)).unwrap();
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    module
}

pub fn empty_component() -> Vec<u8> {
    Component::new().finish()
}

/// A component that imports one instance with nothing in it.
pub fn importing_component(name: &str) -> Vec<u8> {
    let mut types = ComponentTypeSection::new();
    types.instance(&InstanceType::new());
    let mut imports = ComponentImportSection::new();
    imports.import(name, ComponentTypeRef::Instance(0));
    let mut component = Component::new();
    component.section(&types).section(&imports);
    component.finish()
}

/// A built guest of `tests/guests`.
pub fn guest(name: &str) -> Vec<u8> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("the host crate lies in the workspace")
        .join("target/guests/components")
        .join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}; run `cargo xtask build`", path.display()))
}
