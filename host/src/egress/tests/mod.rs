//! The road against real sockets on loopback, and what the tests of the single rules share.

mod hostile;
pub(super) mod peer;
mod places;
mod plain;
mod road;
mod tls;
pub(super) mod world;

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::types::{
    App, AuthKind, AuthMethod, Encoding, Evidence, EvidenceLevel, NamedTemplate, Part, Placeholder, Reach, Rule,
    RuleSet, Signals,
};
use url::Url;

use super::Live;
use crate::ids::AccountId;
use crate::vault::Secret;

pub(super) fn text(text: &str) -> Part {
    Part::Text(text.into())
}

pub(super) fn token(name: &str, encodings: &[Encoding]) -> Part {
    Part::Token(Placeholder { name: name.into(), encodings: encodings.to_vec() })
}

/// An account with the token `key`, sent as a bearer token, whose only origin and base is `origin`.
pub(super) fn live(origin: &str) -> Live {
    let bearer =
        Rule::Header(NamedTemplate { name: "authorization".into(), value: vec![text("Bearer "), token("key", &[])] });
    let app = App {
        slug: "test".into(),
        name: "Test".into(),
        summary: "A test.".into(),
        categories: Vec::new(),
        homepage: None,
        docs: None,
        logo: None,
        evidence: Evidence { level: EvidenceLevel::Facts, date: "2026-11-22".into(), source: "test".into() },
        inputs: Vec::new(),
        methods: vec![AuthMethod {
            id: "key".into(),
            label: "Key".into(),
            help: None,
            docs: None,
            setup: None,
            kind: AuthKind::Keys,
            tokens: Vec::new(),
            revoke: Vec::new(),
            reply_hook: false,
            rule_sets: vec![RuleSet { name: "key".into(), rules: vec![bearer] }],
        }],
        base: vec![text(origin)],
        reach: Reach { origins: Vec::new(), methods: Vec::new(), paths: Vec::new(), denied_paths: Vec::new() },
        headers: Vec::new(),
        test: None,
        signals: Signals::default(),
        pagination: None,
        actions: Vec::new(),
    };
    let base = Url::parse(origin).unwrap();
    Live {
        account: AccountId::new(),
        name: "test/work".into(),
        declaration: Arc::new(app),
        version: "test".into(),
        method: 0,
        inputs: BTreeMap::new(),
        tokens: BTreeMap::from([("key".into(), Secret::new(b"canary-secret-1234".to_vec()))]),
        client_id: None,
        origins: vec![base.origin()],
        base,
        token_endpoints: Vec::new(),
        generation: 1,
    }
}
