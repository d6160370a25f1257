//! Connecting with a device code: see [`crate::auth::device`].

use std::time::Duration;

use serde::Serialize;

use super::connect::{ConnectOAuth, Connected};
use super::inputs::Way;
use super::{AccountError, Accounts};
use crate::auth::device::{self, Given, Polled};
use crate::auth::error::AuthError;
use crate::caller::Caller;
use crate::ids::FlowId;
use crate::time::Time;

/// What a person needs to go on, on any device.
#[derive(Debug, Serialize)]
pub struct DeviceBegun {
    pub flow: FlowId,
    pub user_code: String,
    pub verification_uri: String,
    /// With the code in it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub verification_uri_complete: Option<String>,
    pub interval_s: u64,
    pub expires_at: Time,
}

impl Accounts {
    pub async fn device_begin(&self, caller: &Caller, connect: ConnectOAuth) -> Result<DeviceBegun, AccountError> {
        let mut opened = self.open_flow(caller, connect, Way::Device).await?;
        let given = device::begin(&self.rows, &*self.road, caller, &opened.flow, &opened.pinned).await?;
        let Given { device, user_code, verification_uri, verification_uri_complete, lifetime } = given;
        let interval_s = device.interval_s;
        let flow = &mut opened.flow;
        flow.device = Some(device);
        flow.expires_at = self.rows.now().plus(lifetime);
        self.apps.keep(&opened.pinned.hash).map_err(AuthError::Internal)?;
        self.rows.put_flow(flow).await?;
        let (flow, expires_at) = (flow.id.clone(), flow.expires_at);
        Ok(DeviceBegun { flow, user_code, verification_uri, verification_uri_complete, interval_s, expires_at })
    }

    /// Asks for the tokens as often as it may, until a person has entered the code.
    pub async fn device_wait(&self, caller: &Caller, id: &FlowId) -> Result<Connected, AccountError> {
        let owner = &caller.owner;
        let flow = self.rows.flow(owner, id).await?.ok_or(AuthError::StateUnknown)?.value;
        let mut interval_s = flow.device.as_ref().ok_or(AuthError::StateUnknown)?.interval_s;
        let pinned = self.begun_under(&flow)?;
        loop {
            tokio::time::sleep(Duration::from_secs(interval_s)).await;
            let polled = if self.rows.now() >= flow.expires_at {
                Err(AuthError::DeviceExpired { app: flow.app.clone() })
            } else {
                device::poll(&self.rows, &*self.road, caller, &flow, &pinned, interval_s).await
            };
            let obtained = match polled {
                Ok(Polled::Wait(seconds)) => {
                    interval_s = seconds;
                    continue;
                }
                Ok(Polled::Obtained(obtained)) => Ok(obtained),
                Err(error) => Err(error),
            };
            // Over, for better or worse.
            let flow = self.rows.take_device_flow(owner, id).await?;
            return self.admit_flow(caller, flow, pinned, Way::Device, obtained?).await;
        }
    }
}
