//! Props, from the environment's JSON to the contract's types.

use rquickjs::{Ctx, Exception, Object, Result};

use crate::bindings::Prop;
use crate::bindings::deputy::step::types::{AppNeed, Choice, ItemKind, PropKind};

/// A list of `{ name, kind, of?, app?, label?, help?, optional?, default?, options?, secret? }`: `kind` is a word of
/// the contract (`app`, `text`, … `list-of` with `of`), `app` an object of its fields; defaults and values of options
/// are JSON texts.
pub fn parse(ctx: &Ctx<'_>, json: &str) -> Result<Vec<Prop>> {
    let list: Vec<Object> = ctx.json_parse(json)?.get()?;
    list.iter().map(|object| prop(ctx, object)).collect()
}

fn prop(ctx: &Ctx<'_>, object: &Object<'_>) -> Result<Prop> {
    let word: String = object.get("kind")?;
    let kind = match word.as_str() {
        "app" => PropKind::App(need(&object.get("app")?)?),
        "text" => PropKind::Text,
        "integer" => PropKind::Integer,
        "number" => PropKind::Number,
        "boolean" => PropKind::Boolean,
        "object" => PropKind::Object,
        "json" => PropKind::Json,
        "list-of" => PropKind::ListOf(item(ctx, &object.get::<_, String>("of")?)?),
        _ => return Err(Exception::throw_type(ctx, &format!("there is no kind of prop `{word}`"))),
    };
    let mut options = Vec::new();
    for choice in object.get::<_, Option<Vec<Object>>>("options")?.unwrap_or_default() {
        options.push(Choice { label: choice.get("label")?, value: choice.get("value")? });
    }
    Ok(Prop {
        name: object.get("name")?,
        kind,
        label: object.get("label")?,
        help: object.get("help")?,
        optional: object.get::<_, Option<bool>>("optional")?.unwrap_or(false),
        default: object.get("default")?,
        options,
        secret: object.get::<_, Option<bool>>("secret")?.unwrap_or(false),
    })
}

fn item(ctx: &Ctx<'_>, word: &str) -> Result<ItemKind> {
    Ok(match word {
        "text" => ItemKind::Text,
        "integer" => ItemKind::Integer,
        "number" => ItemKind::Number,
        "boolean" => ItemKind::Boolean,
        "object" => ItemKind::Object,
        "json" => ItemKind::Json,
        _ => return Err(Exception::throw_type(ctx, &format!("there is no list of `{word}`"))),
    })
}

fn need(object: &Object<'_>) -> Result<AppNeed> {
    let list = |name: &str| object.get::<_, Option<Vec<String>>>(name).map(Option::unwrap_or_default);
    Ok(AppNeed {
        app: object.get("app")?,
        scopes: list("scopes")?,
        methods: list("methods")?,
        paths: list("paths")?,
        requests: object.get("requests")?,
        bytes: object.get::<_, Option<f64>>("bytes")?.map(|bytes| bytes as u64),
        ambient: object.get::<_, Option<bool>>("ambient")?.unwrap_or(false),
    })
}
