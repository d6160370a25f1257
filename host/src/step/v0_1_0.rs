//! `deputy:step@0.1.0`: bindings and conversions, nothing else.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::Value;
use wasmtime::component::{HasSelf, Linker, Resource};
use wasmtime_wasi_io::async_trait;
use wasmtime_wasi_io::poll::{DynPollable, Pollable, subscribe};
use wasmtime_wasi_io::streams::DynInputStream;

use super::host::{AccountHandle, Host};
use super::requests::{Ask, Pending, Refusal, RefusalCode, Response};
use super::{AppNeed, Choice, ItemKind, LogLevel, Prop, PropKind};
use crate::time::Time;

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/step/0.1.0",
        world: "step",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,
            "deputy:step/accounts.account": crate::step::host::AccountHandle,
            "deputy:step/http.pending": crate::step::requests::Pending,
            "deputy:step/http.response": crate::step::requests::Response,
        },
    });
}

/// The world of the shared runner; its interfaces are those of every step.
pub(super) mod runner {
    wasmtime::component::bindgen!({
        path: "../wit/step/0.1.0",
        world: "script-runner",
        imports: { default: trappable },
        exports: { default: async },
        with: {
            "wasi:io/poll": wasmtime_wasi_io::bindings::wasi::io::poll,
            "wasi:io/error": wasmtime_wasi_io::bindings::wasi::io::error,
            "wasi:io/streams": wasmtime_wasi_io::bindings::wasi::io::streams,
            "deputy:step/types": super::bindings::deputy::step::types,
            "deputy:step/accounts": super::bindings::deputy::step::accounts,
            "deputy:step/http": super::bindings::deputy::step::http,
            "deputy:step/log": super::bindings::deputy::step::log,
            "deputy:step/clock": super::bindings::deputy::step::clock,
            "deputy:step/random": super::bindings::deputy::step::random,
        },
    });
}

pub(super) use bindings::StepPre;
use bindings::deputy::step::{accounts, clock, http, log, random, types};

/// The most random bytes that one call gives: the host allocates them.
const MAX_RANDOM_BYTES: u32 = 64 << 10;

/// All that a step can import. Of WASI only `wasi:io`.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    wasmtime_wasi_io::add_to_linker_async(linker)?;
    types::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    accounts::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    http::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    log::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    clock::add_to_linker::<_, HasSelf<_>>(linker, |host| host)?;
    random::add_to_linker::<_, HasSelf<_>>(linker, |host| host)
}

impl From<types::Prop> for Prop {
    fn from(prop: types::Prop) -> Self {
        // What is no JSON is taken for a text; where the prop is none, `validate` names it.
        let json = |text: String| serde_json::from_str(&text).unwrap_or(Value::String(text));
        Self {
            name: prop.name,
            kind: prop.kind.into(),
            label: prop.label,
            help: prop.help,
            optional: prop.optional,
            default: prop.default.map(json),
            options: prop
                .options
                .into_iter()
                .map(|choice| Choice { label: choice.label, value: json(choice.value) })
                .collect(),
            secret: prop.secret,
        }
    }
}

impl From<types::PropKind> for PropKind {
    fn from(kind: types::PropKind) -> Self {
        match kind {
            types::PropKind::App(need) => Self::App(AppNeed {
                app: need.app,
                scopes: need.scopes,
                methods: need.methods,
                paths: need.paths,
                requests: need.requests,
                bytes: need.bytes,
                ambient: need.ambient,
            }),
            types::PropKind::Text => Self::Text,
            types::PropKind::Integer => Self::Integer,
            types::PropKind::Number => Self::Number,
            types::PropKind::Boolean => Self::Boolean,
            types::PropKind::Object => Self::Object,
            types::PropKind::Json => Self::Json,
            types::PropKind::ListOf(of) => Self::List {
                of: match of {
                    types::ItemKind::Text => ItemKind::Text,
                    types::ItemKind::Integer => ItemKind::Integer,
                    types::ItemKind::Number => ItemKind::Number,
                    types::ItemKind::Boolean => ItemKind::Boolean,
                    types::ItemKind::Object => ItemKind::Object,
                    types::ItemKind::Json => ItemKind::Json,
                },
            },
        }
    }
}

impl From<Refusal> for types::Error {
    fn from(refusal: Refusal) -> Self {
        let code = match refusal.code {
            RefusalCode::Invalid => types::ErrorCode::Invalid,
            RefusalCode::Denied => types::ErrorCode::Denied,
            RefusalCode::NotBound => types::ErrorCode::NotBound,
            RefusalCode::NeedsReconnect => types::ErrorCode::NeedsReconnect,
            RefusalCode::Unreachable => types::ErrorCode::Unreachable,
            RefusalCode::Timeout => types::ErrorCode::Timeout,
            RefusalCode::Limit => types::ErrorCode::Limit,
            RefusalCode::Protocol => types::ErrorCode::Protocol,
            RefusalCode::Internal => types::ErrorCode::Internal,
        };
        Self { code, message: refusal.message, fix: refusal.fix }
    }
}

impl types::Host for Host {}

fn fields(fields: &BTreeMap<String, String>) -> Vec<accounts::Field> {
    fields.iter().map(|(name, value)| accounts::Field { name: name.clone(), value: value.clone() }).collect()
}

