//! What expressions see.

use std::collections::BTreeMap;

use minijinja::Value;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::values::from_json;

/// What started a run: `trigger.…`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TriggerFacts {
    /// `hand`, `http` or `schedule`
    pub kind: String,
    /// By hand: the input; by HTTP: the body, by its content type; by schedule: null.
    pub body: Json,
    /// Names in lower case.
    pub headers: BTreeMap<String, String>,
    /// A name that came twice has its last value.
    pub query: BTreeMap<String, String>,
    pub method: Option<String>,
    /// When it came, or was due: RFC 3339.
    pub time: String,
}

/// What a step left: `steps.NAME.…`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StepLeft {
    /// Null where it was skipped or failed. With `for-each`, a list.
    pub output: Json,
    pub exports: Map<String, Json>,
    /// Where it failed and the run went on.
    pub error: Option<StepError>,
    pub skipped: bool,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StepError {
    pub code: String,
    pub message: String,
}

/// All that the expressions of a step see. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Scope {
    pub(super) root: BTreeMap<&'static str, Value>,
}

impl Scope {
    /// `started_at` is RFC 3339; `steps` holds those that came before, by name.
    pub fn new(
        workflow: &str,
        run: &str,
        started_at: &str,
        trigger: &TriggerFacts,
        steps: &BTreeMap<String, StepLeft>,
    ) -> Self {
        let steps = steps.iter().map(|(name, left)| (name.as_str(), from_json(&json!(left))));
        let root = BTreeMap::from([
            ("workflow", from_json(&json!({ "name": workflow }))),
            ("run", from_json(&json!({ "id": run, "started_at": started_at }))),
            ("trigger", from_json(&json!(trigger))),
            ("steps", Value::from_pairs(steps)),
        ]);
        Self { root }
    }

    /// For one item of a `for-each`; `index` counts from 0.
    pub fn with_item(&self, index: usize, item: &Json) -> Self {
        let mut root = self.root.clone();
        root.insert("item", from_json(item));
        root.insert("index", Value::from(index));
        Self { root }
    }

    pub(super) fn context(&self) -> Value {
        Value::from_pairs(self.root.iter().map(|(name, value)| (*name, value.clone())))
    }
}
