//! The hooks of apps: code of their own that signs requests, reads replies with tokens, or says whose an account is.
//!
//! `signing`, here: the hook sees the request that goes out, without its credentials, and handles in place of the account's tokens. What
//! it gives back is handles too, each for a place that the rule names; this room renders them. A hook that writes
//! elsewhere, that signs without a token, or that fails, stops the request. [`reply`] and [`identity`] are the others.
//!
//! Bounds: a fresh instance for every call, [`CPU`] of CPU time, the memory of [`Limits::apps`], 90 handles, and behind
//! them three times the body and 1 MiB.

mod held;
mod identity;
mod reply;
#[cfg(test)]
mod tests;
mod v0_1_0;

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use aws_lc_rs::digest::{SHA256, digest};
use data_encoding::HEXLOWER;
use deputy_declaration::compose::{SIGNING, TOKEN_REPLY};
use deputy_declaration::types::{App, HookSigner};
use http::{HeaderMap, HeaderName, HeaderValue, Method};
use percent_encoding::percent_encode;
use url::Url;
use wasmtime::component::{InstancePre, Linker, Resource};
use zeroize::Zeroizing;

pub use self::identity::Who;

use self::held::{Fault, Held, Host};
use self::v0_1_0::{Field, IdentityHookPre, Request, Signed, SigningHookPre, Slot, Token, TokenReplyHookPre};
use super::inject::{Injected, RESERVED};
use super::sign::nonce;
use super::{Body, EgressError, Live, reconnect};
use crate::app::{AppError, Catalog};
use crate::time::Time;
use crate::wasm::{Class, CpuMeter, Limits, Room, WasmError, within_cpu};

/// A signature takes well under a millisecond; this is for the slowest machine and the largest body.
const CPU: Duration = Duration::from_millis(250);
/// Hooks that run at once; the others wait.
const SLOTS: usize = 16;
/// The longest value of a slot, in bytes.
const MOST_SLOT_BYTES: usize = 8 << 10;
/// Of a hook's own sentence, in characters.
const MOST_SENTENCE: usize = 300;

/// Where components come from, by the hash that accounts pin.
pub trait Components: Send + Sync + 'static {
    fn component(&self, version: &str) -> Result<Vec<u8>, String>;
}

impl Components for Catalog {
    fn component(&self, version: &str) -> Result<Vec<u8>, String> {
        Self::component(self, version).map_err(|error: AppError| error.to_string())
    }
}

/// The hooks of all apps, compiled when first used or at install.
pub struct Hooks {
    components: Arc<dyn Components>,
    cache: Option<PathBuf>,
    room: OnceLock<Arc<Room>>,
    signing: Ready<SigningHookPre<Host>>,
    replies: Ready<TokenReplyHookPre<Host>>,
    identities: Ready<IdentityHookPre<Host>>,
}

/// Hooks of one kind by the version that they belong to.
type Ready<Pre> = Mutex<HashMap<String, Pre>>;

impl Hooks {
    /// Costs nothing before the first hook. Without a cache folder each is compiled anew in every process.
    pub fn new(components: Arc<dyn Components>, cache: Option<&Path>) -> Self {
        let cache = cache.map(Path::to_owned);
        Self {
            components,
            cache,
            room: OnceLock::new(),
            signing: Mutex::default(),
            replies: Mutex::default(),
            identities: Mutex::default(),
        }
    }

    fn room(&self) -> Result<Arc<Room>, WasmError> {
        if let Some(room) = self.room.get() {
            return Ok(room.clone());
        }
        let room = Arc::new(Room::new(Class::Apps, Limits::apps(), SLOTS, self.cache.as_deref())?);
        Ok(self.room.get_or_init(|| room).clone())
    }

