//! What a step declares that it needs.

use crate::bindings;
use crate::bindings::deputy::step::types::{AppNeed, Choice, PropKind};

/// One declared need: an account or an input field.
#[derive(Debug, Clone)]
pub struct Prop {
    name: String,
    kind: Kind,
    label: Option<String>,
    help: Option<String>,
    optional: bool,
    default: Option<String>,
    options: Vec<(String, String)>,
    secret: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    App(AppNeed),
    Text,
    Integer,
    Number,
    Boolean,
    Object,
    Json,
}

impl Prop {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self {
            name: name.into(),
            kind,
            label: None,
            help: None,
            optional: false,
            default: None,
            options: Vec::new(),
            secret: false,
        }
    }

    /// An account of the app with this slug; bound by the person who runs the step.
    pub fn app(name: impl Into<String>, slug: impl Into<String>) -> Self {
        Self::new(
            name,
            Kind::App(AppNeed {
                app: slug.into(),
                scopes: Vec::new(),
                methods: Vec::new(),
                paths: Vec::new(),
                requests: None,
                bytes: None,
                ambient: false,
            }),
        )
    }

    /// A text field of the input.
    pub fn text(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Text)
    }

    /// A whole number in the input.
    pub fn integer(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Integer)
    }

    /// A number in the input.
    pub fn number(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Number)
    }

    /// A JSON object in the input.
    pub fn object(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Object)
    }

    /// `true` or `false` in the input.
    pub fn boolean(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Boolean)
    }

    /// Any JSON in the input.
    pub fn json(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Json)
    }

    pub fn label(mut self, label: impl Into<String>) -> Self {
        self.label = Some(label.into());
        self
    }

    pub fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The run may go without it.
    pub fn optional(mut self) -> Self {
        self.optional = true;
        self
    }

    /// Used where the input says nothing.
    pub fn default(mut self, value: impl Into<serde_json::Value>) -> Self {
        self.default = Some(value.into().to_string());
        self
    }

    /// A value that the input may have; once an option is named, no other is taken.
    pub fn option(mut self, label: impl Into<String>, value: impl Into<serde_json::Value>) -> Self {
        self.options.push((label.into(), value.into().to_string()));
        self
    }

    /// The value is kept out of logs, outputs and run records.
    pub fn secret(mut self) -> Self {
        self.secret = true;
        self
    }

    /// For an account: a scope that it must have. May be said again.
    pub fn scope(self, scope: impl Into<String>) -> Self {
        self.need(|need| need.scopes.push(scope.into()))
    }

    /// For an account: the only HTTP methods that the step uses; the host refuses others.
    pub fn methods(self, methods: &[&str]) -> Self {
        self.need(|need| need.methods.extend(methods.iter().map(|method| (*method).to_owned())))
    }

    /// For an account: the only paths below which the step sends; the host refuses others.
    pub fn paths(self, paths: &[&str]) -> Self {
        self.need(|need| need.paths.extend(paths.iter().map(|path| (*path).to_owned())))
    }

    /// For an account: the most requests of one run.
    pub fn requests(self, most: u32) -> Self {
        self.need(|need| need.requests = Some(most))
    }

    /// For an account: the most bytes that the request bodies of one run have together.
    pub fn bytes(self, most: u64) -> Self {
        self.need(|need| need.bytes = Some(most))
    }

    /// For an account: requests of code that knows nothing of accounts (`wasi:http`) go through it.
    pub fn ambient(self) -> Self {
        self.need(|need| need.ambient = true)
    }

    fn need(mut self, change: impl FnOnce(&mut AppNeed)) -> Self {
        if let Kind::App(need) = &mut self.kind {
            change(need);
        }
        self
    }

    pub(crate) fn into_wit(self) -> bindings::Prop {
        let kind = match self.kind {
            Kind::App(need) => PropKind::App(need),
            Kind::Text => PropKind::Text,
            Kind::Integer => PropKind::Integer,
            Kind::Number => PropKind::Number,
            Kind::Boolean => PropKind::Boolean,
            Kind::Object => PropKind::Object,
            Kind::Json => PropKind::Json,
        };
        let options = self.options.into_iter().map(|(label, value)| Choice { label, value }).collect();
        bindings::Prop {
            name: self.name,
            kind,
            label: self.label,
            help: self.help,
            optional: self.optional,
            default: self.default,
            options,
            secret: self.secret,
        }
    }
}
