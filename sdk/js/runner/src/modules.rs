//! What a script may import: `@deputy/step`, and nothing else. Packages are bundled into it.

use std::cell::RefCell;

use rquickjs::loader::{ImportAttributes, Loader, Resolver};
use rquickjs::module::{Declarations, Declared, Exports, ModuleDef};
use rquickjs::{Ctx, Exception, Module, Object, Persistent, Result, Value};

const STEP: &str = "@deputy/step";

thread_local! {
    /// What `@deputy/step` exports.
    static EXPORTS: RefCell<Vec<(String, Persistent<Value<'static>>)>> = const { RefCell::new(Vec::new()) };
    /// The last specifier that was not there.
    static MISSING: RefCell<Option<String>> = const { RefCell::new(None) };
}

/// The environment's `__env.exports`: an object whose fields are the exports of `@deputy/step`.
pub fn take_exports<'js>(ctx: &Ctx<'js>, env: &Object<'js>) -> Result<()> {
    let Some(exports) = env.get::<_, Option<Object>>("exports")? else { return Ok(()) };
    for field in exports.props::<String, Value>() {
        let (name, value) = field?;
        EXPORTS.with_borrow_mut(|exports| exports.push((name, Persistent::save(ctx, value))));
    }
    Ok(())
}

/// The specifier of the import that failed, if `message` tells of it.
pub fn missing(message: &str) -> Option<String> {
    MISSING.with_borrow(Clone::clone).filter(|specifier| message == cannot_import(specifier))
}

fn cannot_import(specifier: &str) -> String {
    format!(
        "cannot import `{specifier}`: a script is one file and may import only `{STEP}`. Bundle packages into it with \
         esbuild: `deputy step new --js` makes a folder where `npm run build` does"
    )
}

pub struct Builtin;

impl Resolver for Builtin {
    fn resolve<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        _base: &str,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<String> {
        if name == STEP {
            return Ok(name.to_owned());
        }
        MISSING.set(Some(name.to_owned()));
        Err(Exception::throw_syntax(ctx, &cannot_import(name)))
    }
}

impl Loader for Builtin {
    fn load<'js>(
        &mut self,
        ctx: &Ctx<'js>,
        name: &str,
        _attributes: Option<ImportAttributes<'js>>,
    ) -> Result<Module<'js, Declared>> {
        Module::declare_def::<Step, _>(ctx.clone(), name)
    }
}

struct Step;

impl ModuleDef for Step {
    fn declare(declarations: &Declarations<'_>) -> Result<()> {
        EXPORTS.with_borrow(|exports| {
            for (name, _) in exports {
                declarations.declare(name.as_str())?;
            }
            Ok(())
        })
    }

    fn evaluate<'js>(ctx: &Ctx<'js>, exports: &Exports<'js>) -> Result<()> {
        let all = EXPORTS.with_borrow(Clone::clone);
        for (name, value) in all {
            exports.export(name.as_str(), value.restore(ctx)?)?;
        }
        Ok(())
    }
}