    /// Compiles the hooks of a version and checks that they fit, so that no request waits for them.
    ///
    /// # Errors
    /// One sentence for the author.
    pub async fn prepare(&self, version: &str, app: &App) -> Result<(), String> {
        for (hook, _) in app.hooks() {
            match hook {
                SIGNING => self.ready(version).await.map(drop)?,
                TOKEN_REPLY => self.reply_ready(version).await.map(drop)?,
                _ => self.identity_ready(version).await.map(drop)?,
            }
        }
        Ok(())
    }

    async fn ready(&self, version: &str) -> Result<SigningHookPre<Host>, String> {
        self.ready_in(&self.signing, version, SigningHookPre::new).await
    }

    async fn reply_ready(&self, version: &str) -> Result<TokenReplyHookPre<Host>, String> {
        self.ready_in(&self.replies, version, TokenReplyHookPre::new).await
    }

    async fn identity_ready(&self, version: &str) -> Result<IdentityHookPre<Host>, String> {
        self.ready_in(&self.identities, version, IdentityHookPre::new).await
    }

    async fn ready_in<Pre: Clone>(
        &self,
        ready: &Ready<Pre>,
        version: &str,
        fit: impl FnOnce(InstancePre<Host>) -> wasmtime::Result<Pre>,
    ) -> Result<Pre, String> {
        let known = ready.lock().unwrap_or_else(PoisonError::into_inner).get(version).cloned();
        if let Some(pre) = known {
            return Ok(pre);
        }
        let room = self.room().map_err(|error| error.to_string())?;
        let bytes = self.components.component(version)?;
        let component = room.component(bytes.into()).await.map_err(|error| error.to_string())?;
        let mut linker = Linker::new(room.engine());
        let pre = v0_1_0::add_to_linker(&mut linker)
            .and_then(|()| linker.instantiate_pre(&component))
            .and_then(fit)
            .map_err(|error| format!("it does not fit this host: {error:#}"))?;
        ready.lock().unwrap_or_else(PoisonError::into_inner).insert(version.to_owned(), pre.clone());
        Ok(pre)
    }

    /// Signs what was injected, in the places that the rule names.
    pub(super) async fn sign(
        &self,
        live: &Live,
        declared: &HookSigner,
        method: &Method,
        injected: &mut Injected,
        at: Time,
    ) -> Result<(), EgressError> {
        let slug = &live.declaration.slug;
        let pre = self
            .ready(&live.version)
            .await
            .map_err(|reason| EgressError::Internal(format!("the signing hook of {slug} cannot be used: {reason}")))?;
        let room = self.room().map_err(|error| EgressError::Internal(error.to_string()))?;
        let _slot = room.slot().await.map_err(|error| busy(slug, &error))?;
        let body = match &injected.body {
            Body::Bytes(bytes) => bytes.len(),
            Body::Empty | Body::Stream { .. } => 0,
        };
        let mut store = room.store(Host::new(room.limits(), body.saturating_mul(3).saturating_add(1 << 20)));
        let internal = |error: wasmtime::Error| EgressError::Internal(format!("a hook's request: {error:#}"));
        let request = request(live, method, injected, at, store.data_mut())?.map_err(internal)?;
        let call = async {
            let hook = pre.instantiate_async(&mut store).await?;
            hook.deputy_app_signing().call_sign(&mut store, &request).await
        };
        let signed = match bounded(call).await {
            Ok(Ok(Ok(signed))) => signed,
            Ok(Ok(Err(sentence))) => return Err(refused(slug, &sentence)),
            Ok(Err(error)) => return Err(stopped(live, store.data(), &error)),
            Err(why) => return Err(failed(slug, &why)),
        };
        let placed = take(live, declared, signed, store.data_mut())?;
        place(slug, placed, injected)
    }
}

/// The call within its CPU time. The outer error: it did not end.
async fn bounded<T>(call: impl Future<Output = T>) -> Result<T, String> {
    let ended = within_cpu(CPU, &CpuMeter::default(), call).await;
    ended.map_err(|_| format!("it did not end within {} ms of CPU time", CPU.as_millis()))
}

