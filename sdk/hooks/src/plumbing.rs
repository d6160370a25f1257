//! What `export_hooks!` calls.

use crate::bindings::exports::deputy::app::signing as wit;
use crate::identity_bindings::exports::deputy::app::identity;
use crate::reply_bindings::exports::deputy::app::token_reply;
use crate::{Answer, Identify, Reply, Request, Signature, Signing, TokenReply, Tokens, Who};

pub fn sign<App: Signing>(request: wit::Request) -> Result<wit::Signed, String> {
    App::sign(Request::from_wit(request)).map(Signature::into_wit).map_err(|error| error.to_string())
}

pub fn read<App: TokenReply>(reply: token_reply::Reply) -> Result<Vec<token_reply::Item>, String> {
    App::read(Reply::from_wit(reply)).map(Tokens::into_wit).map_err(|error| error.to_string())
}

pub fn identify<App: Identify>(answer: identity::Answer) -> Result<identity::Who, String> {
    App::identify(Answer::from_wit(answer)).map(Who::into_wit).map_err(|error| error.to_string())
}
