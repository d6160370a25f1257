//! The hook `identity`: whose account it is, from an answer to the test request that no JSON Pointer reads.
//!
//! It is told what everybody may know: the answer came through the road, without the account's secrets.

use std::collections::BTreeMap;

use super::held::Host;
use super::v0_1_0::identity::{Answer, Field};
use super::{Hooks, sentence};
use crate::egress::EgressError;

/// What a hook says of an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Who {
    /// Never changes.
    pub id: Option<String>,
    pub label: Option<String>,
}

impl Hooks {
    pub async fn identify(
        &self,
        slug: &str,
        version: &str,
        status: u16,
        body: &[u8],
        inputs: &BTreeMap<String, String>,
    ) -> Result<Who, EgressError> {
        let unusable =
            |reason: String| EgressError::Internal(format!("the identity hook of {slug} cannot be used: {reason}"));
        let failed = |why: &str| {
            EgressError::denied("hook", format!("the identity hook of {slug} failed: {why}"), "tell the app's author")
        };
        let pre = self.identity_ready(version).await.map_err(unusable)?;
        let room = self.room().map_err(|error| unusable(error.to_string()))?;
        let _slot = room.slot().await.map_err(|error| unusable(error.to_string()))?;
        let mut store = room.store(Host::new(room.limits(), 1 << 20));
        let inputs = inputs.iter().map(|(name, value)| Field { name: name.clone(), value: value.clone() });
        let answer = Answer { status, body: String::from_utf8_lossy(body).into_owned(), inputs: inputs.collect() };
        let call = async {
            let hook = pre.instantiate_async(&mut store).await?;
            hook.deputy_app_identity().call_identify(&mut store, &answer).await
        };
        match super::bounded(call).await {
            Ok(Ok(Ok(who))) => Ok(Who { id: who.id, label: who.label }),
            Ok(Ok(Err(words))) => Err(failed(&sentence(&words))),
            Ok(Err(error)) => Err(failed(&super::why(store.data(), &error))),
            Err(why) => Err(failed(&why)),
        }
    }
}
