//! Tries to reveal a secret of a reply, to make more of it than it may, or to stay. The number at `/what` says how.

use deputy_hooks::prelude::*;

#[path = "../../hostile-hook/src/memory.rs"]
mod memory;

use memory::memory;

struct Hostile;

impl TokenReply for Hostile {
    fn read(reply: Reply) -> Result<Tokens, Error> {
        let token = reply.text("/token")?;
        let tokens = Tokens::new();
        Ok(match reply.plain("/what").unwrap_or_default() {
            "0" => tokens.field("access_token", token).field("expires_in", "60"),
            "1" => return Err(Error::new(memory())),
            "2" => return Err(Error::new(format!("{token:?} {reply:?}"))),
            "3" => (0..20).fold(tokens, |tokens, at| tokens.field(&format!("f{at}"), token)),
            "4" => tokens.field("access_token", token).field("access_token", token),
            "5" => tokens.field("access\ntoken", token),
            "6" => tokens.field("access_token", &token.digest(Hash::Sha256)),
            "7" => loop {
                std::hint::spin_loop();
            },
            "8" => tokens.field("access_token", &reply.body.between("nowhere", "")),
            "9" => panic!("{token:?}"),
            // What was computed is no reply any more.
            "10" => tokens.field("access_token", &token.encode(Encoding::Hex).between("6", "")),
            other => return Err(Error::new(format!("nothing is known of {other}"))),
        })
    }
}

impl Identify for Hostile {
    fn identify(answer: Answer) -> Result<Who, Error> {
        match answer.body.as_str() {
            "loop" => loop {
                std::hint::spin_loop();
            },
            "no" => Err("nobody\r\nis here".into()),
            name => Ok(Who { id: answer.input("site").map(str::to_owned), label: Some(name.to_owned()) }),
        }
    }
}

deputy_hooks::export_hooks!(Hostile: token_reply, identity);
