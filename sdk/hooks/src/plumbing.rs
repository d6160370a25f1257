//! What `export_hooks!` calls.

use crate::bindings::exports::deputy::app::signing as wit;
use crate::{Request, Signature, Signing};

pub fn sign<App: Signing>(request: wit::Request) -> Result<wit::Signed, String> {
    App::sign(Request::from_wit(request)).map(Signature::into_wit).map_err(|error| error.to_string())
}
