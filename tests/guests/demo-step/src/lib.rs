//! The step that `deputy demo` runs: who am I, and what is on the first two pages?

use deputy_sdk::prelude::*;

#[derive(Serialize)]
struct Output {
    /// Who the account is at the app.
    login: String,
    /// As the owner calls it.
    account: String,
    pages: Vec<usize>,
    items: usize,
}

struct Demo;

impl Step for Demo {
    type Input = Value;
    type Output = Output;

    fn props() -> Vec<Prop> {
        vec![
            Prop::app("demo", "demo").label("Demo account").help("The account that the demo connects"),
            Prop::text("note").optional().help("Kept in memory until the run ends, for a search to find"),
        ]
    }

    fn run(input: Value) -> Result<Output, Error> {
        let demo = Account::get("demo")?;
        let facts = demo.facts();
        log::info!("using {}", facts.name);

        let me: Value = demo.request(Method::GET, "/me").send()?.error_for_status()?.json()?;
        let login = me["login"].as_str().or(me["name"].as_str()).or(me["id"].as_str()).unwrap_or("?").to_owned();

        // Both pages are on their way before the first answer is read.
        let started = [1, 2]
            .map(|page| demo.request(Method::GET, "/items").query("page", &page.to_string()).start())
            .into_iter()
            .collect::<Result<Vec<_>, _>>()?;
        let mut pages = Vec::new();
        for answer in join_all(started) {
            pages.push(count(&answer?.error_for_status()?.json()?));
        }
        let items = pages.iter().sum();
        log::info!("{login} has {items} items on {} pages", pages.len());
        // Beyond the end of the run: that is when memory is searched.
        std::mem::forget(input);
        Ok(Output { login, account: facts.name, pages, items })
    }
}

/// `[…]`, or `{"items": […]}`.
fn count(page: &Value) -> usize {
    page.as_array().or_else(|| page["items"].as_array()).map_or(0, Vec::len)
}

deputy_sdk::step!(Demo);