/// What the hook is told. The outer error is the caller's, the inner one ours.
fn request(
    live: &Live,
    method: &Method,
    injected: &Injected,
    at: Time,
    host: &mut Host,
) -> Result<wasmtime::Result<Request>, EgressError> {
    let Injected { url, headers, body, .. } = injected;
    let body = match body {
        Body::Empty => Some(bytes::Bytes::new()),
        Body::Bytes(bytes) => Some(bytes.clone()),
        Body::Stream { .. } => None,
    };
    let nonce = nonce()?;
    let build = || {
        let body = body.map(|bytes| {
            let sha256 = HEXLOWER.encode(digest(&SHA256, &bytes).as_ref());
            let length = bytes.len() as u64;
            host.keep(Held::body(bytes)).map(|bytes| v0_1_0::Body { length, sha256, bytes })
        });
        let body = body.transpose()?;
        let tokens = live.tokens.iter().map(|(name, secret)| {
            let value = host.keep(Held::secret(secret.expose().to_vec()))?;
            Ok(Token { name: name.clone(), value })
        });
        Ok(Request {
            method: method.as_str().to_owned(),
            origin: url.origin().ascii_serialization(),
            path: url.path().to_owned(),
            query: url.query().map(str::to_owned),
            headers: shown(headers),
            body,
            now_ms: at.as_ms(),
            nonce,
            inputs: live.inputs.iter().map(|(name, value)| field(name, value)).collect(),
            tokens: tokens.collect::<wasmtime::Result<_>>()?,
        })
    };
    Ok(build())
}

fn field(name: &str, value: &str) -> Field {
    Field { name: name.to_owned(), value: value.to_owned() }
}

/// All headers that hold no credential and that a text can hold.
fn shown(headers: &HeaderMap) -> Vec<Field> {
    let open = headers.iter().filter(|(_, value)| !value.is_sensitive());
    open.filter_map(|(name, value)| Some(field(name.as_str(), value.to_str().ok()?))).collect()
}

/// What goes into the request, in declared places only.
struct Placed {
    headers: Vec<(HeaderName, HeaderValue)>,
    /// Encoded names and values.
    query: Vec<Zeroizing<String>>,
    forms: Vec<Zeroizing<Vec<u8>>>,
}

fn take(live: &Live, declared: &HookSigner, signed: Signed, host: &mut Host) -> Result<Placed, EgressError> {
    let slug = &live.declaration.slug;
    let mut placed = Placed { headers: Vec::new(), query: Vec::new(), forms: Vec::new() };
    let mut filled: Vec<String> = Vec::new();
    let mut with_secret = false;
    let (headers, query) = (signed.headers.into_iter().map(|slot| (true, slot)), signed.query.into_iter());
    for (is_header, Slot { name, value }) in headers.chain(query.map(|slot| (false, slot))) {
        let kind = if is_header { "header" } else { "query field" };
        let names = if is_header { &declared.headers } else { &declared.query };
        let same = |known: &&String| if is_header { known.eq_ignore_ascii_case(&name) } else { **known == name };
        // The declared spelling: the hook's own text stands in no error.
        let Some(name) = names.iter().find(same) else {
            return Err(failed(slug, &format!("it writes to a {kind} that its rule does not name")));
        };
        let slot = format!("{kind} `{name}`");
        if filled.contains(&slot) {
            return Err(failed(slug, &format!("it fills the {slot} twice")));
        }
        let held = value_of(value, host).map_err(|error| EgressError::Internal(format!("{error:#}")))?;
        if held.len() > MOST_SLOT_BYTES {
            return Err(failed(slug, &format!("the {slot} would hold more than {MOST_SLOT_BYTES} bytes")));
        }
        with_secret |= held.is_secret();
        if is_header {
            let fits = held.bytes().iter().all(|byte| matches!(byte, 0x20..0x7f));
            let header = HeaderName::from_bytes(name.as_bytes()).ok();
            let value = HeaderValue::from_bytes(held.bytes()).ok().filter(|_| fits);
            let (Some(header), Some(mut value)) = (header, value) else {
                return Err(failed(slug, &format!("the {slot} would hold more than visible ASCII")));
            };
            value.set_sensitive(true);
            placed.headers.push((header, value));
            placed.forms.extend(held.into_pieces());
        } else {
            let name = percent_encode(name.as_bytes(), RESERVED);
            placed.query.push(Zeroizing::new(format!("{name}={}", percent_encode(held.bytes(), RESERVED))));
            for piece in held.into_pieces() {
                placed.forms.push(Zeroizing::new(percent_encode(&piece, RESERVED).to_string().into_bytes()));
                placed.forms.push(piece);
            }
        }
        filled.push(slot);
    }
    // A request that looks signed and is not, or not signed at all, must not go out.
    if !with_secret {
        return Err(failed(slug, "it signed without any token of the account"));
    }
    Ok(placed)
}

