//! The declaration as values, one type for each of `wit/app/0.1.0/app.wit`.
//!
//! The JSON form (kebab-case, externally tagged) is the WIT value written down: `image` lays it out as the
//! canonical ABI wants it, and the host lifts it back from a component, so a field that stands in only one of the two
//! fails in the first test.

use serde::{Deserialize, Serialize};

use crate::compose::{IDENTITY, SIGNING, TOKEN_REPLY};

macro_rules! record {
    ($(#[$meta:meta])* $name:ident { $($(#[$field_meta:meta])* $field:ident: $ty:ty),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case", deny_unknown_fields)]
        pub struct $name { $($(#[$field_meta])* pub $field: $ty,)* }
    };
}

macro_rules! choice {
    ($(#[$meta:meta])* $name:ident { $($(#[$case_meta:meta])* $case:ident $(($ty:ty))?),* $(,)? }) => {
        $(#[$meta])*
        #[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
        #[serde(rename_all = "kebab-case")]
        pub enum $name { $($(#[$case_meta])* $case $(($ty))?,)* }
    };
}

record!(App {
    slug: String,
    name: String,
    summary: String,
    categories: Vec<String>,
    homepage: Option<String>,
    docs: Option<String>,
    logo: Option<String>,
    evidence: Evidence,
    inputs: Vec<Input>,
    methods: Vec<AuthMethod>,
    base: Template,
    reach: Reach,
    headers: Vec<DefaultHeader>,
    test: Option<TestRequest>,
    signals: Signals,
    pagination: Option<Pagination>,
    actions: Vec<Action>,
});

record!(Evidence { level: EvidenceLevel, date: String, source: String });
choice!(
    #[derive(Copy)]
    EvidenceLevel { Facts, Checked, Verified }
);

record!(Input {
    name: String,
    label: String,
    help: Option<String>,
    example: Option<String>,
    kind: InputKind,
    pattern: Option<String>,
    choices: Vec<String>,
    default: Option<String>,
    source: InputSource,
    hosts: Vec<String>,
});
choice!(
    #[derive(Copy)]
    InputKind { Text, HostLabel, BaseUrl }
);
choice!(InputSource { Account, Client, Once, Discovered(Discovery), });
choice!(Discovery { Reply(String), Callback(String), Request(DiscoveryRequest), Token(TokenPart), });
record!(DiscoveryRequest {
    url: Template,
    identity: Option<String>,
    items: Option<String>,
    value: String,
    label: Option<String>,
});
record!(TokenPart { token: String, pattern: String });

record!(AuthMethod {
    id: String,
    label: String,
    help: Option<String>,
    docs: Option<String>,
    setup: Option<Setup>,
    kind: AuthKind,
    tokens: Vec<Token>,
    rule_sets: Vec<RuleSet>,
    revoke: Vec<Call>,
    reply_hook: bool,
});
record!(Setup { url: Option<String>, steps: Vec<String> });
choice!(#[allow(clippy::large_enum_variant)] AuthKind {
    Keys,
    #[serde(rename = "oauth2-code")]
    OAuth2Code(OAuth2),
    Exchange(Exchange),
});

impl AuthKind {
    /// What people filter by.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Keys => "keys",
            Self::OAuth2Code(_) => "oauth2",
            Self::Exchange(_) => "exchange",
        }
    }
}

record!(Call {
    method: String,
    url: Template,
    headers: Vec<NamedTemplate>,
    query: Vec<NamedTemplate>,
    basic: Option<BasicRule>,
    body: CallBody,
});
choice!(CallBody { None, Form(Vec<NamedTemplate>), Json(Vec<JsonField>), Text(TextBody), });
record!(JsonField { at: String, value: Template, raw: bool });
record!(TextBody { content_type: String, value: Template });
record!(Exchange {
    calls: Vec<Call>,
    refresh: Vec<Call>,
    error: String,
    errors: Vec<ErrorMeaning>,
    rotation: Rotation,
});

record!(Token {
    name: String,
    label: String,
    help: Option<String>,
    example: Option<String>,
    pattern: Option<String>,
    optional: bool,
    once: bool,
    reply: Option<ReplyToken>,
    marker: Marker,
});
record!(Marker { prefix: String, length: u32, alphabet: Alphabet, names: Vec<String> });
choice!(
    #[derive(Copy)]
    Alphabet { Alphanumeric, Hex, Base64url }
);
record!(ReplyToken {
    call: u32,
    access: String,
    access_header: Option<String>,
    refresh: Option<String>,
    expiry: Option<Expiry>,
    scope: Option<String>,
    lifetime_s: Option<u32>,
});

choice!(Expiry { Seconds(String), Milliseconds(String), At(String), Jwt, });

record!(OAuth2 {
    authorize_url: Option<Template>,
    device_url: Option<Template>,
    token_url: Template,
    refresh_url: Option<Template>,
    revoke_url: Option<Template>,
    authorize_params: Vec<Param>,
    token_params: Vec<Param>,
    refresh_params: Vec<Param>,
    token_headers: Vec<Param>,
    names: Vec<Rename>,
    callback_code: Option<String>,
    then: Vec<Call>,
    refresh: Vec<Call>,
    scope_lists: Vec<ScopeList>,
    pkce: Pkce,
    client_auth: ClientAuth,
    body: TokenBody,
    issuer: Option<String>,
    error: String,
    errors: Vec<ErrorMeaning>,
    rotation: Rotation,
    redirect: Redirect,
});
record!(Param { name: String, value: String });
record!(Rename { name: String, to: Option<String> });
record!(ScopeList { param: String, separator: String, scopes: Vec<Scope>, });
record!(Scope { name: String, text: String, default: bool, required: bool });
choice!(
    #[derive(Copy)]
    Pkce { S256, Off }
);
choice!(
    #[derive(Copy)]
    ClientAuth { Basic, BasicRaw, BasicSecret, Post, None }
);
choice!(
    #[derive(Copy)]
    TokenBody { Form, Json, Query }
);
record!(ErrorMeaning { code: String, class: ErrorClass });
choice!(
    #[derive(Copy)]
    ErrorClass { Permanent, Configuration, Throttle, Transient }
);
choice!(#[derive(Copy)] Rotation { None, Rotating, Strict, Grace(u32), });
choice!(
    #[derive(Copy)]
    Redirect { LoopbackAnyPort, Loopback, HttpsOnly }
);

record!(RuleSet { name: String, rules: Vec<Rule>, });
choice!(Rule {
    Header(NamedTemplate),
    Query(NamedTemplate),
    Basic(BasicRule),
    Body(NamedTemplate),
    Path(Template),
    Sign(Signer),
});
choice!(#[allow(clippy::large_enum_variant)] Signer {
    AwsSigv4(AwsSigv4),
    #[serde(rename = "oauth1")]
    OAuth1(OAuth1),
    Hook(HookSigner),
});
record!(HookSigner { headers: Vec<String>, query: Vec<String> });
record!(AwsSigv4 {
    access_key: Template,
    secret_key: Template,
    session_token: Option<Template>,
    region: Template,
    service: Template,
});
record!(OAuth1 {
    consumer_key: Template,
    consumer_secret: Template,
    token: Template,
    token_secret: Template,
    signature: OAuth1Signature,
    realm: Option<Template>,
});
choice!(
    #[derive(Copy)]
    OAuth1Signature { HmacSha1, HmacSha256, Plaintext }
);
record!(NamedTemplate { name: String, value: Template });
record!(BasicRule { username: Template, password: Template });

record!(DefaultHeader { name: String, value: String, locked: bool });

record!(Reach { origins: Vec<Origin>, methods: Vec<String>, paths: Vec<String>, denied_paths: Vec<String>, });
choice!(Origin { Exact(String), Label(LabelOrigin), Choice(Template), Pinned(String), });
record!(LabelOrigin { prefix: String, input: String, suffix: String });

record!(TestRequest {
    method: String,
    path: String,
    headers: Vec<Param>,
    body: Option<String>,
    id: Option<String>,
    label: Option<String>,
    identity_hook: bool,
});

record!(#[derive(Default)] Signals {
    expired: AnyOf,
    revoked: AnyOf,
    failed: AnyOf,
    throttled: AnyOf,
    retry_after: Option<RetryAfter>,
});
record!(RetryAfter { header: String, unit: TimeUnit });
choice!(
    #[derive(Copy)]
    TimeUnit { Seconds, Milliseconds, EpochSeconds }
);

record!(Pagination { items: Option<String>, next: NextPage });
choice!(NextPage {
    Cursor(Cursor),
    LastItem(Cursor),
    LinkHeader,
    Url(String),
    Page(Counter),
    Offset(String),
});
record!(Cursor { at: String, field: String, more: Option<String> });
record!(Counter { field: String, first: u32 });

record!(Action {
    name: String,
    label: String,
    summary: String,
    docs: Option<String>,
    props: Vec<ActionProp>,
    scopes: Vec<Vec<String>>,
    work: ActionWork,
});
record!(ActionProp {
    name: String,
    label: String,
    help: Option<String>,
    example: Option<String>,
    kind: ActionPropKind,
    optional: bool,
    default: Option<String>,
    choices: Vec<String>,
});
choice!(
    #[derive(Copy)]
    ActionPropKind { Text, Integer, Number, Boolean, Object, Json, TextList }
);
choice!(#[allow(clippy::large_enum_variant)] ActionWork { Request(ActionRequest), Script(String), });
record!(ActionRequest {
    method: String,
    path: Vec<ActionPart>,
    query: Vec<ActionField>,
    headers: Vec<ActionField>,
    body: ActionBody,
    identity: Option<String>,
    output: Option<String>,
    lists: Option<ActionList>,
});
record!(ActionList { items: Option<String>, next: Option<NextPage> });
choice!(ActionBody { None, Json(Vec<ActionField>), Form(Vec<ActionField>), });
record!(ActionField { name: String, value: ActionValue });
choice!(ActionValue { Text(Vec<ActionPart>), Prop(String), Constant(String), });
choice!(ActionPart { Text(String), Prop(String), });
/// True when all conditions of at least one list hold; an empty any-of never holds.
pub type AnyOf = Vec<Vec<Condition>>;
choice!(Condition { Status(u16), Header(TextMatch), Body(TextMatch), });
record!(TextMatch { name: String, value: String });

pub type Template = Vec<Part>;
choice!(Part {
    Text(String),
    Input(Placeholder),
    Token(Placeholder),
    /// A value that only the host has: `client_id`, `client_secret`, `redirect_uri`, `refresh_token`.
    Host(Placeholder),
});
record!(Placeholder { name: String, encodings: Vec<Encoding>, });
choice!(
    #[derive(Copy)]
    Encoding { Base64, Base64url, Percent }
);

impl App {
    /// Some request of it is signed by its own code.
    pub fn signs_by_hook(&self) -> bool {
        let mut rules = self.methods.iter().flat_map(|method| &method.rule_sets).flat_map(|set| &set.rules);
        rules.any(|rule| matches!(rule, Rule::Sign(Signer::Hook(_))))
    }

    /// The hooks that it calls for, each with the key that says so.
    pub fn hooks(&self) -> Vec<(&'static str, &'static str)> {
        let wanted = [
            (self.signs_by_hook(), SIGNING, "sign.hook"),
            (self.methods.iter().any(|method| method.reply_hook), TOKEN_REPLY, "reply-hook"),
            (self.test.as_ref().is_some_and(|test| test.identity_hook), IDENTITY, "test.identity-hook"),
        ];
        wanted.into_iter().filter(|(wanted, ..)| *wanted).map(|(_, hook, key)| (hook, key)).collect()
    }
}
