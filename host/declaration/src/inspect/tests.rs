use wit_component::{ComponentEncoder, StringEncoding, embed_component_metadata};
use wit_parser::{ManglingAndAbi, Resolve};

use super::*;
use crate::{WIT, image, source};

/// A component of any world: exports that trap, memory and allocator; the world is called `app`.
fn component(packages: &[&str]) -> Vec<u8> {
    let mut resolve = Resolve::default();
    let mut last = None;
    for (at, text) in packages.iter().enumerate() {
        last = Some(resolve.push_str(format!("{at}.wit"), text).unwrap());
    }
    let world = resolve.select_world(&[last.unwrap()], Some("app")).unwrap();
    let mut module = dummy(&resolve, world);
    embed_component_metadata(&mut module, &resolve, world, StringEncoding::UTF8).unwrap();
    ComponentEncoder::default().validate(true).module(&module).unwrap().encode().unwrap()
}

/// The smallest core module for a world whose functions take nothing: imports of interfaces and exported functions.
fn dummy(resolve: &Resolve, world: wit_parser::WorldId) -> Vec<u8> {
    use wasm_encoder::*;
    use wit_parser::{LiftLowerAbi, WasmExport, WasmImport};
    let abi = ManglingAndAbi::Legacy(LiftLowerAbi::Sync);
    let (mut types, mut imports, mut functions, mut exports, mut code) =
        (TypeSection::new(), ImportSection::new(), FunctionSection::new(), ExportSection::new(), CodeSection::new());
    types.ty().function([], [ValType::I32]);
    types.ty().function([], []);
    let mut count = 0;
    let functions_of = |items: &wit_parser::IndexMap<WorldKey, WorldItem>| {
        let mut all = Vec::new();
        for (key, item) in items {
            match item {
                WorldItem::Interface { id, .. } => {
                    all.extend(resolve.interfaces[*id].functions.values().map(|f| (Some(key.clone()), f.clone())));
                }
                WorldItem::Function(function) => all.push((None, function.clone())),
                WorldItem::Type { .. } => {}
            }
        }
        all
    };
    for (key, function) in functions_of(&resolve.worlds[world].imports) {
        let import = WasmImport::Func { interface: key.as_ref(), func: &function };
        let (module, name) = resolve.wasm_import_name(abi, import);
        imports.import(&module, &name, EntityType::Function(u32::from(function.result.is_none())));
        count += 1;
    }
    for (at, (key, function)) in (count..).zip(functions_of(&resolve.worlds[world].exports)) {
        functions.function(u32::from(function.result.is_none()));
        let export =
            WasmExport::Func { interface: key.as_ref(), func: &function, kind: wit_parser::WasmExportKind::Normal };
        exports.export(&resolve.wasm_export_name(abi, export), ExportKind::Func, at);
        let mut body = Function::new([]);
        body.instructions().unreachable().end();
        code.function(&body);
    }
    let mut memories = MemorySection::new();
    memories.memory(MemoryType { minimum: 1, maximum: None, memory64: false, shared: false, page_size_log2: None });
    exports.export("memory", ExportKind::Memory, 0);
    let mut module = Module::new();
    module.section(&types).section(&imports).section(&functions).section(&memories).section(&exports).section(&code);
    module.finish()
}

fn refusals(bytes: &[u8]) -> Vec<(String, &'static str)> {
    inspect(bytes).expect_err("it is refused").iter().map(|refusal| (refusal.to_string(), refusal.code())).collect()
}

#[test]
fn an_app_is_an_app() {
    let app = source::tests::app("base = \"https://api.example.com\"");
    assert_eq!(inspect(&image::component(&app).unwrap()), Ok(Vec::new()));
    assert_eq!(inspect(&component(&[WIT])), Ok(Vec::new()));
}

#[test]
fn what_is_no_component_is_named() {
    for (bytes, code, word) in [
        (&b""[..], "app_not_wasm", "nothing"),
        (b"{}", "app_not_wasm", "JSON"),
        (b"<html>", "app_not_wasm", "HTML"),
        (b"(component)", "app_not_wasm", "WebAssembly text"),
        (b"PK\x03\x04", "app_not_wasm", "zip"),
        (b"\x00\x01", "app_not_wasm", "[00, 01]"),
        (b"\x7fELF\x02\x01", "app_compiled_artifact", "native code"),
        (b"\0asm\x01\0\0\0", "app_core_module", "core module"),
        (b"\0asm\x0d\0\x01\0\xff", "app_broken", "broken"),
        (b"\0asm\x0d\0\x01\0", "app_export_missing", "`deputy:app/declaration@0.1.0` is missing"),
        (b"\0asm\x09\0\x09\0", "app_broken", "broken"),
        (b"\0asm", "app_broken", "broken"),
    ] {
        let found = refusals(bytes);
        assert_eq!(found[0].1, code, "{found:?}");
        assert!(found[0].0.contains(word), "{found:?}");
        assert!(inspect(bytes).unwrap_err()[0].fix().is_some());
    }
    let mut resolve = Resolve::default();
    let package = resolve.push_str("app.wit", WIT).unwrap();
    assert_eq!(refusals(&wit_component::encode(&resolve, package).unwrap())[0].1, "app_wit_package");
    assert_eq!(refusals(&vec![0; MAX_COMPONENT_BYTES + 1])[0].1, "app_too_large");
}

