//! The values of a run's secret props: kept out of its log, its output, its error and the summaries of its requests.
//!
//! A guest that wants to tell a secret can do so in a form that nobody looks for; this keeps an honest step from
//! telling it by accident.

use serde_json::{Map, Value};

use super::{Output, Prop, StepError};
use crate::egress::Masker;

/// What to overwrite; nothing where no secret of eight bytes or more was given.
#[derive(Debug, Clone, Default)]
pub(super) struct Secrets(Option<Masker>);

impl Secrets {
    /// `input` fits the props.
    pub fn of(props: &[Prop], input: &Value) -> Self {
        let secrets = props.iter().filter(|prop| prop.secret).filter_map(|prop| input.get(&prop.name)?.as_str());
        Self(Masker::new(secrets))
    }

    pub fn text(&self, text: String) -> String {
        match &self.0 {
            Some(masker) => masker.clean(&text).unwrap_or(text),
            None => text,
        }
    }

    /// In texts, in names of fields, and in numbers, which become a text then.
    pub fn value(&self, value: Value) -> Value {
        let Some(masker) = &self.0 else { return value };
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) => match masker.clean(&number.to_string()) {
                Some(clean) => Value::String(clean),
                None => Value::Number(number),
            },
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => Value::Object(self.fields(fields)),
            other @ (Value::Null | Value::Bool(_)) => other,
        }
    }

    fn fields(&self, fields: Map<String, Value>) -> Map<String, Value> {
        fields.into_iter().map(|(name, value)| (self.text(name), self.value(value))).collect()
    }

    pub fn output(&self, output: Output) -> Output {
        if self.0.is_none() {
            return output;
        }
        Output {
            value: self.value(output.value),
            exports: self.fields(output.exports),
            exit: output.exit.map(|reason| self.text(reason)),
            respond: output.respond.map(|answer| self.value(answer)),
        }
    }

    pub fn error(&self, error: StepError) -> StepError {
        if self.0.is_none() { error } else { error.map_text(|text| self.text(text)) }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::step::PropKind;

    fn secrets() -> Secrets {
        let prop = |name: &str, secret| Prop {
            name: name.to_owned(),
            kind: PropKind::Text,
            label: None,
            help: None,
            optional: true,
            default: None,
            options: Vec::new(),
            secret,
        };
        let props = [prop("key", true), prop("pin", true), prop("note", false), prop("left_out", true)];
        Secrets::of(&props, &json!({ "key": "12345678", "pin": "1234567", "note": "a long enough note" }))
    }

    #[test]
    fn a_secret_is_overwritten_wherever_an_output_can_hold_it() {
        let output = Output {
            value: json!({ "a": ["x12345678", 12345678, 1234567], "k12345678": null, "note": "a long enough note" }),
            exports: json!({ "e": "MTIzNDU2Nzg=" }).as_object().unwrap().clone(),
            exit: Some("12345678".to_owned()),
            respond: Some(json!({ "body": "12345678" })),
        };
        let clean = secrets().output(output);
        assert_eq!(
            clean.value,
            json!({ "a": ["x********", "********", 1234567], "k********": null, "note": "a long enough note" })
        );
        assert!(!serde_json::to_string(&clean).unwrap().contains("MTIzNDU2Nzg"));
        assert_eq!(clean.exit.as_deref(), Some("********"));
        assert_eq!(clean.respond, Some(json!({ "body": "********" })));
    }

    #[test]
    fn a_secret_is_overwritten_in_an_error() {
        let error = secrets().error(StepError::Failed { message: "no 12345678".to_owned() });
        assert_eq!(error.to_string(), "the step failed: no ********");
    }

    #[test]
    fn a_run_without_secrets_is_left_alone() {
        let none = Secrets::of(&[], &json!({}));
        assert_eq!(none.text("12345678".to_owned()), "12345678");
        assert_eq!(none.output(Output::of(json!(12345678))).value, json!(12345678));
    }
}
