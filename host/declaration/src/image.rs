//! A declaration as a component that holds data and nothing else.
//!
//! The value is laid out in a data segment just as the canonical ABI wants to read it, and `declare` returns its
//! address: there is no code to compile, no allocator, no import. Measured: 12 KB of types and frame, plus the texts; the same
//! declaration always gives the same bytes. The layout walks the types of the WIT, so a field that Rust and WIT do not
//! share fails here with its path.

use std::collections::HashMap;
use std::sync::OnceLock;

use serde_json::Value;
use wasm_encoder::{
    CodeSection, ConstExpr, CustomSection, DataSection, ExportKind, ExportSection, Function, FunctionSection,
    MemorySection, MemoryType, Module, TypeSection, ValType,
};
use wit_component::{ComponentEncoder, StringEncoding, metadata};
use wit_parser::{Int, Resolve, SizeAlign, Type, TypeDefKind, WorldId};

use crate::WIT;
use crate::types::App;

/// The interface that holds `declare`.
pub const DECLARATION: &str = "deputy:app/declaration@0.1.0";
/// Address 0 stays free, so that no pointer of the image looks like null.
const START: usize = 16;
const PAGE_BYTES: usize = 64 << 10;

/// The declaration and the contract disagree, or the tools refuse the image: a bug here, never the author's.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    #[error("the contract cannot be read: {0}")]
    Contract(String),
    #[error("{path}: {message}")]
    Value { path: String, message: String },
    #[error("the component cannot be encoded: {0}")]
    Encode(String),
}

impl ImageError {
    pub fn code(&self) -> &'static str {
        match self {
            Self::Contract(_) => "image_contract",
            Self::Value { .. } => "image_value",
            Self::Encode(_) => "image_encode",
        }
    }
}

/// The component of an app. Deterministic.
pub fn component(app: &App) -> Result<Vec<u8>, ImageError> {
    let value = serde_json::to_value(app)
        .map_err(|error| ImageError::Value { path: "app".into(), message: error.to_string() })?;
    of_value(&value)
}

/// As [`component`], from the JSON form.
pub fn of_value(app: &Value) -> Result<Vec<u8>, ImageError> {
    let (resolve, world) = contract()?;
    let mut module = core_module(resolve, *world, app)?;
    let section = metadata::encode(resolve, *world, StringEncoding::UTF8, None)
        .map_err(|error| ImageError::Contract(format!("{error:#}")))?;
    module.section(&CustomSection { name: "component-type".into(), data: section.into() });
    ComponentEncoder::default()
        .validate(true)
        .module(&module.finish())
        .and_then(|mut encoder| encoder.encode())
        .map_err(|error| ImageError::Encode(format!("{error:#}")))
}

/// The contract's types and its world `app`. Read once: no app changes it.
pub(crate) fn contract() -> Result<&'static (Resolve, WorldId), ImageError> {
    static CONTRACT: OnceLock<Result<(Resolve, WorldId), String>> = OnceLock::new();
    CONTRACT.get_or_init(read_contract).as_ref().map_err(|error| ImageError::Contract(error.clone()))
}

fn read_contract() -> Result<(Resolve, WorldId), String> {
    let mut resolve = Resolve::default();
    let package = resolve.push_str("app.wit", WIT).map_err(|error| format!("{error:#}"))?;
    let world = resolve.select_world(&[package], Some("app")).map_err(|error| format!("{error:#}"))?;
    Ok((resolve, world))
}

/// The module without its component type: one function, one memory, one data segment.
fn core_module(resolve: &Resolve, world: WorldId, app: &Value) -> Result<Module, ImageError> {
    let ty = declare_result(resolve, world)
        .ok_or_else(|| ImageError::Contract(format!("{DECLARATION} has no `declare` with a result")))?;
    let mut sizes = SizeAlign::default();
    sizes.fill(resolve);
    let mut image = Image { resolve, sizes, bytes: vec![0; START], texts: HashMap::new() };
    let address = image.reserve(image.size(&ty), image.align(&ty));
    image.store(&ty, app, address, "app")?;
    let address = i32::try_from(address).map_err(|error| ImageError::Encode(error.to_string()))?;

    let mut types = TypeSection::new();
    types.ty().function([], [ValType::I32]);
    let mut functions = FunctionSection::new();
    functions.function(0);
    let mut memories = MemorySection::new();
    let pages = image.bytes.len().div_ceil(PAGE_BYTES) as u64;
    memories.memory(MemoryType {
        minimum: pages,
        maximum: Some(pages),
        memory64: false,
        shared: false,
        page_size_log2: None,
    });
    let mut exports = ExportSection::new();
    exports.export("memory", ExportKind::Memory, 0);
    exports.export(&format!("{DECLARATION}#declare"), ExportKind::Func, 0);
    let mut declare = Function::new([]);
    declare.instructions().i32_const(address).end();
    let mut code = CodeSection::new();
    code.function(&declare);
    let mut data = DataSection::new();
    let offset = i32::try_from(START).map_err(|error| ImageError::Encode(error.to_string()))?;
    data.active(0, &ConstExpr::i32_const(offset), image.bytes[START..].iter().copied());

    let mut module = Module::new();
    module.section(&types).section(&functions).section(&memories).section(&exports).section(&code).section(&data);
    Ok(module)
}