#[test]
fn another_version_is_told_with_both_numbers() {
    let found = refusals(&component(&[&WIT.replace("@0.1.0", "@0.2.0")]));
    assert_eq!(
        found,
        [(
            "`deputy:app/declaration@0.2.0` was made for version 0.2.0; this host speaks 0.1.0".to_owned(),
            "app_other_version"
        )]
    );
}

#[test]
fn another_shape_is_told_by_record_and_field() {
    for (from, to, difference) in [
        (
            "    slug: string,",
            "    slug: u32,",
            "function `declare`: field `slug` of record `app` is u32, wanted string",
        ),
        ("    slug: string,\n", "", "function `declare`: record `app` lacks the field `slug`"),
        (
            "    slug: string,",
            "    slug: string,\n    motto: string,",
            "function `declare`: record `app` has the field `motto`, which is unknown here",
        ),
        (
            "    homepage: option<string>,",
            "    homepage: string,",
            "function `declare`: field `homepage` of record `app` is string, wanted option<string>",
        ),
        (
            "    status(u16),",
            "    status(u32),",
            "function `declare`: case `status` of variant `condition` is u32, wanted u16",
        ),
        (
            "    s256,\n    off,",
            "    off,\n    s256,",
            "function `declare`: enum `pkce` has its cases in another order",
        ),
        (
            "  declare: func() -> app;",
            "  declare: func() -> app;\n  more: func();",
            "the function `more` is unknown here",
        ),
        ("  declare: func() -> app;", "  explain: func() -> app;", "the function `declare` is missing"),
    ] {
        let wit = WIT.replacen(from, to, 1);
        assert_ne!(wit, WIT, "{from}");
        let expected = format!("the export `deputy:app/declaration@0.1.0` has another shape: {difference}");
        assert_eq!(refusals(&component(&[&wit])), [(expected, "app_export_shape")]);
    }
}

#[test]
fn imports_are_refused_by_name() {
    let wasi = "package wasi:cli@0.2.6;\ninterface environment { initial-cwd: func() -> u32; }";
    let app = WIT.replace("export declaration;", "import wasi:cli/environment@0.2.6;\n  export declaration;");
    let bytes = component(&[wasi, &app]);
    assert_eq!(
        refusals(&bytes),
        [("an app imports nothing, but this component imports wasi:cli/environment@0.2.6".to_owned(), "app_imports")]
    );
    assert!(inspect(&bytes).unwrap_err()[0].fix().unwrap().contains("wasm32-unknown-unknown"));
    let app = WIT.replace("export declaration;", "import log: func();\n  export declaration;");
    let bytes = component(&[&app]);
    assert_eq!(refusals(&bytes)[0].0, "an app imports nothing, but this component imports log");
    assert!(inspect(&bytes).unwrap_err()[0].fix().unwrap().contains("remove the imports"));
}

#[test]
fn nothing_is_inert() {
    let app = WIT.replace("export declaration;", "export declaration;\n  export sign: func();");
    assert_eq!(
        refusals(&component(&[&app])),
        [("this host does not act on the export `sign`".to_owned(), "app_export_not_acted_on")]
    );
    let other = "package acme:tool@1.0.0;\nworld app { export run: func(); }";
    let found: Vec<_> = refusals(&component(&[other])).into_iter().map(|(_, code)| code).collect();
    assert_eq!(found, ["app_export_missing", "app_export_not_acted_on"]);
}

proptest::proptest! {
    #[test]
    fn no_bytes_make_it_panic(at in 8_usize..12_000, byte: u8) {
        let app = source::tests::app("base = \"https://api.example.com\"");
        let mut bytes = image::component(&app).unwrap();
        let at = at % bytes.len();
        bytes[at] = byte;
        let _ = inspect(&bytes);
        let _ = inspect(&bytes[..at]);
    }
}
