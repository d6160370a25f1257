//! `cargo xtask bench`: what the sandbox, the road and the list cost, each beside something measured in the same run.
//!
//! Machines differ and are busy: only the ratios mean something. They are recorded in `docs/performance.md`.

mod catalogue;
mod hooks;
mod scripts;
mod workflows;

use std::collections::BTreeMap;
use std::error::Error;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use deputy::caller::Caller;
use deputy::egress::{
    Answer, Credential, Egress, EgressError, Grant, Live, MemoryAudit, Policy, Request, Tokens, TokensError,
};
use deputy::ids::AccountId;
use deputy::step::{Program, Road, Run, Steps, StepsConfig};
use deputy::vault::Secret;
use futures_util::future::BoxFuture;
use wasmtime::component::{Component, Linker};
use wasmtime::{Config, Engine, PoolingAllocationConfig, Store};

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// Rounds of both sides in turn, so that a busy moment hits both.
const ROUNDS: usize = 20;

fn main() -> Result<()> {
    match std::env::args().nth(1).as_deref() {
        Some("serve") => serve(),
        _ => tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(all()),
    }
}

async fn all() -> Result<()> {
    if cfg!(debug_assertions) {
        println!("this is a debug build: the ratios mean nothing. Run `cargo xtask bench`.");
    }
    println!("{:<44} {:>11} {:>11} {:>7}  aim", "", "ours", "beside", "ratio");
    // Before anything else has filled the heap.
    catalogue::memory().await?;
    step().await?;
    scripts::trivial().await?;
    scripts::waiting(&OneAccount::new("127.0.0.1:1".parse()?)?.declaration).await?;
    let server = Server::start()?;
    road(server.address).await?;
    hooks::signed(server.address).await?;
    workflows::three_requests(server.address).await?;
    catalogue::built()?;
    catalogue::commands()
}

fn row(name: &str, ours: Duration, beside: Duration, aim: &str) {
    let ratio = ours.as_secs_f64() / beside.as_secs_f64();
    let us = |duration: Duration| format!("{:.1} µs", duration.as_secs_f64() * 1e6);
    let ratio = if ratio < 0.1 { format!("1/{:.0}", ratio.recip()) } else { format!("{ratio:.2}") };
    println!("{name:<44} {:>11} {:>11} {ratio:>6}×  {aim}", us(ours), us(beside));
}

fn median(mut samples: Vec<Duration>) -> Duration {
    samples.sort_unstable();
    samples[samples.len() / 2]
}

/// A fresh instance, one host call (16 random bytes), and its end; beside bare wasmtime on the same bytes.
async fn step() -> Result<()> {
    const RUNS: usize = 200;
    let path = workspace().join("target/guests/components/hostile.wasm");
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}; run cargo xtask build", path.display()))?;
    let component = deputy::wasm::load::to_component(&bytes)?;
    let steps = Steps::new(StepsConfig::default())?;
    let step = steps.load(&Program::Component(component.as_ref().into())).await?;
    let bare = Bare::new(&component)?;
    let input = serde_json::json!({ "do": "random", "bytes": 16 });
    let text = input.to_string();
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        for _ in 0..RUNS {
            let run = bare_run(input.clone());
            let began = Instant::now();
            steps.run(&step, run).await.result?;
            ours.push(began.elapsed());
        }
        for _ in 0..RUNS {
            let began = Instant::now();
            bare.run(&text).await?;
            beside.push(began.elapsed());
        }
    }
    let ours = median(ours);
    row("a fresh step with one host call", ours, median(beside), "1.3");
    row("the same through the WASI door, beside it", wasi(&steps).await?, ours, "");
    Ok(())
}

