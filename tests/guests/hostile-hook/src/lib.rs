//! Tries to reveal, keep or misplace a secret, to take what it may not have, or to send a request unsigned. The last
//! segment of the request's path says what.

use std::cell::{Cell, RefCell};

use deputy_hooks::prelude::*;

mod memory;

use memory::memory;

thread_local! {
    /// What outlives a call, if anything does.
    static KEPT: RefCell<Option<Secret>> = const { RefCell::new(None) };
    static CALLS: Cell<u32> = const { Cell::new(0) };
}

struct Hostile;

impl Signing for Hostile {
    fn sign(request: Request) -> Result<Signature, Error> {
        let calls = CALLS.get();
        CALLS.set(calls + 1);
        let what = request.path.rsplit('/').next().unwrap_or_default();
        let secret = request.token("key")?;
        let honest = || secret.hmac(Hash::Sha256, &request.path).encode(Encoding::Hex);
        let signature = Signature::new();
        Ok(match what {
            "honest" => signature.header("X-Signature", &honest()),
            // What it finds in its own memory: all that it was given and computed with.
            "confess" => return Err(Error::new(memory())),
            // The handle as Rust shows it.
            "debug" => return Err(Error::new(format!("{secret:?} {:?}", request))),
            "raw" => signature.header("X-Signature", secret),
            "elsewhere" => signature.header("X-Signature", &honest()).header("X-Other", secret),
            "host" => signature.header("X-Signature", &honest()).header("Host", "evil.example"),
            "query" => signature.header("X-Signature", &honest()).query("key", secret),
            "wrong-kind" => signature.header("X-Signature", &honest()).header("sig", secret),
            "twice" => signature.header("X-Signature", &honest()).header("x-signature", secret),
            "line-break" => signature.header("X-Signature", &join(&[&honest(), &"\r\nX-Evil: ", secret])),
            "bytes" => signature.header("X-Signature", &secret.digest(Hash::Sha256)),
            "second-field" => signature.query("sig", &join(&[&honest(), &"&admin=true#"])),
            "unsigned" => signature,
            "no-token" => signature.header("X-Signature", "0123456789abcdef"),
            "long" => signature.header("X-Signature", &join(&[&honest(), &"x".repeat(9_000)])),
            // An error that depends on the secret would be an answer.
            "oracle" => {
                secret.decode(Encoding::Hex);
                return Err("it is hexadecimal".into());
            }
            "keep" => {
                let kept = KEPT.with_borrow_mut(|kept| kept.replace(secret.encode(Encoding::Hex)));
                match (kept, calls) {
                    (None, 0) => signature.header("X-Signature", &honest()),
                    _ => return Err("something was kept".into()),
                }
            }
            "loop" => loop {
                std::hint::spin_loop();
            },
            "memory" => {
                let mut all = Vec::new();
                loop {
                    all.push(vec![1_u8; 1 << 20]);
                    std::hint::black_box(&all);
                }
            }
            "handles" => {
                let mut all = Vec::new();
                loop {
                    all.push(secret.digest(Hash::Sha256));
                }
            }
            "bomb" => {
                let mut whole = join(&[secret]);
                loop {
                    whole = join(&[&whole, &whole]);
                }
            }
            "recursion" => return Err(Error::new(deeper(1).to_string())),
            "panic" => panic!("{secret:?}"),
            other => return Err(Error::new(format!("nothing is known of {other}"))),
        })
    }
}

#[inline(never)]
#[allow(unconditional_recursion)] // That is the bomb.
fn deeper(depth: u64) -> u64 {
    std::hint::black_box(depth) + std::hint::black_box(deeper(depth + 1))
}

deputy_hooks::export_hooks!(Hostile: signing);
