//! Reads `<login><session>…</session></login>`, and whose account it is from `<user id="7">Ada</user>`.

use deputy_hooks::prelude::*;

struct Acme;

impl TokenReply for Acme {
    fn read(reply: Reply) -> Result<Tokens, Error> {
        let session = reply.body.between("<session>", "</session>");
        Ok(Tokens::new().field("session", &session).field("lasts", "3600"))
    }
}

impl Identify for Acme {
    fn identify(answer: Answer) -> Result<Who, Error> {
        let cut = |after: &str, before: &str| {
            let (_, rest) = answer.body.split_once(after)?;
            rest.split_once(before).map(|(found, _)| found.to_owned())
        };
        let id = cut("<user id=\"", "\"").ok_or("the answer names no user")?;
        Ok(Who { id: Some(id), label: cut("\">", "</user>") })
    }
}

deputy_hooks::export_hooks!(Acme: token_reply, identity);
