//! Scripts in the real runner, against a road made here.

use serde_json::json;

use super::tests::{Fake, demo, run_on, steps_with};
use super::*;

fn script(source: &str) -> Program {
    Program::Script(Script { name: "post.js".to_owned(), source: source.into() })
}

async fn execute(source: &str, run: Run) -> Result<Output, StepError> {
    let steps = steps_with(2);
    let step = steps.load(&script(source)).await?;
    steps.run(&step, run).await.result
}

fn run() -> Run {
    Run { bindings: BTreeMap::new(), ..run_on(json!({}), Arc::new(Fake::default())) }
}

#[tokio::test]
async fn a_script_runs() {
    let output = execute("export default () => ({ n: 1 + 1 })", run()).await.unwrap();
    assert_eq!(output.value, json!({ "n": 2 }));
    let _ = demo();
}
