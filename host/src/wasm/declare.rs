//! Asking an app component for its declaration.
//!
//! The linker is empty but for what hooks may import, and that is a trap here: `declare` cannot use it. An app that
//! imports anything else cannot even start; what it returns is bounded by the limits of [`super::Limits::apps`]. The value comes back as JSON in the form of `deputy_declaration::types`.

use std::path::Path;
use std::sync::{Mutex, PoisonError};

use deputy_declaration::compose::SECRETS;
use serde_json::{Map, Number, Value};
use wasmtime::Trap;
use wasmtime::component::{Linker, Val};

use super::{Class, Limits, Meter, Room, WasmError, load};

/// The interface that an app exports.
const INTERFACE: &str = "deputy:app/declaration@0.1.0";

/// A declaration is a constant; a component that computes for a second is no declaration.
const DECLARE_TICKS: u64 = 100;

/// Declarations are asked for one at a time; hooks will want more slots.
const SLOTS: usize = 4;

/// The engine of apps.
#[derive(Debug)]
pub struct Apps {
    room: Room,
    one: Mutex<()>,
}

impl Apps {
    /// Without a cache folder every component is compiled anew; a data-only app takes a few milliseconds.
    pub fn new(cache: Option<&Path>) -> Result<Self, WasmError> {
        Ok(Self { room: Room::new(Class::Apps, Limits::apps(), SLOTS, cache)?, one: Mutex::new(()) })
    }

    /// What the app declares, as JSON: records are objects, variants `"case"` or `{"case": …}`, nothing is null.
    ///
    /// Blocks: compiling takes milliseconds to seconds, the call itself at most one second.
    ///
    /// # Errors
    /// One sentence for the author.
    pub fn declare(&self, component: &[u8]) -> Result<Value, String> {
        let bytes = load::to_component(component).map_err(|error| sentence(&error))?;
        let component = self.room.component_now(&bytes).map_err(|error| sentence(&error))?;
        let ty = component.component_type();
        let imports = ty.imports(self.room.engine()).map(|(name, _)| name);
        let imports: Vec<&str> = imports.filter(|name| *name != SECRETS).collect();
        if !imports.is_empty() {
            return Err(format!("an app may import nothing, and this one imports {}", imports.join(", ")));
        }
        // The lock guards the pool's few slots, no data.
        let _one = self.one.lock().unwrap_or_else(PoisonError::into_inner);
        let mut store = self.room.store_for_ticks(Meter::new(self.room.limits()), DECLARE_TICKS);
        let mut linker = Linker::<Meter>::new(self.room.engine());
        linker
            .define_unknown_imports_as_traps(&component)
            .map_err(|error| format!("the app's import cannot be linked: {error:#}"))?;
        let instance = linker
            .instantiate(&mut store, &component)
            .map_err(|error| why(&error, store.data()).unwrap_or_else(|| format!("the app cannot start: {error:#}")))?;
        let declare = instance
            .get_export_index(&mut store, None, INTERFACE)
            .and_then(|interface| instance.get_export_index(&mut store, Some(&interface), "declare"))
            .and_then(|declare| instance.get_func(&mut store, declare))
            .ok_or_else(|| format!("it does not export `declare` of `{INTERFACE}`"))?;
        let ty = declare.ty(&store);
        if ty.params().len() != 0 || ty.results().len() != 1 {
            return Err(format!("its `declare` is not the one of `{INTERFACE}`: it takes nothing and gives one app"));
        }
        let mut results = [Val::Bool(false)];
        match declare.call(&mut store, &[], &mut results) {
            Ok(()) => to_json(&results[0]),
            Err(error) => Err(why(&error, store.data()).unwrap_or_else(|| format!("`declare` trapped: {error:#}"))),
        }
    }
}

fn sentence(error: &WasmError) -> String {
    match error.fix() {
        Some(fix) => format!("{error}; {fix}"),
        None => error.to_string(),
    }
}

/// The limit that ended it, if it was one.
fn why(error: &wasmtime::Error, meter: &Meter) -> Option<String> {
    if meter.refused() {
        return Some(format!("`declare` wants more than {} bytes of memory", meter.memory_limit_bytes()));
    }
    match error.downcast_ref::<Trap>()? {
        Trap::Interrupt => Some("`declare` did not end within a second".to_owned()),
        Trap::StackOverflow => Some("`declare` recursed too deeply".to_owned()),
        _ => None,
    }
}

