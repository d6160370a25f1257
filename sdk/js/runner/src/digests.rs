//! Digests and HMAC, by the names that Web Crypto gives them, and MD5 for code that still wants it.

use hmac::{KeyInit, Mac, SimpleHmac};
use md5::Md5;
use sha1::Sha1;
use sha2::{Digest, Sha256, Sha384, Sha512};

pub fn digest(algorithm: &str, bytes: &[u8]) -> Option<Vec<u8>> {
    Some(match algorithm {
        "MD5" => Md5::digest(bytes).to_vec(),
        "SHA-1" => Sha1::digest(bytes).to_vec(),
        "SHA-256" => Sha256::digest(bytes).to_vec(),
        "SHA-384" => Sha384::digest(bytes).to_vec(),
        "SHA-512" => Sha512::digest(bytes).to_vec(),
        _ => return None,
    })
}

pub fn hmac(algorithm: &str, key: &[u8], bytes: &[u8]) -> Option<Vec<u8>> {
    Some(match algorithm {
        "MD5" => tag::<Md5>(key, bytes),
        "SHA-1" => tag::<Sha1>(key, bytes),
        "SHA-256" => tag::<Sha256>(key, bytes),
        "SHA-384" => tag::<Sha384>(key, bytes),
        "SHA-512" => tag::<Sha512>(key, bytes),
        _ => return None,
    })
}

fn tag<D>(key: &[u8], bytes: &[u8]) -> Vec<u8>
where
    D: Digest + hmac::digest::block_api::BlockSizeUser,
{
    let mut mac = <SimpleHmac<D> as KeyInit>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(bytes);
    mac.finalize().into_bytes().to_vec()
}