fn declare_result(resolve: &Resolve, world: WorldId) -> Option<Type> {
    resolve.worlds[world].exports.values().find_map(|item| match item {
        wit_parser::WorldItem::Interface { id, .. } => resolve.interfaces[*id].functions.get("declare")?.result,
        _ => None,
    })
}

struct Image<'r> {
    resolve: &'r Resolve,
    sizes: SizeAlign,
    bytes: Vec<u8>,
    /// Equal texts stand once.
    texts: HashMap<String, usize>,
}

impl Image<'_> {
    fn size(&self, ty: &Type) -> usize {
        self.sizes.size(ty).size_wasm32()
    }

    fn align(&self, ty: &Type) -> usize {
        self.sizes.align(ty).align_wasm32()
    }

    fn reserve(&mut self, bytes: usize, align: usize) -> usize {
        let address = self.bytes.len().next_multiple_of(align);
        self.bytes.resize(address + bytes, 0);
        address
    }

    fn put(&mut self, address: usize, bytes: &[u8]) {
        self.bytes[address..address + bytes.len()].copy_from_slice(bytes);
    }

    /// A pointer and a length, or an address that does not fit 32 bits.
    fn put_span(&mut self, address: usize, start: usize, length: usize, path: &str) -> Result<(), ImageError> {
        for (at, number) in [(address, start), (address + 4, length)] {
            let number = u32::try_from(number).map_err(|_| wrong(path, "the image outgrows 32 bits"))?;
            self.put(at, &number.to_le_bytes());
        }
        Ok(())
    }

    fn store(&mut self, ty: &Type, value: &Value, address: usize, path: &str) -> Result<(), ImageError> {
        match ty {
            Type::Bool => {
                let flag = value.as_bool().ok_or_else(|| wrong(path, "a boolean is wanted"))?;
                self.put(address, &[u8::from(flag)]);
            }
            Type::U16 | Type::U32 => {
                let fail = || wrong(path, "a whole number in range is wanted");
                let number = value.as_u64().ok_or_else(fail)?;
                match ty {
                    Type::U16 => self.put(address, &u16::try_from(number).map_err(|_| fail())?.to_le_bytes()),
                    _ => self.put(address, &u32::try_from(number).map_err(|_| fail())?.to_le_bytes()),
                }
            }
            Type::String => {
                let text = value.as_str().ok_or_else(|| wrong(path, "a string is wanted"))?;
                let start = match self.texts.get(text) {
                    Some(start) => *start,
                    None => {
                        let start = self.reserve(text.len(), 1);
                        self.put(start, text.as_bytes());
                        self.texts.insert(text.to_owned(), start);
                        start
                    }
                };
                self.put_span(address, start, text.len(), path)?;
            }
            Type::Id(id) => self.store_defined(&self.resolve.types[*id].kind, value, address, path)?,
            other => return Err(wrong(path, &format!("the contract uses {other:?}, which has no layout here yet"))),
        }
        Ok(())
    }

    fn store_defined(
        &mut self,
        kind: &TypeDefKind,
        value: &Value,
        address: usize,
        path: &str,
    ) -> Result<(), ImageError> {
        match kind {
            TypeDefKind::Type(ty) => self.store(ty, value, address, path),
            TypeDefKind::Record(record) => {
                let fields = value.as_object().ok_or_else(|| wrong(path, "a record is wanted"))?;
                let known = |name: &String| record.fields.iter().any(|field| field.name == *name);
                if let Some(extra) = fields.keys().find(|name| !known(name)) {
                    return Err(wrong(path, &format!("the contract has no field `{extra}`")));
                }
                let offsets = self.sizes.field_offsets(record.fields.iter().map(|field| &field.ty));
                let offsets: Vec<usize> = offsets.into_iter().map(|(offset, _)| offset.size_wasm32()).collect();
                for (field, offset) in record.fields.iter().zip(offsets) {
                    let missing = || wrong(path, &format!("the field `{}` is missing", field.name));
                    let value = fields.get(&field.name).ok_or_else(missing)?;
                    self.store(&field.ty, value, address + offset, &format!("{path}.{}", field.name))?;
                }
                Ok(())
            }
            TypeDefKind::Variant(variant) => {
                let (name, payload) = match value {
                    Value::String(name) => (name, None),
                    Value::Object(case) if case.len() == 1 => match case.iter().next() {
                        Some((name, payload)) => (name, Some(payload)),
                        None => return Err(wrong(path, "a variant is wanted")),
                    },
                    _ => return Err(wrong(path, "a variant is wanted")),
                };
                let at = variant.cases.iter().position(|case| case.name == *name);
                let at = at.ok_or_else(|| wrong(path, &format!("the contract has no case `{name}`")))?;
                let offset =
                    self.sizes.payload_offset(variant.tag(), variant.cases.iter().map(|case| case.ty.as_ref()));
                let path = format!("{path}.{name}");
                self.put_tag(address, variant.tag(), at, &path)?;
                match (&variant.cases[at].ty, payload) {
                    (None, None) => Ok(()),
                    (Some(ty), Some(payload)) => self.store(ty, payload, address + offset.size_wasm32(), &path),
                    (Some(_), None) => Err(wrong(&path, "the case lacks its value")),
                    (None, Some(_)) => Err(wrong(&path, "the case has no value")),
                }
            }
            TypeDefKind::Enum(cases) => {
                let name = value.as_str().ok_or_else(|| wrong(path, "an enum case is wanted"))?;
                let at = cases.cases.iter().position(|case| case.name == name);
                let at = at.ok_or_else(|| wrong(path, &format!("the contract has no case `{name}`")))?;
                self.put_tag(address, cases.tag(), at, path)
            }
            TypeDefKind::Option(ty) => {
                if value.is_null() {
                    return Ok(());
                }
                let offset = self.sizes.payload_offset(Int::U8, [None, Some(ty)]).size_wasm32();
                self.put(address, &[1]);
                self.store(ty, value, address + offset, path)
            }
            TypeDefKind::List(ty) => {
                let items = value.as_array().ok_or_else(|| wrong(path, "a list is wanted"))?;
                let size = self.size(ty);
                let start = self.reserve(size * items.len(), self.align(ty));
                for (index, item) in items.iter().enumerate() {
                    self.store(ty, item, start + index * size, &format!("{path}[{index}]"))?;
                }
                self.put_span(address, start, items.len(), path)
            }
            other => Err(wrong(path, &format!("the contract uses {}, which has no layout here yet", other.as_str()))),
        }
    }

    fn put_tag(&mut self, address: usize, tag: Int, at: usize, path: &str) -> Result<(), ImageError> {
        match tag {
            Int::U8 => {
                let at = u8::try_from(at).map_err(|_| wrong(path, "the case is out of range"))?;
                self.put(address, &[at]);
                Ok(())
            }
            _ => Err(wrong(path, "more than 256 cases have no layout here yet")),
        }
    }
}

fn wrong(path: &str, message: &str) -> ImageError {
    ImageError::Value { path: path.to_owned(), message: message.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::app;

    #[test]
    fn the_image_is_small_and_always_the_same() {
        let app = app("base = \"https://api.example.com\"");
        let bytes = component(&app).unwrap();
        assert_eq!(bytes, component(&app).unwrap());
        assert!(bytes.len() < 16_500, "{} bytes", bytes.len());
    }

    #[test]
    fn a_field_that_only_one_side_knows_is_named() {
        let app = serde_json::to_value(app("base = \"https://api.example.com\"")).unwrap();
        let mut extra = app.clone();
        extra["methods"][0]["colour"] = "red".into();
        assert_eq!(of_value(&extra).unwrap_err().to_string(), "app.methods[0]: the contract has no field `colour`");
        let mut missing = app.clone();
        missing["evidence"].as_object_mut().unwrap().remove("date");
        assert_eq!(of_value(&missing).unwrap_err().to_string(), "app.evidence: the field `date` is missing");
        let mut case = app;
        case["evidence"]["level"] = "rumour".into();
        assert_eq!(of_value(&case).unwrap_err().to_string(), "app.evidence.level: the contract has no case `rumour`");
    }
}
