//! The names in expressions: is there something by that name when the step runs?

use deputy_declaration::nearest;

use crate::workflow::expression::syntax::{Fault, Path, Word};
use crate::workflow::types::{OnError, Step, Workflow};

const ROOTS: [&str; 6] = ["steps", "trigger", "run", "workflow", "item", "index"];
const STEP: [&str; 4] = ["output", "exports", "error", "skipped"];
const TRIGGER: [&str; 6] = ["kind", "body", "headers", "query", "method", "time"];

/// `items`: `item` and `index` stand here.
pub(super) fn fault(workflow: &Workflow, index: usize, path: &Path, items: bool) -> Option<Fault> {
    let root = path.first()?;
    match root.name.as_str() {
        "steps" => step(workflow, index, path),
        "trigger" => trigger(path),
        "run" => one_of(path, &["id", "started_at"]),
        "workflow" => one_of(path, &["name"]),
        "item" | "index" if items => None,
        name @ ("item" | "index") => {
            let help = match workflow.steps[index].for_each {
                Some(_) => "`when` and `for-each` are evaluated once, before the first item; `| selectattr(…)` filters",
                None => "give the step `for-each = \"{{ … }}\"`",
            };
            found(root, format!("`{name}` stands only in a step with `for-each`"), Some(help.to_owned()))
        }
        name => {
            let help = match workflow.steps.iter().any(|step| step.name == name) {
                true => format!("write `steps.{name}.output`"),
                false => guess(name, if items { &ROOTS } else { &ROOTS[..4] }),
            };
            found(root, format!("there is nothing named `{name}`"), Some(help))
        }
    }
}

fn found(word: &Word, message: String, help: Option<String>) -> Option<Fault> {
    Some(Fault { at: word.at.clone(), message, help })
}

fn guess(name: &str, known: &[&str]) -> String {
    match nearest(name, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("there are {}", known.join(", ")),
    }
}

/// The second word is one of few.
fn one_of(path: &Path, known: &[&str]) -> Option<Fault> {
    let (root, word) = (path.first()?, path.get(1)?);
    if known.contains(&word.name.as_str()) {
        return None;
    }
    found(word, format!("`{}` has no `{}`", root.name, word.name), Some(guess(&word.name, known)))
}

fn trigger(path: &Path) -> Option<Fault> {
    if let Some(fault) = one_of(path, &TRIGGER) {
        return Some(fault);
    }
    match (path.get(1)?.name.as_str(), path.get(2)) {
        ("headers", Some(word)) if word.name.contains(|c: char| c.is_ascii_uppercase()) => {
            let help = format!("write `trigger.headers[\"{}\"]`", word.name.to_ascii_lowercase());
            found(word, "names of headers are in lower case".to_owned(), Some(help))
        }
        _ => None,
    }
}

fn step(workflow: &Workflow, index: usize, path: &Path) -> Option<Fault> {
    let word = path.get(1)?;
    let name = word.name.as_str();
    let Some(at) = workflow.steps.iter().position(|step| step.name == name) else {
        // A step whose own name is at fault may be the one that is meant.
        if workflow.steps.iter().any(|step| step.name.is_empty()) {
            return None;
        }
        let earlier: Vec<&str> = workflow.steps[..index].iter().map(|step| step.name.as_str()).collect();
        let help = match earlier.is_empty() {
            true => "this is the first step: only `trigger`, `run` and `workflow` stand here".to_owned(),
            false => guess(name, &earlier),
        };
        return found(word, format!("there is no step `{name}`"), Some(help));
    };
    if at == index {
        return found(word, format!("`{name}` is this step itself"), None);
    }
    if at > index {
        let help = "move that step up, or this one down".to_owned();
        return found(word, format!("the step `{name}` comes later"), Some(help));
    }
    left(&workflow.steps[at], path)
}

/// What an earlier step left.
fn left(step: &Step, path: &Path) -> Option<Fault> {
    let (word, name) = (path.get(2)?, &step.name);
    let next = path.get(3);
    match word.name.as_str() {
        "output" if step.for_each.is_some() => {
            let next = next.filter(|next| next.name.parse::<usize>().is_err())?;
            let help = format!("`[0]` is the first, `| map(attribute=\"{}\")` gives that of all", next.name);
            found(next, format!("the output of `{name}` is a list, one for each item"), Some(help))
        }
        "error" if step.on_error == OnError::Fail => {
            let help = format!("give `{name}` the key `on-error = \"continue\"`");
            found(word, format!("`{name}` leaves no error: the run ends where it fails"), Some(help))
        }
        "error" => {
            let next = next.filter(|next| !["code", "message"].contains(&next.name.as_str()))?;
            found(next, format!("an error has no `{}`", next.name), Some(guess(&next.name, &["code", "message"])))
        }
        known if STEP.contains(&known) => None,
        other => {
            let help = match nearest(other, STEP) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("what it returned is `steps.{name}.output.{other}`"),
            };
            found(word, format!("a step has no `{other}`"), Some(help))
        }
    }
}
