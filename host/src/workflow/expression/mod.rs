//! Expressions: `{{ steps.issue.output.number }}` and friends, over what a run has seen so far.
//!
//! A text that is exactly one `{{ … }}` keeps its JSON type; any other text with expressions gives a text. Names
//! without a value are errors, never empty texts. Nothing here reaches files, clock or network, and each text has fuel
//! that counts instructions and bytes, so that neither a loop nor a large value stops the host.

mod evaluate;
mod filters;
mod scope;
pub mod syntax;
mod values;

#[cfg(test)]
mod tests;

pub use evaluate::{EvalError, Evaluated, evaluate_step, items, when};
pub use filters::names as filter_names;
pub use scope::{Scope, StepError, StepLeft, TriggerFacts};

/// Does this name one file in a folder, on any system?
pub fn is_file_name(name: &str) -> bool {
    let forbidden = |c: char| c.is_control() || "/\\:*?\"<>|".contains(c);
    !name.is_empty() && name.len() <= 200 && !name.contains(forbidden) && !name.starts_with('.') && !name.ends_with('.')
}
