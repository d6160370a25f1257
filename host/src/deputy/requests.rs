//! One HTTP request through an account.

use super::{Answer, Caller, Deputy, Error, HttpRequest};
use crate::egress::{Credential, Grant};

impl Deputy {
    /// Through the account named, in whatever way names it. The answer streams.
    pub async fn request(&self, caller: &Caller, account: &str, request: HttpRequest) -> Result<Answer, Error> {
        let opened = self.opened().await?;
        let account = opened.accounts.resolve(caller, account).await?;
        let grant = Grant::whole(caller.clone(), account);
        let tokens = opened.accounts.tokens();
        Ok(opened.egress.send(Credential::Account { grant: &grant, tokens: &*tokens }, request).await?)
    }
}
