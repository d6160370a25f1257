//! Ten requests at once. Against a server that answers only when all ten have arrived, one at a time would hang.

use deputy_sdk::prelude::*;

struct Ten;

impl Step for Ten {
    type Input = Value;
    type Output = Value;

    fn props() -> Vec<Prop> {
        vec![Prop::app("demo", "demo"), Prop::text("path").optional()]
    }

    fn run(input: Value) -> Result<Value, Error> {
        let account = Account::get("demo")?;
        let path = input["path"].as_str().unwrap_or("/together");
        let started = (0..10)
            .map(|call| account.request(Method::GET, path).query("n", "10").query("call", &call.to_string()).start())
            .collect::<Result<Vec<_>, _>>()?;
        let mut statuses = Vec::new();
        for answer in join_all(started) {
            let answer = answer?;
            statuses.push(answer.status());
            answer.bytes()?;
        }
        Ok(json!({ "statuses": statuses }))
    }
}

deputy_sdk::step!(Ten);
