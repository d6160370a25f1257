//! `deputy serve`: hooks, schedules and runs, until it is told to stop.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::output::{BAD, BOLD, DIM, GOOD, Output, printable};
use super::{Done, Error};
use crate::deputy::{Caller, Deputy};
use crate::server::Server;

#[derive(clap::Args)]
pub struct Args {
    /// The address to listen at [default: 127.0.0.1:7878; deputy.toml: serve.listen]
    #[arg(long, value_name = "ADDR")]
    listen: Option<SocketAddr>,
}

pub async fn run(args: Args, deputy: Deputy, caller: &Caller, output: &Output) -> Result<Done, Error> {
    let mut terminated = signal(SignalKind::terminate())
        .map_err(|error| Error::new("signal_failed", format!("cannot wait for SIGTERM: {error}")))?;
    let server = Server::bind(args.listen.unwrap_or(deputy.config().serve.listen)).await?;
    let address = server.address();
    let serving = deputy.serve_open(caller, address).await?;
    let hooks: Vec<_> =
        serving.hooks.iter().map(|(name, hook)| serde_json::json!({ "workflow": name, "hook": hook })).collect();
    output.emit(&serde_json::json!({ "listening": address, "hooks": hooks }), || {
        let mut text = format!("{GOOD}listening{GOOD:#} at {BOLD}http://{address}{BOLD:#}\n");
        for (name, hook) in &serving.hooks {
            text.push_str(&format!("  {} {DIM}({}){DIM:#} {}\n", printable(name), hook.verify, hook.url));
        }
        match (serving.workflows, serving.hooks.is_empty()) {
            (0, _) => {
                text.push_str(&format!("{DIM}no workflows yet: stop, and `deputy workflow deploy FILE`{DIM:#}\n"))
            }
            (_, true) => {
                text.push_str(&format!("{DIM}no workflow has a hook; schedules and queued runs go on{DIM:#}\n"))
            }
            (_, false) => {}
        }
        text
    })?;
    for (name, variable) in &serving.missing_keys {
        output.note(&format!(
            "{BAD}{variable} is not set{BAD:#}: each request to the hook of {} is refused until this server has it",
            printable(name)
        ));
    }
    let deputy = Arc::new(deputy);
    let stop = CancellationToken::new();
    let server = tokio::spawn(server.run(deputy.clone(), stop.clone().cancelled_owned()));
    let work = deputy.serve_work();
    let worked = tokio::select! {
        worked = work => worked,
        () = deputy.answer_others() => Ok(()),
        _ = terminated.recv() => Ok(()),
        result = tokio::signal::ctrl_c() => result.map_err(|error| Error::new("signal_failed", error.to_string())),
    };
    output.note(&format!("{DIM}stopping: steps under way have 30 s to end; again to stop at once{DIM:#}"));
    stop.cancel();
    let last = async {
        // Hooks that wait for a result are answered while their runs end.
        deputy.workflow_stop().await;
        if let Err(error) = server.await {
            tracing::error!("the server: {error}");
        }
        deputy.close().await;
    };
    tokio::select! {
        () = last => {}
        _ = terminated.recv() => {}
        _ = tokio::signal::ctrl_c() => {}
    }
    worked.map(|()| Done::Ok)
}
