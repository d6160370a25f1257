//! What a signature by a hook costs.

use std::net::SocketAddr;
use std::sync::Arc;

use deputy::caller::Caller;
use deputy::egress::{Components, Egress, Grant, Hooks, MemoryAudit, Policy};
use deputy_declaration::{compose, image};

use crate::{OneAccount, ROUNDS, Result, median, requests, row, workspace};

/// The one app of this benchmark with its hook.
struct One(Vec<u8>);

impl Components for One {
    fn component(&self, _: &str) -> std::result::Result<Vec<u8>, String> {
        Ok(self.0.clone())
    }
}

/// CPU of a request that a hook signs (a new instance, a digest and an HMAC), beside one that carries its token.
pub async fn signed(address: SocketAddr) -> Result<()> {
    let path = workspace().join("target/guests/components/signing_hook.wasm");
    let guest = std::fs::read(&path).map_err(|error| format!("{}: {error}; run cargo xtask build", path.display()))?;
    let method =
        "tokens = { key_id = {}, secret = {} }\nsign.hook = { headers = [\"Authorization\", \"X-Acme-Date\"] }";
    let tokens = OneAccount::with(address, method)?;
    let component = compose::compose(&image::component(&tokens.declaration)?, &guest)?;
    let policy = Policy { allow: vec![address], ..Policy::default() };
    let hooks = Arc::new(Hooks::new(Arc::new(One(component)), None));
    let signing = Egress::new(policy.clone(), Arc::new(MemoryAudit::default()))?.with_hooks(hooks);
    let egress = Egress::new(policy, Arc::new(MemoryAudit::default()))?;
    let bearer = OneAccount::new(address)?;
    let grants = [&tokens, &bearer].map(|tokens| Grant::whole(Caller::local(), tokens.account.clone()));
    let (mut ours, mut beside) = (Vec::new(), Vec::new());
    for _ in 0..ROUNDS {
        ours.push(requests(&signing, &grants[0], &tokens).await?);
        beside.push(requests(&egress, &grants[1], &bearer).await?);
    }
    row("CPU of a request that a hook signs", median(ours), median(beside), "");
    Ok(())
}
