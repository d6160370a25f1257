//! Where secrets rest: the `Secret` type, the key file, and the envelope around every stored secret.

pub mod secret;

pub use secret::Secret;
