//! What a step declares that it needs.

use crate::bindings;

/// One declared need: an account or an input field.
#[derive(Debug, Clone)]
pub struct Prop {
    name: String,
    kind: Kind,
    label: Option<String>,
    help: Option<String>,
    optional: bool,
}

#[derive(Debug, Clone)]
enum Kind {
    App(String),
    Text,
    Integer,
    Boolean,
    Json,
}

impl Prop {
    fn new(name: impl Into<String>, kind: Kind) -> Self {
        Self { name: name.into(), kind, label: None, help: None, optional: false }
    }

    /// An account of the app with this slug; bound by the person who runs the step.
    pub fn app(name: impl Into<String>, slug: impl Into<String>) -> Self {
        Self::new(name, Kind::App(slug.into()))
    }

    /// A text field of the input.
    pub fn text(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Text)
    }

    /// A whole number in the input.
    pub fn integer(name: impl Into<String>) -> Self {
        Self::new(name, Kind::Integer)
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

    pub(crate) fn into_wit(self) -> bindings::Prop {
        use bindings::deputy::step::types::PropKind;
        let kind = match self.kind {
            Kind::App(slug) => PropKind::App(slug),
            Kind::Text => PropKind::Text,
            Kind::Integer => PropKind::Integer,
            Kind::Boolean => PropKind::Boolean,
            Kind::Json => PropKind::Json,
        };
        bindings::Prop { name: self.name, kind, label: self.label, help: self.help, optional: self.optional }
    }
}
