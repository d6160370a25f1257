//! A workflow of three HTTP steps, beside the same three requests one after the other.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::Path;
use std::time::{Duration, Instant};

use deputy::account::ConnectKeys;
use deputy::deputy::{
    AppSource, Caller, Config, Deputy, HttpRequest, Overrides, Secret, WorkflowFile, WorkflowLive, WorkflowRun,
};
use deputy_declaration::source::Beside;
use serde_json::{Value, json};

use crate::{BEARER, ROUNDS, Result, app, median, row};

const FILE: &str = r#"
name = "three"
[[steps]]
name = "one"
account = "bench/default"
http = { path = "/json" }
[[steps]]
name = "two"
account = "bench/default"
http = { path = "/json", query = { id = "{{ steps.one.output.body.id }}" } }
[[steps]]
name = "three"
account = "bench/default"
http = { path = "/json", query = { id = "{{ steps.two.output.body.id }}" } }
"#;

pub async fn three_requests(server: SocketAddr) -> Result<()> {
    let folder = tempfile::tempdir()?;
    let caller = Caller::local();
    let deputy = open(folder.path(), server)?;
    let source =
        AppSource::Toml { file: "bench/app.toml".to_owned(), text: app(server, BEARER), beside: Beside::default() };
    deputy.app_install(&caller, source).await?;
    let token = Secret::new(b"tok_0123456789abcdef0123456789abcdef".to_vec());
    deputy
        .connect_keys(
            &caller,
            ConnectKeys {
                app: "bench".to_owned(),
                app_hash: None,
                method: None,
                nickname: Some("default".to_owned()),
                inputs: BTreeMap::new(),
                tokens: BTreeMap::from([("token".to_owned(), token)]),
                confirm_host: true,
                skip_check: true,
                again: None,
            },
        )
        .await?;
    let file = WorkflowFile { name: "three.toml".to_owned(), text: FILE.to_owned(), folder: folder.path().to_owned() };
    deputy.workflow_deploy(&caller, &file).await?;
    deputy.close().await;
    drop(deputy);

    let (mut durable, mut local, mut by_hand) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        // Running a workflow to its end is the last thing that a process does.
        let deputy = open(folder.path(), server)?;
        requests(&deputy, &caller).await?;
        let began = Instant::now();
        requests(&deputy, &caller).await?;
        by_hand.push(began.elapsed());
        let began = Instant::now();
        let ran = deputy.workflow_local(&caller, &file, Value::Null, &WorkflowLive::default()).await?;
        local.push(began.elapsed());
        assert_eq!(serde_json::to_value(ran.state)?, json!("done"), "{:?}", ran.attempts);
        let began = Instant::now();
        let run = WorkflowRun { name: "three".to_owned(), input: Value::Null, idempotency_key: None };
        let ran = deputy.workflow_run(&caller, run).await?;
        durable.push(began.elapsed());
        assert_eq!(serde_json::to_value(ran.run.state)?, json!("done"));
        deputy.close().await;
    }
    let flush = flush(folder.path())?;
    let by_hand = median(by_hand);
    row("a workflow of three HTTP steps, not stored", median(local), by_hand, "");
    row("the same, stored at each step", median(durable), by_hand, "");
    println!("{:<44} {:.1} µs for one write and fsync of 4 KiB on this disk", "", flush.as_secs_f64() * 1e6);
    Ok(())
}

/// Three requests through the account, one after the other.
async fn requests(deputy: &Deputy, caller: &Caller) -> Result<()> {
    for _ in 0..3 {
        let request = HttpRequest::new(http::Method::GET, "/json?id=1");
        let answer = deputy.request(caller, "bench/default", request).await?;
        let body = answer.body.collect(1 << 20).await?;
        assert_eq!(serde_json::from_slice::<Value>(&body)?["id"], json!(1));
    }
    Ok(())
}

fn open(folder: &Path, server: SocketAddr) -> Result<Deputy> {
    let config = folder.join("config");
    std::fs::create_dir_all(&config)?;
    std::fs::write(config.join("deputy.toml"), format!("[egress]\nallow = [\"{server}\"]\n"))?;
    let overrides = Overrides { data: Some(folder.join("data")), config: Some(config) };
    // Of this machine's environment only what an empty one has.
    Ok(Deputy::with_config(Config::load(overrides, &|name| (name == "HOME").then(|| folder.display().to_string()))?)?)
}

/// What a durable write costs here, whoever does it.
fn flush(folder: &Path) -> Result<Duration> {
    use std::io::Write;
    let mut file = std::fs::File::create(folder.join("flush"))?;
    let mut times = Vec::new();
    for _ in 0..ROUNDS {
        let began = Instant::now();
        file.write_all(&[7; 4096])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    Ok(median(times))
}
