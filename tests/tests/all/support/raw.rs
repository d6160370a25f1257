//! A server that records every byte it gets and answers with given bytes: what stands on the wire, unparsed.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

pub struct Raw {
    address: SocketAddr,
    requests: Arc<Mutex<Vec<Vec<u8>>>>,
}

impl Raw {
    /// Answers each connection's first request with `answer` and closes.
    pub fn start(answer: &'static [u8]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("its address");
        let requests = Arc::new(Mutex::new(Vec::new()));
        let recorded = Arc::clone(&requests);
        // Ends with the test's process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let Ok(stream) = stream else { return };
                let request = serve(stream, answer);
                recorded.lock().unwrap_or_else(PoisonError::into_inner).push(request);
            }
        });
        Self { address, requests }
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came, one entry a connection. A connection without bytes counts too.
    pub fn requests(&self) -> Vec<String> {
        let requests = self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        requests.iter().map(|bytes| String::from_utf8_lossy(bytes).into_owned()).collect()
    }
}

/// Reads one request: its head, and a body as long as `content-length` says.
fn serve(mut stream: TcpStream, answer: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    if stream.set_read_timeout(Some(Duration::from_secs(30))).is_err() {
        return bytes;
    }
    let mut chunk = [0; 4096];
    while !complete(&bytes) {
        match stream.read(&mut chunk) {
            Ok(0) | Err(_) => return bytes,
            Ok(read) => bytes.extend_from_slice(&chunk[..read]),
        }
    }
    // The client may have gone away; what it sent is what counts.
    let _ = stream.write_all(answer);
    bytes
}

fn complete(bytes: &[u8]) -> bool {
    let text = String::from_utf8_lossy(bytes);
    let Some((head, body)) = text.split_once("\r\n\r\n") else { return false };
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    body.len() >= length.unwrap_or(0)
}
