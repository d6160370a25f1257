//! Does one thing that a guest might try, as standard input says: `{"do": "look"}`.

use std::io::{self, Read, Write};
use std::net::{TcpListener, TcpStream, ToSocketAddrs, UdpSocket};
use std::{env, fs, process};

use serde_json::{Value, json};
use wstd::http::{Body, Client, Request};

fn main() {
    let mut text = String::new();
    io::stdin().read_to_string(&mut text).expect("standard input is text");
    let input: Value = serde_json::from_str(&text).expect("standard input is JSON");
    match input["do"].as_str().expect("what to do") {
        "look" => println!("{}", look(&input)),
        "echo" => print!("{text}"),
        "nothing" => {}
        "prose" => println!("Hello, world."),
        "not-utf8" => io::stdout().write_all(b"\"\xff\"").expect("written"),
        "exit" => {
            eprintln!("first");
            eprint!("the reason");
            process::exit(3)
        }
        "fail" => process::exit(1),
        "panic" => panic!("the author's own words"),
        "flood" => loop {
            println!("[{}]", "x".repeat(100_000));
        },
        "noise" => {
            for n in 0..20_000 {
                eprintln!("line {n}");
            }
        }
        "one-line" => loop {
            // Without an end, so nothing of it is a line yet.
            if io::stderr().write_all(&[b'x'; 60_000]).is_err() {
                return;
            }
        },
        "fields" => fields(input["each"].as_u64().expect("how many")),
        "upload" => {
            let (url, bytes) = (input["url"].as_str().expect("a URL"), input["bytes"].as_u64().expect("bytes"));
            println!("{}", wstd::runtime::block_on(upload(url, bytes)));
        }
        other => panic!("cannot {other}"),
    }
}

/// What everything that steps do not have gives instead.
fn look(input: &Value) -> Value {
    let address = input["address"].as_str().unwrap_or("127.0.0.1:9");
    let name = input["name"].as_str().unwrap_or("localhost:80");
    json!({
        "environment": env::vars().collect::<Vec<_>>(),
        "arguments": env::args().collect::<Vec<_>>(),
        "read": said(fs::read_to_string("/etc/hostname")),
        "read_here": said(fs::read_to_string("Cargo.toml")),
        "list": said(fs::read_dir("/").map(|entries| entries.count())),
        "write": said(fs::write("/tmp/planted", "x")),
        "make": said(fs::create_dir("planted")),
        "tcp": said(TcpStream::connect(address).map(|_| "connected")),
        "listen": said(TcpListener::bind("127.0.0.1:0").map(|_| "listens")),
        "udp": said(UdpSocket::bind("127.0.0.1:0").map(|_| "bound")),
        "name": said(name.to_socket_addrs().map(|found| found.count())),
        "resolve": resolve(name.split(':').next().unwrap_or_default()),
    })
}

fn said<T: std::fmt::Debug>(result: io::Result<T>) -> Value {
    match result {
        Ok(value) => json!({ "ok": format!("{value:?}") }),
        Err(error) => json!({ "error": error.to_string() }),
    }
}

/// As above, without the C library between, which has other words.
fn resolve(name: &str) -> Value {
    use wasip2::sockets::{instance_network::instance_network, ip_name_lookup::resolve_addresses};
    let found = resolve_addresses(&instance_network(), name).and_then(|found| {
        found.subscribe().block();
        found.resolve_next_address()
    });
    match found {
        Ok(address) => json!({ "ok": format!("{address:?}") }),
        Err(error) => json!({ "error": error.name() }),
    }
}

/// A body of so many bytes, written as fast as it is taken.
async fn upload(url: &str, bytes: u64) -> Value {
    let piece = vec![b'x'; 64 << 10];
    let pieces = bytes / piece.len() as u64;
    let stream = futures_lite::stream::iter((0..pieces).map(move |_| piece.clone()));
    let request = Request::post(url).body(Body::from_stream(stream)).expect("a request");
    match Client::new().send(request).await {
        Ok(answer) => json!({ "ok": answer.status().as_u16() }),
        Err(error) => json!({ "error": format!("{error:#}") }),
    }
}

/// Makes ever more sets of so many headers of 1,000 bytes, until the host has enough.
fn fields(each: u64) {
    let mut all = Vec::new();
    loop {
        let fields = wasip2::http::types::Fields::new();
        for n in 0..each {
            if fields.append(&format!("x-{n}"), &[b'x'; 1_000]).is_err() {
                break;
            }
        }
        all.push(fields);
    }
}