impl accounts::Host for Host {
    fn get(&mut self, prop: String) -> wasmtime::Result<Result<Resource<AccountHandle>, types::Error>> {
        Ok(self.account(prop)?.map_err(types::Error::from))
    }
}

impl accounts::HostAccount for Host {
    fn facts(&mut self, account: Resource<AccountHandle>) -> wasmtime::Result<accounts::Facts> {
        let bound = self.bound(&account)?;
        Ok(accounts::Facts {
            app: bound.app.clone(),
            name: bound.name.clone(),
            identity: bound.identity.clone(),
            scopes: bound.scopes.clone(),
            inputs: fields(&bound.inputs),
        })
    }

    fn markers(&mut self, account: Resource<AccountHandle>) -> wasmtime::Result<Vec<accounts::Field>> {
        Ok(fields(&self.markers_of(&account)?))
    }

    fn drop(&mut self, account: Resource<AccountHandle>) -> wasmtime::Result<()> {
        self.table.delete(account)?;
        Ok(())
    }
}

impl http::Host for Host {
    fn start(
        &mut self,
        account: Option<Resource<AccountHandle>>,
        request: http::Request,
    ) -> wasmtime::Result<Result<Resource<Pending>, types::Error>> {
        let ask = Ask {
            method: request.method,
            url: request.url,
            headers: request.headers.into_iter().map(|header| (header.name, header.value)).collect(),
            body: request.body,
            timeout_ms: request.timeout_ms,
            rule_set: request.as_identity,
        };
        Ok(self.start(account.as_ref(), ask)?.map_err(types::Error::from))
    }
}

impl http::HostPending for Host {
    fn subscribe(&mut self, pending: Resource<Pending>) -> wasmtime::Result<Resource<DynPollable>> {
        subscribe(&mut self.table, pending)
    }

    fn take(
        &mut self,
        pending: Resource<Pending>,
    ) -> wasmtime::Result<Option<Result<Resource<Response>, types::Error>>> {
        Ok(match self.table.get_mut(&pending)?.take() {
            None => None,
            Some(Ok(response)) => Some(Ok(self.table.push(response)?)),
            Some(Err(refusal)) => Some(Err(refusal.into())),
        })
    }

    fn drop(&mut self, pending: Resource<Pending>) -> wasmtime::Result<()> {
        self.table.delete(pending)?;
        Ok(())
    }
}

impl http::HostResponse for Host {
    fn status(&mut self, response: Resource<Response>) -> wasmtime::Result<u16> {
        Ok(self.table.get(&response)?.status)
    }

    fn headers(&mut self, response: Resource<Response>) -> wasmtime::Result<Vec<http::Header>> {
        let headers = &self.table.get(&response)?.headers;
        Ok(headers
            .iter()
            .map(|(name, value)| http::Header { name: name.as_str().to_owned(), value: value.as_bytes().to_vec() })
            .collect())
    }

    fn body(
        &mut self,
        response: Resource<Response>,
    ) -> wasmtime::Result<Result<Resource<DynInputStream>, types::Error>> {
        match self.table.get_mut(&response)?.body() {
            Ok(body) => {
                let stream: DynInputStream = Box::new(body);
                Ok(Ok(self.table.push(stream)?))
            }
            Err(refusal) => Ok(Err(refusal.into())),
        }
    }

    fn drop(&mut self, response: Resource<Response>) -> wasmtime::Result<()> {
        self.table.delete(response)?;
        Ok(())
    }
}

impl log::Host for Host {
    fn write(&mut self, level: log::Level, message: String) -> wasmtime::Result<()> {
        let level = match level {
            log::Level::Debug => LogLevel::Debug,
            log::Level::Info => LogLevel::Info,
            log::Level::Warn => LogLevel::Warn,
            log::Level::Error => LogLevel::Error,
        };
        self.log.write(Time::now(), level, message);
        Ok(())
    }
}

/// A moment to wait for. A run ends at its deadline, however far away this is.
struct Alarm {
    at: tokio::time::Instant,
}

#[async_trait]
impl Pollable for Alarm {
    async fn ready(&mut self) {
        tokio::time::sleep_until(self.at).await;
    }
}

impl clock::Host for Host {
    fn now_ms(&mut self) -> wasmtime::Result<i64> {
        Ok(Time::now().as_ms())
    }

    fn after_ms(&mut self, ms: u32) -> wasmtime::Result<Resource<DynPollable>> {
        let at = tokio::time::Instant::now() + Duration::from_millis(ms.into());
        let alarm = self.table.push(Alarm { at })?;
        subscribe(&mut self.table, alarm)
    }

    fn cpu_ms(&mut self) -> wasmtime::Result<u64> {
        Ok(u64::try_from(self.cpu.spent().as_millis()).unwrap_or(u64::MAX))
    }
}

impl random::Host for Host {
    fn bytes(&mut self, len: u32) -> wasmtime::Result<Vec<u8>> {
        if len > MAX_RANDOM_BYTES {
            return Err(wasmtime::Error::msg(format!(
                "`random.bytes` gives at most {MAX_RANDOM_BYTES} bytes a call, not {len}"
            )));
        }
        let mut bytes = vec![0; len as usize];
        aws_lc_rs::rand::fill(&mut bytes).map_err(|_| wasmtime::Error::msg("the system gives no random bytes"))?;
        Ok(bytes)
    }
}
