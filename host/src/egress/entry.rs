//! One audit line in the making: written when the exchange ends, however it ends.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Instant;

use http::{Method, StatusCode};
use url::Url;

use super::outgoing::Progress;
use super::{Audit, AuditLine, EgressError};
use crate::caller::Caller;
use crate::ids::AccountId;
use crate::time::Time;

pub(super) struct Entry {
    audit: Arc<dyn Audit>,
    /// None once it is written.
    line: Option<AuditLine>,
    started: Instant,
    pub progress: Arc<Progress>,
}

impl Entry {
    pub(super) fn new(
        audit: &Arc<dyn Audit>,
        caller: &Caller,
        account: Option<AccountId>,
        purpose: &str,
        method: &Method,
    ) -> Self {
        let line = AuditLine {
            at: Time::now(),
            owner: caller.owner.clone(),
            via: caller.via.clone(),
            app: String::new(),
            account,
            purpose: purpose.to_owned(),
            // A caller chooses it, and may choose a long one.
            method: method.as_str().chars().take(32).collect(),
            origin: String::new(),
            path: String::new(),
            status: None,
            error: None,
            request_bytes: 0,
            response_bytes: 0,
            duration_ms: 0,
            scrubbed: 0,
        };
        Self { audit: audit.clone(), line: Some(line), started: Instant::now(), progress: Arc::default() }
    }

    pub(super) fn app(&mut self, slug: &str) {
        self.set(|line| line.app = slug.to_owned());
    }

    /// Before any credential is added to it.
    pub(super) fn target(&mut self, url: &Url, origin: &str) {
        self.set(|line| {
            line.origin = origin.to_owned();
            line.path = url.path().to_owned();
        });
    }

    /// The path with a template where a secret stands on the wire.
    pub(super) fn path(&mut self, shown: String) {
        self.set(|line| line.path = shown);
    }

    pub(super) fn status(&mut self, status: StatusCode, response_bytes: u64) {
        self.set(|line| {
            line.status = Some(status.as_u16());
            line.response_bytes = response_bytes;
        });
    }

    pub(super) fn received(&mut self, response_bytes: u64) {
        self.set(|line| line.response_bytes = response_bytes);
    }

    pub(super) fn scrubbed(&mut self, hits: u64) {
        self.set(|line| line.scrubbed += hits);
    }

    pub(super) fn failed(&mut self, error: &EgressError) {
        self.set(|line| line.error = Some(error.code().to_owned()));
    }

    fn set(&mut self, change: impl FnOnce(&mut AuditLine)) {
        if let Some(line) = &mut self.line {
            change(line);
        }
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        let Some(mut line) = self.line.take() else { return };
        line.duration_ms = u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX);
        line.request_bytes = self.progress.sent.load(Ordering::Relaxed);
        if line.status.is_none() && line.error.is_none() {
            // The caller went away.
            line.error = Some("cancelled".to_owned());
        }
        self.audit.write(line);
    }
}
