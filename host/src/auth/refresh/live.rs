//! An opened record made ready for the road.

use std::sync::Arc;

use deputy_declaration::template;
use deputy_declaration::types::AuthMethod;

use super::Core;
use crate::auth::apps::{Apps, PinnedApp};
use crate::auth::error::AuthError;
use crate::auth::record::Record;
use crate::egress::{Live, TokensError};

impl Core {
    pub(super) fn live(&self, record: &Record) -> Result<Arc<Live>, TokensError> {
        let live = live(&*self.apps, record).map_err(|error| TokensError::Internal(error.to_string()))?;
        Ok(Arc::new(live))
    }
}

/// The declaration an account was made with, and its method.
pub fn pinned<'a>(
    apps: &dyn Apps,
    record: &Record,
    found: &'a mut Option<PinnedApp>,
) -> Result<(&'a PinnedApp, usize, &'a AuthMethod), AuthError> {
    let missing = || AuthError::DeclarationMissing { id: record.id.clone(), app: record.app.clone() };
    let pinned = found.insert(apps.pinned(&record.declaration)?.ok_or_else(missing)?);
    let refused = |reason| AuthError::Refused { id: record.id.to_string(), reason };
    if pinned.app.slug != record.app {
        return Err(refused("its declaration is that of another app"));
    }
    let (index, method) = pinned.method(&record.method).ok_or_else(|| refused("its auth method is not declared"))?;
    Ok((pinned, index, method))
}

/// Gives a record that moves to another declaration the hosts of that one, and makes sure that requests can be made.
pub fn at_the_ready(apps: &dyn Apps, record: &mut Record) -> Result<(), AuthError> {
    let mut found = None;
    let app = pinned(apps, record, &mut found)?.0.app.clone();
    let origins = template::origins(&app, &record.inputs)?;
    record.origins = origins.iter().map(url::Origin::ascii_serialization).collect();
    live(apps, record).map(drop)
}

/// Everything is derived anew from the pinned declaration and held against what the record says.
pub fn live(apps: &dyn Apps, record: &Record) -> Result<Live, AuthError> {
    let mut found = None;
    let (pinned, index, method) = pinned(apps, record, &mut found)?;
    let app = &pinned.app;
    let origins = template::origins(app, &record.inputs)?;
    let texts: Vec<String> = origins.iter().map(url::Origin::ascii_serialization).collect();
    if texts != record.origins {
        let reason = "its declaration leads to other hosts than the ones it was connected with";
        return Err(AuthError::Refused { id: record.id.to_string(), reason });
    }
    Ok(Live {
        account: record.id.clone(),
        name: record.name(),
        method: index,
        inputs: template::checked_inputs(app, &record.inputs)?,
        tokens: record.tokens.iter().map(|(name, held)| (name.clone(), held.value.duplicate())).collect(),
        client_id: record.client_id.clone(),
        origins,
        base: template::base(app, &record.inputs)?,
        token_endpoints: template::token_endpoints(app, method, &record.inputs, record.client_id.as_deref())?,
        generation: record.secrets,
        declaration: app.clone(),
        version: pinned.hash.clone(),
    })
}
