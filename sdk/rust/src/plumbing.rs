//! What the `step!` macro calls.

use crate::bindings;
use crate::{Prop, Step};

pub fn props<S: Step>() -> Vec<bindings::Prop> {
    S::props().into_iter().map(Prop::into_wit).collect()
}

pub fn run<S: Step>(input: String) -> Result<String, String> {
    // A panic aborts the run without a word, so say it in the log first.
    std::panic::set_hook(Box::new(|info| crate::log::error!("{info}")));
    let input: S::Input = serde_json::from_str(&input).map_err(|error| format!("the input does not fit: {error}"))?;
    let output = S::run(input).map_err(|error| error.to_string())?;
    serde_json::to_string(&output).map_err(|error| format!("the output cannot be written as JSON: {error}"))
}