fn value_of(handle: Resource<Held>, host: &mut Host) -> wasmtime::Result<Held> {
    host.take(handle)
}

fn place(slug: &str, placed: Placed, injected: &mut Injected) -> Result<(), EgressError> {
    for (name, value) in placed.headers {
        injected.headers.insert(name, value);
    }
    if !placed.query.is_empty() {
        let added = Zeroizing::new(placed.query.iter().map(|field| field.as_str()).collect::<Vec<_>>().join("&"));
        let query = Zeroizing::new(match injected.url.query() {
            Some(query) if !query.is_empty() => format!("{query}&{}", *added),
            _ => added.to_string(),
        });
        let before: Url = injected.url.clone();
        injected.url.set_query(Some(&query));
        if injected.url.query() != Some(query.as_str()) || injected.url.path() != before.path() {
            return Err(failed(slug, "the query that it makes cannot stand in a URL"));
        }
    }
    injected.forms.extend(placed.forms);
    Ok(())
}

fn failed(slug: &str, why: &str) -> EgressError {
    EgressError::denied(
        "hook",
        format!("the signing hook of {slug} failed: {why}"),
        "tell the app's author; nothing was sent",
    )
}

/// The hook said no, in its own words: made of the request alone, since it knows nothing else.
fn refused(slug: &str, sentence: &str) -> EgressError {
    let words = self::sentence(sentence);
    EgressError::denied("hook", format!("{slug} cannot sign the request: {words}"), "change the request as it says")
}

/// A hook's own words, on one line.
fn sentence(words: &str) -> String {
    words.chars().filter(|letter| !letter.is_control()).take(MOST_SENTENCE).collect()
}

/// The call was ended: by a limit, or by a fault of the hook's own.
fn stopped(live: &Live, host: &Host, error: &wasmtime::Error) -> EgressError {
    let slug = &live.declaration.slug;
    match host.fault() {
        Some(fault @ Fault::Encoding) => EgressError::denied(
            "credential",
            format!("the signing hook of {slug} cannot use {}: {fault}", live.name),
            reconnect(&live.name),
        ),
        _ => failed(slug, &why(host, error)),
    }
}

/// Why a call was ended, in words of this host's own.
fn why(host: &Host, error: &wasmtime::Error) -> String {
    if let Some(fault) = host.fault() {
        return fault.to_string();
    }
    if host.meter_of().refused() {
        return format!("it wants more than {} bytes of memory", host.meter_of().memory_limit_bytes());
    }
    // The trap's own word, and nothing that the guest could have put beside it.
    match error.downcast_ref::<wasmtime::Trap>() {
        Some(trap) => format!("it stopped with `{trap}`"),
        None => "it broke the contract of its handles".to_owned(),
    }
}

fn busy(slug: &str, error: &WasmError) -> EgressError {
    EgressError::denied("hook", format!("{slug} cannot sign now: {error}"), "try again")
}
