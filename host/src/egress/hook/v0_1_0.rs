//! `deputy:app@0.1.0`, the hooks: bindings and conversions, nothing else.

use wasmtime::component::{HasSelf, Linker, Resource};

use super::held::{Coding, Held, Host};

mod bindings {
    wasmtime::component::bindgen!({
        path: "../wit/app/0.1.0",
        world: "signing-hook",
        imports: { default: trappable },
        exports: { default: async },
        with: { "deputy:app/secrets.secret": crate::egress::hook::held::Held },
    });
}

mod reply_bindings {
    wasmtime::component::bindgen!({
        path: "../wit/app/0.1.0",
        world: "token-reply-hook",
        exports: { default: async },
        with: { "deputy:app/secrets": crate::egress::hook::v0_1_0::bindings::deputy::app::secrets },
    });
}

mod identity_bindings {
    wasmtime::component::bindgen!({
        path: "../wit/app/0.1.0",
        world: "identity-hook",
        exports: { default: async },
    });
}

pub(super) use bindings::SigningHookPre;
use bindings::deputy::app::secrets;
pub(super) use bindings::exports::deputy::app::signing::{Body, Field, Request, Signed, Slot, Token};
pub(super) use identity_bindings::IdentityHookPre;
pub(super) use identity_bindings::exports::deputy::app::identity;
pub(super) use reply_bindings::TokenReplyHookPre;
pub(super) use reply_bindings::exports::deputy::app::token_reply::{Item, Part, Reply, Value};

/// All that a hook can import.
pub(super) fn add_to_linker(linker: &mut Linker<Host>) -> wasmtime::Result<()> {
    secrets::add_to_linker::<_, HasSelf<_>>(linker, |host| host)
}

impl From<secrets::Hash> for super::held::Hash {
    fn from(hash: secrets::Hash) -> Self {
        match hash {
            secrets::Hash::Sha1 => Self::Sha1,
            secrets::Hash::Sha256 => Self::Sha256,
            secrets::Hash::Sha384 => Self::Sha384,
            secrets::Hash::Sha512 => Self::Sha512,
        }
    }
}

impl From<secrets::Encoding> for Coding {
    fn from(encoding: secrets::Encoding) -> Self {
        match encoding {
            secrets::Encoding::Base64 => Self::Base64,
            secrets::Encoding::Base64url => Self::Base64url,
            secrets::Encoding::Hex => Self::Hex,
            secrets::Encoding::Percent => Self::Percent,
        }
    }
}

impl secrets::Host for Host {}

impl secrets::HostSecret for Host {
    fn new(&mut self, bytes: Vec<u8>) -> wasmtime::Result<Resource<Held>> {
        self.keep(Held::open(bytes))
    }

    fn concat(&mut self, parts: Vec<Resource<Held>>) -> wasmtime::Result<Resource<Held>> {
        // Before anything is allocated: a handle may be named many times.
        let mut length = 0_usize;
        for part in &parts {
            length = length.saturating_add(self.get(part)?.len());
        }
        self.check_size(length)?;
        let parts = parts.iter().map(|part| self.get(part)).collect::<Result<Vec<_>, _>>()?;
        let whole = Held::concat(&parts);
        self.keep(whole)
    }

    fn hmac(
        &mut self,
        key: Resource<Held>,
        hash: secrets::Hash,
        message: Resource<Held>,
    ) -> wasmtime::Result<Resource<Held>> {
        let mac = self.get(&key)?.hmac(hash.into(), self.get(&message)?);
        self.keep(mac)
    }

    fn digest(&mut self, this: Resource<Held>, hash: secrets::Hash) -> wasmtime::Result<Resource<Held>> {
        let digest = self.get(&this)?.digest(hash.into());
        self.keep(digest)
    }

    fn encode(&mut self, this: Resource<Held>, encoding: secrets::Encoding) -> wasmtime::Result<Resource<Held>> {
        let most = self.get(&this)?.len().saturating_mul(3);
        self.check_size(most)?;
        let encoded = self.get(&this)?.encode(encoding.into());
        self.keep(encoded)
    }

    fn decode(&mut self, this: Resource<Held>, encoding: secrets::Encoding) -> wasmtime::Result<Resource<Held>> {
        let decoded = self.get(&this)?.decode(encoding.into());
        let decoded = self.or_fault(decoded)?;
        self.keep(decoded)
    }

    fn between(&mut self, this: Resource<Held>, after: String, before: String) -> wasmtime::Result<Resource<Held>> {
        let part = self.get(&this)?.between(after.as_bytes(), before.as_bytes());
        let part = self.or_fault(part)?;
        self.keep(part)
    }

    fn drop(&mut self, this: Resource<Held>) -> wasmtime::Result<()> {
        self.release(this)
    }
}
