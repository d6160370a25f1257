//! Handles of bytes that the host keeps.

use crate::bindings::deputy::app::secrets::{Encoding, Hash, Secret as Handle};

/// Bytes that the host keeps: a token of the account, the body of the request, or what was computed from them.
///
/// They can be hashed, encoded and put together; they cannot be read, measured or compared. An operation that fails ends
/// the call.
#[derive(Debug)]
pub struct Secret(pub(crate) Handle);

/// What can be computed with: a [`Secret`], or text and bytes of the hook's own.
pub trait Bytes {
    /// Calls `with` with the handle of the bytes.
    #[doc(hidden)]
    fn held(&self, with: &mut dyn FnMut(&Handle));

    /// The handle to give away.
    #[doc(hidden)]
    fn to_secret(&self) -> Secret {
        let mut whole = None;
        self.held(&mut |handle| whole = Some(Handle::concat(&[handle])));
        match whole {
            Some(handle) => Secret(handle),
            None => Secret(Handle::new(&[])),
        }
    }
}

impl Bytes for Secret {
    fn held(&self, with: &mut dyn FnMut(&Handle)) {
        with(&self.0);
    }
}

macro_rules! own_bytes {
    ($($ty:ty),+) => { $(
        impl Bytes for $ty {
            fn held(&self, with: &mut dyn FnMut(&Handle)) {
                let bytes: &[u8] = self.as_ref();
                with(&Handle::new(bytes));
            }
        }
    )+ };
}
own_bytes!(str, &str, String, [u8], &[u8], Vec<u8>);

/// All parts, one after the other.
pub fn join(parts: &[&dyn Bytes]) -> Secret {
    let mut handles: Vec<Secret> = Vec::new();
    for part in parts {
        handles.push(part.to_secret());
    }
    let handles: Vec<&Handle> = handles.iter().map(|secret| &secret.0).collect();
    Secret(Handle::concat(&handles))
}

impl Secret {
    /// HMAC (RFC 2104) of the message, with this secret as key.
    pub fn hmac(&self, hash: Hash, message: &(impl Bytes + ?Sized)) -> Secret {
        let mut mac = None;
        message.held(&mut |message| mac = Some(self.0.hmac(hash, message)));
        match mac {
            Some(handle) => Secret(handle),
            // Every `Bytes` calls what it is given.
            None => unreachable!(),
        }
    }

    pub fn digest(&self, hash: Hash) -> Secret {
        Secret(self.0.digest(hash))
    }

    pub fn encode(&self, encoding: Encoding) -> Secret {
        Secret(self.0.encode(encoding))
    }

    /// Of a reply or a part of one: what stands between the first `after` and the next `before`; an empty `before`: up to
    /// the end. Ends the call where either is not there, and for every other handle: whether a token can be cut would
    /// tell what it is.
    pub fn between(&self, after: &str, before: &str) -> Secret {
        Secret(self.0.between(after, before))
    }

    /// Ends the call when the bytes are not so encoded. Base64 is taken with or without padding.
    pub fn decode(&self, encoding: Encoding) -> Secret {
        Secret(self.0.decode(encoding))
    }
}