/// A fresh command over WASI 0.2 that reads its input and writes it as its output.
async fn wasi(steps: &Steps) -> Result<Duration> {
    const RUNS: usize = 500;
    let path = workspace().join("target/guests/components/wasi_probe.wasm");
    let bytes = std::fs::read(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let step = steps.load(&Program::Component(bytes.into())).await?;
    let input = serde_json::json!({ "do": "echo" });
    let mut times = Vec::new();
    for _ in 0..RUNS {
        let run = bare_run(input.clone());
        let began = Instant::now();
        let ran = steps.run(&step, run).await;
        times.push(began.elapsed());
        assert_eq!(ran.result?.value, input);
    }
    Ok(median(times))
}

/// A run without accounts.
fn bare_run(input: serde_json::Value) -> Run {
    scripts::run(input, BTreeMap::new(), Arc::new(NoRoad))
}

struct NoRoad;

impl Road for NoRoad {
    fn send<'a>(&'a self, _: &'a Grant, _: Request) -> BoxFuture<'a, std::result::Result<Answer, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("the benchmark's step sends nothing".to_owned())) })
    }

    fn send_plain<'a>(&'a self, _: &'a Caller, _: Request) -> BoxFuture<'a, std::result::Result<Answer, EgressError>> {
        Box::pin(async { Err(EgressError::Internal("the benchmark's step sends nothing".to_owned())) })
    }
}

/// Wasmtime with the same engine settings, and nothing of ours around the call.
struct Bare {
    engine: Engine,
    pre: wasmtime::component::InstancePre<()>,
}

impl Bare {
    fn new(component: &[u8]) -> Result<Self> {
        let mut pool = PoolingAllocationConfig::new();
        pool.total_component_instances(64).total_core_instances(256).total_memories(128).total_tables(256);
        pool.max_memory_size(64 << 20).linear_memory_keep_resident(2 << 20).table_keep_resident(16 << 10);
        let mut config = Config::new();
        config.allocation_strategy(pool).epoch_interruption(true).concurrency_support(false);
        let engine = Engine::new(&config)?;
        let clock = engine.weak();
        std::thread::spawn(move || {
            while let Some(engine) = clock.upgrade() {
                engine.increment_epoch();
                std::thread::sleep(Duration::from_millis(10));
            }
        });
        let component = Component::new(&engine, component)?;
        let mut linker = Linker::<()>::new(&engine);
        linker.allow_shadowing(true);
        linker.define_unknown_imports_as_traps(&component)?;
        linker
            .instance("deputy:step/random@0.1.0")?
            .func_wrap("bytes", |_, (len,): (u32,)| Ok((vec![7u8; len as usize],)))?;
        let pre = linker.instantiate_pre(&component)?;
        Ok(Self { engine, pre })
    }

    async fn run(&self, input: &str) -> Result<()> {
        let mut store = Store::new(&self.engine, ());
        store.set_epoch_deadline(1);
        store.epoch_deadline_async_yield_and_update(1);
        let instance = self.pre.instantiate_async(&mut store).await?;
        let run = instance.get_typed_func::<(&str,), (std::result::Result<String, String>,)>(&mut store, "run")?;
        let (answer,) = run.call_async(&mut store, (input,)).await?;
        answer.map(|_| ()).map_err(Into::into)
    }
}

/// CPU of one request through egress (account, reach, injection, audit, scrub) beside plain reqwest, to the same
/// server in another process.
async fn road(address: SocketAddr) -> Result<()> {
    let policy = Policy { allow: vec![address], ..Policy::default() };
    let egress = Egress::new(policy, Arc::new(MemoryAudit::default()))?;
    let tokens = OneAccount::new(address)?;
    let grant = Grant::whole(Caller::local(), tokens.account.clone());
    let client = reqwest::Client::builder().no_proxy().build()?;
    let url = format!("http://{address}/json");
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(requests(&egress, &grant, &tokens).await?);
        let began = cpu();
        for _ in 0..REQUESTS {
            let request = client.get(&url).header("authorization", format!("Bearer {TOKEN}"));
            request.send().await?.bytes().await?;
        }
        beside.push((cpu() - began) / REQUESTS);
    }
    row("CPU of a request through egress", median(ours), median(beside), "1.25");
    Ok(())
}

/// How many requests a round sends.
const REQUESTS: u32 = 500;

/// CPU of one request of an account through egress.
async fn requests(egress: &Egress, grant: &Grant, tokens: &OneAccount) -> Result<Duration> {
    let began = cpu();
    for _ in 0..REQUESTS {
        let request = Request::new(http::Method::GET, "/json");
        let answer = egress.send(Credential::Account { grant, tokens }, request).await?;
        if answer.status != 200 {
            return Err(format!("the server answered {}", answer.status).into());
        }
        answer.body.collect(1 << 20).await?;
    }
    Ok((cpu() - began) / REQUESTS)
}

