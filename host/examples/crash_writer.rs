//! Writes until it is killed, and says after each commit what was acknowledged: `crash_writer DATA KEYS WRITERS`.
//!
//! The crash tests start it, kill it, and look for every acknowledged row. Standard output:
//! ```text
//! ready <store id>
//! ack <writer> <number>
//! ```
//! A commit of writer `w` with number `n` puts the rows `row/w/n` (sealed) and `twin/w/n`, moves `latest/w` on under
//! an expected generation, and adds one to `count`. All or none of that must be there afterwards.

use std::error::Error;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use deputy::store::{Expect, Op, SledStore, Store, key};
use deputy::vault::{KeySource, Place, Vault};

#[tokio::main(flavor = "multi_thread", worker_threads = 2)]
async fn main() -> Result<(), Box<dyn Error + Send + Sync>> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [data, keys, writers] = arguments.as_slice() else { return Err("crash_writer DATA KEYS WRITERS".into()) };
    let (data, folder) = (PathBuf::from(data), PathBuf::from(keys));
    let store = Arc::new(SledStore::open(&data)?);
    let vault = Arc::new(Vault::open(&*store, &KeySource::File { folder, data }).await?);
    say(&format!("ready {}", vault.store_id()))?;
    let mut tasks = tokio::task::JoinSet::new();
    for writer in 0..writers.parse::<u32>()? {
        tasks.spawn(write(store.clone(), vault.clone(), writer.to_string()));
    }
    match tasks.join_next().await {
        Some(ended) => ended?,
        None => Err("no writer".into()),
    }
}

/// Ends only by an error.
async fn write(store: Arc<SledStore>, vault: Arc<Vault>, writer: String) -> Result<(), Box<dyn Error + Send + Sync>> {
    let latest = key(&["latest", &writer]);
    let mut generation = store.get(&latest).await?.map_or(0, |row| row.generation);
    loop {
        let number = generation.to_string();
        let place = Place { owner: &writer, kind: "row", id: &number, generation: 1 };
        let sealed = vault.seal(&place, content(generation).as_bytes())?;
        let expect = if generation == 0 { Expect::Absent } else { Expect::Generation(generation) };
        store
            .commit(vec![
                Op::Put { key: key(&["row", &writer, &number]), value: sealed, expect: Expect::Absent },
                Op::Put { key: latest.clone(), value: number.clone().into_bytes(), expect },
                Op::Put { key: key(&["twin", &writer, &number]), value: Vec::new(), expect: Expect::Absent },
                Op::Add { key: key(&["count"]), delta: 1 },
            ])
            .await?;
        say(&format!("ack {writer} {number}"))?;
        generation += 1;
    }
}

/// From a few bytes to more than fits one item of the store.
fn content(number: u64) -> String {
    format!("{number};").repeat(1 + (number as usize * 131) % 1500)
}

fn say(line: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    out.flush()
}
