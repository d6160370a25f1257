//! The verbs about actions. Listing and showing open no store.

use std::collections::BTreeMap;
use std::time::Duration;

use deputy_declaration::types::{Action, ActionBody, ActionField, ActionPart, ActionValue, ActionWork, App, Part};
use serde::Serialize;
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

use super::work::{self, Job};
use super::{Caller, Deputy, Error, LogLine, Prop, StepRan};
use crate::caller::Via;
use crate::ids::RunId;
use crate::step::action;

#[derive(Debug, Serialize)]
pub struct ActionList {
    pub actions: Vec<ActionSummary>,
}

#[derive(Debug, Serialize)]
pub struct ActionSummary {
    /// `slack/post-message`
    pub name: String,
    pub label: String,
    pub summary: String,
    /// All of one of the lists.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub scopes: Vec<Vec<String>>,
}

#[derive(Debug, Serialize)]
pub struct ActionDetail {
    #[serde(flatten)]
    pub action: ActionSummary,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub docs: Option<String>,
    pub props: Vec<PropDetail>,
    /// None: a script of the app does the work.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sends: Option<ActionSends>,
}

#[derive(Debug, Serialize)]
pub struct PropDetail {
    #[serde(flatten)]
    pub prop: Prop,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub example: Option<String>,
}

/// The request of an action, with `{prop}` where a prop goes.
#[derive(Debug, Serialize)]
pub struct ActionSends {
    pub method: String,
    /// With the app's base in front, and its inputs as `{input}`.
    pub url: String,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub query: BTreeMap<String, String>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
    /// `json` or `form`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub body_kind: Option<&'static str>,
    /// Each value by its JSON Pointer, or by its form field.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub body: BTreeMap<String, String>,
    /// It reads page after page.
    pub lists: bool,
}

/// One run of an action, asked for.
#[derive(Debug, Default)]
pub struct ActionRun {
    /// `slack/post-message`
    pub action: String,
    /// By any of its names; none: the app's only one.
    pub account: Option<String>,
    /// A JSON object, or null.
    pub props: Value,
    /// Props as texts, turned into what each prop is; a list takes several of one name.
    pub texts: Vec<(String, String)>,
    /// Of a list; none: 1,000 on at most 20 pages.
    pub most_items: Option<u32>,
    pub timeout: Option<Duration>,
    /// Lines as they come.
    pub log: Option<UnboundedSender<LogLine>>,
}

impl Deputy {
    /// Of one app, or of all that are installed.
    pub async fn action_list(&self, _caller: &Caller, app: Option<&str>) -> Result<ActionList, Error> {
        let slugs = match app {
            Some(slug) => vec![slug.to_owned()],
            None => self.catalog.list()?.into_iter().map(|app| app.slug).collect(),
        };
        let mut actions = Vec::new();
        for slug in slugs {
            let app = self.catalog.current(&slug)?.app;
            actions.extend(app.actions.iter().map(|action| summary(&app, action)));
        }
        Ok(ActionList { actions })
    }

    pub async fn action_show(&self, _caller: &Caller, name: &str) -> Result<ActionDetail, Error> {
        let (slug, name) = split(name)?;
        let app = self.catalog.current(slug)?.app;
        let found = action::find(&app, name)?;
        let examples = found.props.iter().map(|prop| prop.example.clone());
        let props = action::declared(found)?.into_iter().zip(examples);
        Ok(ActionDetail {
            action: summary(&app, found),
            docs: found.docs.clone(),
            props: props.map(|(prop, example)| PropDetail { prop, example }).collect(),
            sends: sends(&app, found),
        })
    }