fn to_json(value: &Val) -> Result<Value, String> {
    let list = |values: &[Val]| values.iter().map(to_json).collect::<Result<Vec<_>, _>>().map(Value::Array);
    let tagged = |case: &str, payload: &Option<Box<Val>>| match payload {
        Some(payload) => Ok::<_, String>(Value::Object(Map::from_iter([(case.to_owned(), to_json(payload)?)]))),
        None => Ok(Value::String(case.to_owned())),
    };
    Ok(match value {
        Val::Bool(value) => Value::Bool(*value),
        Val::S8(value) => (*value).into(),
        Val::U8(value) => (*value).into(),
        Val::S16(value) => (*value).into(),
        Val::U16(value) => (*value).into(),
        Val::S32(value) => (*value).into(),
        Val::U32(value) => (*value).into(),
        Val::S64(value) => (*value).into(),
        Val::U64(value) => (*value).into(),
        Val::Float32(value) => number(f64::from(*value))?,
        Val::Float64(value) => number(*value)?,
        Val::Char(value) => Value::String(value.to_string()),
        Val::String(value) => Value::String(value.clone()),
        Val::List(values) | Val::FixedLengthList(values) | Val::Tuple(values) => list(values)?,
        Val::Record(fields) => fields
            .iter()
            .map(|(name, value)| Ok((name.clone(), to_json(value)?)))
            .collect::<Result<Map<_, _>, String>>()
            .map(Value::Object)?,
        Val::Variant(case, payload) => tagged(case, payload)?,
        Val::Enum(case) => Value::String(case.clone()),
        Val::Option(None) => Value::Null,
        Val::Option(Some(value)) => to_json(value)?,
        Val::Result(Ok(payload)) => tagged("ok", payload)?,
        Val::Result(Err(payload)) => tagged("err", payload)?,
        Val::Flags(names) => Value::Array(names.iter().cloned().map(Value::String).collect()),
        Val::Map(_) | Val::Resource(_) | Val::Future(_) | Val::Stream(_) | Val::ErrorContext(_) => {
            return Err("the declaration holds a handle; it may hold only data".to_owned());
        }
    })
}

fn number(value: f64) -> Result<Value, String> {
    Number::from_f64(value).map(Value::Number).ok_or_else(|| format!("{value} is no number that JSON can write"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::wasm::fixtures;

    #[test]
    fn values_take_the_form_of_the_declaration_types() {
        let text = |text: &str| Val::String(text.to_owned());
        let value = Val::Record(vec![
            ("rule-sets".to_owned(), Val::List(vec![Val::Variant("header".to_owned(), Some(Box::new(text("x"))))])),
            ("kind".to_owned(), Val::Variant("keys".to_owned(), None)),
            ("level".to_owned(), Val::Enum("facts".to_owned())),
            ("help".to_owned(), Val::Option(None)),
            ("lifetime-s".to_owned(), Val::Option(Some(Box::new(Val::U32(60))))),
        ]);
        let json = json!({
            "rule-sets": [{ "header": "x" }],
            "kind": "keys",
            "level": "facts",
            "help": null,
            "lifetime-s": 60,
        });
        assert_eq!(to_json(&value), Ok(json));
        assert!(to_json(&Val::Float64(f64::NAN)).is_err());
    }

    #[test]
    fn an_app_that_loops_traps_or_eats_memory_ends_with_its_own_sentence() {
        let apps = Apps::new(None).unwrap();
        for (body, word) in
            [(fixtures::LOOP, "within a second"), (fixtures::TRAP, "trapped"), (fixtures::MEMORY, "memory")]
        {
            let error = apps.declare(&fixtures::app(body)).unwrap_err();
            assert!(error.contains(word), "{word}: {error}");
        }
    }

    #[test]
    fn a_component_of_another_world_is_told_what_is_missing() {
        let error = Apps::new(None).unwrap().declare(&fixtures::empty_component()).unwrap_err();
        assert!(error.contains("declare") && error.contains("deputy:app/declaration@0.1.0"), "{error}");
    }

    #[test]
    fn an_app_that_imports_cannot_start() {
        let error =
            Apps::new(None).unwrap().declare(&fixtures::importing_component("wasi:cli/environment@0.2.6")).unwrap_err();
        assert!(error.contains("import nothing") && error.contains("wasi:cli/environment"), "{error}");
    }
}