/// User and system time of this process, all threads.
fn cpu() -> Duration {
    let usage = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    Duration::new(usage.tv_sec.unsigned_abs(), u32::try_from(usage.tv_nsec).unwrap_or(0))
}

/// The app that is measured, with the tokens of its method and where they go.
fn app(address: SocketAddr, method: &str) -> String {
    format!(
        "slug = \"bench\"\nname = \"Bench\"\nsummary = \"An API to measure.\"\nbase = \"http://{address}\"\n\
         evidence = {{ level = \"facts\", date = \"2026-11-23\", source = \"made here\" }}\n\
         [methods.token]\nlabel = \"Token\"\n{method}\n"
    )
}

/// One token, put where most apps want it.
const BEARER: &str = "tokens.token = {}\nheader.Authorization = \"Bearer {token}\"";
/// Also base64, for the hook that decodes its key.
const TOKEN: &str = "tokn0123456789abcdef0123456789abcdef";

/// Hands out the same account again and again, with fresh `Secret`s, as the vault would.
struct OneAccount {
    account: AccountId,
    declaration: Arc<deputy_declaration::types::App>,
    base: url::Url,
}

impl OneAccount {
    fn new(address: SocketAddr) -> Result<Self> {
        Self::with(address, BEARER)
    }

    fn with(address: SocketAddr, method: &str) -> Result<Self> {
        let app = deputy_declaration::source::parse("bench/app.toml", &app(address, method))
            .map_err(|problems| problems.to_string())?;
        let base = url::Url::parse(&format!("http://{address}"))?;
        Ok(Self { account: AccountId::new(), declaration: Arc::new(app), base })
    }

    fn make(&self) -> Arc<Live> {
        let names = self.declaration.methods[0].tokens.iter().map(|token| token.name.clone());
        Arc::new(Live {
            account: self.account.clone(),
            name: "bench/default".to_owned(),
            declaration: self.declaration.clone(),
            version: "bench".into(),
            method: 0,
            inputs: BTreeMap::new(),
            tokens: names.map(|name| (name, Secret::new(TOKEN.as_bytes().to_vec()))).collect(),
            client_id: None,
            origins: vec![self.base.origin()],
            base: self.base.clone(),
            token_endpoints: Vec::new(),
            generation: 1,
        })
    }
}

impl Tokens for OneAccount {
    fn live<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, std::result::Result<Arc<Live>, TokensError>> {
        Box::pin(async { Ok(self.make()) })
    }

    fn renew<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, std::result::Result<Arc<Live>, TokensError>> {
        Box::pin(async { Err(TokensError::NotRenewable { name: "bench/default".to_owned() }) })
    }

    fn revoked<'a>(&'a self, _: &'a Grant, _: u64) -> BoxFuture<'a, ()> {
        Box::pin(async {})
    }
}

/// A server in another process, until it is dropped.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    fn start() -> Result<Self> {
        let mut process = Command::new(std::env::current_exe()?).arg("serve").stdout(Stdio::piped()).spawn()?;
        let mut line = String::new();
        let stdout = process.stdout.take().ok_or("the server has no output")?;
        std::io::BufRead::read_line(&mut std::io::BufReader::new(stdout), &mut line)?;
        Ok(Self { process, address: line.trim().parse()? })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The other process: one small JSON answer.
fn serve() -> Result<()> {
    tokio::runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await?;
        println!("{}", listener.local_addr()?);
        let body = serde_json::json!({ "id": 1, "name": "a person", "items": [1, 2, 3], "note": "x".repeat(400) });
        let router = axum::Router::new()
            .route("/json", axum::routing::get(move || std::future::ready(axum::Json(body.clone()))));
        axum::serve(listener, router).await?;
        Ok(())
    })
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// Resident memory of this process in bytes; 0 where the system does not tell.
fn resident() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: usize = statm.split_whitespace().nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0);
    pages * rustix::param::page_size()
}
