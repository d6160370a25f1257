//! One account, one egress and its audit, put together for a test.

use std::sync::{Arc, Mutex};

use futures_util::future::BoxFuture;
use http::Method;

use super::super::dial::SystemLookup;
use super::super::{
    Answer, Credential, Egress, EgressError, Grant, Live, MemoryAudit, Policy, Request, Tokens, TokensError,
};
use super::live;
use super::peer::Peer;
use crate::caller::Caller;
use crate::vault::Secret;

type Renew = Box<dyn Fn(&Live) -> Result<Live, TokensError> + Send + Sync>;

/// Secrets in memory: renewed once for each generation, as `auth` does it.
pub struct FakeTokens {
    now: Mutex<Arc<Live>>,
    renew: Renew,
    pub asked: Mutex<Vec<u64>>,
    pub refreshed: Mutex<Vec<u64>>,
    pub revoked: Mutex<Vec<u64>>,
}

impl FakeTokens {
    pub fn replace(&self, live: Live) {
        *self.now.lock().unwrap() = Arc::new(live);
    }
}

impl Tokens for FakeTokens {
    fn live<'a>(&'a self, _: &'a Grant) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        Box::pin(async { Ok(self.now.lock().unwrap().clone()) })
    }

    fn renew<'a>(&'a self, _: &'a Grant, generation: u64) -> BoxFuture<'a, Result<Arc<Live>, TokensError>> {
        Box::pin(async move {
            self.asked.lock().unwrap().push(generation);
            let mut now = self.now.lock().unwrap();
            if now.generation == generation {
                *now = Arc::new((self.renew)(&now)?);
                self.refreshed.lock().unwrap().push(generation);
            }
            Ok(now.clone())
        })
    }

    fn revoked<'a>(&'a self, _: &'a Grant, generation: u64) -> BoxFuture<'a, ()> {
        Box::pin(async move { self.revoked.lock().unwrap().push(generation) })
    }
}

pub struct World {
    pub egress: Egress,
    pub audit: Arc<MemoryAudit>,
    pub tokens: FakeTokens,
    pub grant: Grant,
}

/// A copy with the same secrets: tests only.
pub fn copy(live: &Live) -> Live {
    Live {
        account: live.account.clone(),
        name: live.name.clone(),
        declaration: live.declaration.clone(),
        method: live.method,
        inputs: live.inputs.clone(),
        tokens: live.tokens.iter().map(|(name, secret)| (name.clone(), secret.duplicate())).collect(),
        client_id: live.client_id.clone(),
        origins: live.origins.clone(),
        base: live.base.clone(),
        token_endpoints: live.token_endpoints.clone(),
        generation: live.generation,
    }
}

/// The next generation, with another secret.
pub fn renewed(live: &Live) -> Result<Live, TokensError> {
    let mut next = copy(live);
    next.generation += 1;
    next.tokens.insert("key".into(), Secret::new(format!("canary-secret-gen{}", next.generation).into_bytes()));
    Ok(next)
}

pub fn allow(peers: &[&Peer]) -> Policy {
    Policy { allow: peers.iter().map(|peer| peer.address).collect(), ..Policy::default() }
}

impl World {
    pub fn new(live: Live, policy: Policy) -> Self {
        Self::renewing(live, policy, renewed)
    }

    /// With the peer as the account's only origin, and allowed.
    pub fn at(peer: &Peer) -> Self {
        Self::new(live(&peer.origin()), allow(&[peer]))
    }

    pub fn renewing(
        live: Live,
        policy: Policy,
        renew: impl Fn(&Live) -> Result<Live, TokensError> + Send + Sync + 'static,
    ) -> Self {
        Self::with_lookup(live, policy, renew, Arc::new(SystemLookup))
    }

    pub fn with_lookup(
        live: Live,
        policy: Policy,
        renew: impl Fn(&Live) -> Result<Live, TokensError> + Send + Sync + 'static,
        lookup: Arc<dyn super::super::dial::Lookup>,
    ) -> Self {
        let audit = Arc::new(MemoryAudit::default());
        let egress = Egress::with_lookup(policy, audit.clone(), lookup).unwrap();
        let grant = Grant::whole(Caller::local(), live.account.clone());
        let tokens = FakeTokens {
            now: Mutex::new(Arc::new(live)),
            renew: Box::new(renew),
            asked: Mutex::default(),
            refreshed: Mutex::default(),
            revoked: Mutex::default(),
        };
        Self { egress, audit, tokens, grant }
    }

    pub async fn send(&self, request: Request) -> Result<Answer, EgressError> {
        self.egress.send(Credential::Account { grant: &self.grant, tokens: &self.tokens }, request).await
    }

    pub async fn get(&self, url: &str) -> Result<Answer, EgressError> {
        self.send(Request::new(Method::GET, url)).await
    }

    /// The whole body of a GET.
    pub async fn body(&self, url: &str) -> Result<Vec<u8>, EgressError> {
        self.get(url).await?.body.collect(1 << 30).await
    }
}
