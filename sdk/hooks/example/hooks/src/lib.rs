//! HMAC-SHA256 over method, path, query, date and the SHA-256 of the body; the key is pasted as base64.

use deputy_hooks::prelude::*;

struct Acme;

impl Signing for Acme {
    fn sign(request: Request) -> Result<Signature, Error> {
        let date = request.now_s().to_string();
        let target = match &request.query {
            Some(query) => format!("{}?{query}", request.path),
            None => request.path.clone(),
        };
        let body = request.body()?;
        let text = join(&[&request.method, &"\n", &target, &"\n", &date, &"\n", &body.sha256]);
        let key = request.token("secret")?.decode(Encoding::Base64);
        let signature = key.hmac(Hash::Sha256, &text).encode(Encoding::Hex);
        let credential = join(&[&"ACME key=", request.token("key_id")?, &", signature=", &signature]);
        Ok(Signature::new().header("Authorization", &credential).header("X-Acme-Date", &date))
    }
}

deputy_hooks::export_hooks!(Acme: signing);