    /// An error where the run could not begin; one that began says how it ended.
    pub async fn action_run(&self, caller: &Caller, run: ActionRun) -> Result<StepRan, Error> {
        let (slug, name) = split(&run.action)?;
        // A slip in the app's name is told as such, not as a missing account.
        let current = self.catalog.current(slug)?.app;
        let bound = self.bind(caller, run.account.as_deref().unwrap_or(slug)).await?;
        work::of_app(&bound, slug, name)?;
        let found = action::find(&bound.declaration, name).map_err(|error| match action::find(&current, name) {
            Ok(_) => Error::new(error.code(), format!("{} keeps to a version of {slug} without `{name}`", bound.name))
                .with_fix(format!("connect it again with `deputy connect {slug}`")),
            Err(_) => error.into(),
        })?;
        let props = props(found, run.props, &run.texts)?;
        let id = RunId::new();
        let caller = Caller { owner: caller.owner.clone(), via: Via::Run(id.clone()) };
        let job = Job { id: id.clone(), caller, limits: self.limits(run.timeout), log: run.log };
        let name = name.to_owned();
        let worker = self.worker().await?;
        let ran = worker.action(bound, &name, &props, Value::Null, run.most_items, job).await;
        Ok(StepRan::new(id, ran))
    }
}

/// Props of both kinds together; one that is given twice is an error.
fn props(action: &Action, given: Value, texts: &[(String, String)]) -> Result<Value, Error> {
    if texts.is_empty() {
        return Ok(given);
    }
    let mut all = match given {
        Value::Null => serde_json::Map::new(),
        Value::Object(fields) => fields,
        // Refused where all props are checked.
        other => return Ok(other),
    };
    let declared = action::declared(action)?;
    let mut by_name: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for (name, text) in texts {
        by_name.entry(name).or_default().push(text);
    }
    for (name, texts) in by_name {
        if all.contains_key(name) {
            return Err(Error::new("usage", format!("prop `{name}` is given twice")));
        }
        // One that is not declared goes on as it is: it is refused with a guess where all props are checked.
        let value = match declared.iter().find(|prop| prop.name == name) {
            Some(prop) => action::typed(prop, &texts)?,
            None => Value::from(texts.concat()),
        };
        all.insert(name.to_owned(), value);
    }
    Ok(Value::Object(all))
}

fn split(name: &str) -> Result<(&str, &str), Error> {
    name.split_once('/').filter(|(app, action)| !app.is_empty() && !action.is_empty()).ok_or_else(|| {
        let fix = "write app/action, such as slack/post-message; see `deputy action list`";
        Error::new("action_unknown", format!("`{}` names no action", name.escape_debug())).with_fix(fix)
    })
}

pub(super) fn summary(app: &App, action: &Action) -> ActionSummary {
    ActionSummary {
        name: format!("{}/{}", app.slug, action.name),
        label: action.label.clone(),
        summary: action.summary.clone(),
        scopes: action.scopes.clone(),
    }
}

fn sends(app: &App, action: &Action) -> Option<ActionSends> {
    let ActionWork::Request(request) = &action.work else { return None };
    let fields = |fields: &[ActionField]| -> BTreeMap<String, String> {
        fields.iter().map(|field| (field.name.clone(), value(&field.value))).collect()
    };
    let (body_kind, body) = match &request.body {
        ActionBody::None => (None, BTreeMap::new()),
        ActionBody::Json(all) => (Some("json"), fields(all)),
        ActionBody::Form(all) => (Some("form"), fields(all)),
    };
    let base = app.base.iter().map(|part| match part {
        Part::Text(text) => text.clone(),
        Part::Input(input) | Part::Token(input) | Part::Host(input) => format!("{{{}}}", input.name),
    });
    Some(ActionSends {
        method: request.method.clone(),
        url: base.chain([parts(&request.path)]).collect(),
        query: fields(&request.query),
        headers: fields(&request.headers),
        body_kind,
        body,
        lists: request.lists.is_some(),
    })
}

fn parts(parts: &[ActionPart]) -> String {
    parts
        .iter()
        .map(|part| match part {
            ActionPart::Text(text) => text.clone(),
            ActionPart::Prop(name) => format!("{{{name}}}"),
        })
        .collect()
}

fn value(value: &ActionValue) -> String {
    match value {
        ActionValue::Text(all) => parts(all),
        ActionValue::Prop(name) => format!("{{{name}}}"),
        ActionValue::Constant(json) => json.clone(),
    }
}
