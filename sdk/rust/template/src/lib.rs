use deputy_sdk::prelude::*;

/// The fields of the run's input, one for each prop that is not an account.
#[derive(Deserialize)]
struct Input {
    path: String,
}

#[derive(Serialize)]
struct Output {
    status: u16,
    body: Value,
}

struct Main;

impl Step for Main {
    type Input = Input;
    type Output = Output;

    fn props() -> Vec<Prop> {
        vec![
            // An account of the app `github`; it is bound with `--bind github=github/NICKNAME`.
            Prop::app("github", "github").help("Who asks"),
            Prop::text("path").help("What to get, such as /user"),
        ]
    }

    fn run(input: Input) -> Result<Output, Error> {
        let github = Account::get("github")?;
        log::info!("asking as {}", github.facts().name);
        let answer = github.request(Method::GET, input.path).send()?;
        Ok(Output { status: answer.status(), body: answer.json()? })
    }
}

deputy_sdk::step!(Main);
