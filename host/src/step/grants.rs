//! What one run may use: the accounts bound to its props, each narrowed by what the step declares, and the markers that
//! stand for their tokens. Which account a request goes through is decided here, and never by its URL alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use deputy_declaration::template;
use url::Url;

use super::markers::Markers;
use super::requests::{Ask, Refusal, RefusalCode};
use super::{AppNeed, Bound, Prop, PropKind, StepError};
use crate::egress::Narrow;

/// Which account a request names.
#[derive(Debug, Clone, Copy)]
pub enum Through<'a> {
    /// The one bound to this prop.
    Prop(&'a str),
    /// None: a marker may name one; else the request carries no credential.
    Nobody,
    /// None, from code that knows nothing of accounts (`wasi:http`): a marker may name one, else the ambient account
    /// that reaches the URL does, else the request carries no credential.
    Ambient,
}

/// All that a run may use.
#[derive(Debug, Default)]
pub(super) struct Grants {
    bindings: BTreeMap<String, Bound>,
    limits: BTreeMap<String, Limit>,
    markers: Markers,
    /// Props whose accounts requests go through that name none, from the WASI door only.
    ambient: Vec<String>,
}

/// What a step declares for a prop, and what the run has used of it.
#[derive(Debug, Default)]
struct Limit {
    narrow: Arc<Narrow>,
    requests: Option<u32>,
    bytes: Option<u64>,
    requests_used: u32,
    bytes_used: u64,
}

impl Grants {
    /// The bindings fit the props. `ambient`: what the runner of the step marks, besides what the props say.
    pub fn new(props: &[Prop], bindings: BTreeMap<String, Bound>, ambient: &[String]) -> Result<Self, StepError> {
        let needs = || props.iter().filter_map(|prop| Some((&prop.name, app_need(prop)?)));
        if let Some(wrong) = ambient.iter().find(|name| !needs().any(|(prop, _)| prop == *name)) {
            let names: Vec<&str> = needs().map(|(prop, _)| prop.as_str()).collect();
            return Err(StepError::Input {
                message: format!("the step has no account prop `{}` to mark ambient", super::props::short(wrong)),
                fix: Some(match names.is_empty() {
                    true => "the step takes no accounts: leave `--ambient` out".to_owned(),
                    false => format!("the step's accounts are {}", names.join(", ")),
                }),
            });
        }
        let limits = needs()
            .map(|(prop, need)| {
                let narrow = Narrow { prop: prop.clone(), methods: need.methods.clone(), paths: need.paths.clone() };
                let (requests, bytes) = (need.requests, need.bytes);
                (prop.clone(), Limit { narrow: Arc::new(narrow), requests, bytes, ..Limit::default() })
            })
            .collect();
        let ambient = needs()
            .filter(|(prop, need)| need.ambient || ambient.contains(prop))
            .map(|(prop, _)| prop.clone())
            .filter(|prop| bindings.contains_key(prop))
            .collect();
        let markers = Markers::new(&bindings)?;
        Ok(Self { bindings, limits, markers, ambient })
    }

    pub fn bound(&self, prop: &str) -> Option<&Bound> {
        self.bindings.get(prop)
    }

    /// None only for a prop that is not of this run.
    pub fn narrow(&self, prop: &str) -> Option<Arc<Narrow>> {
        self.limits.get(prop).map(|limit| limit.narrow.clone())
    }

    /// A sentence for each account that lacks a scope which its prop declares. An account whose scopes nobody told
    /// lacks nothing that is known.
    pub fn lacking(props: &[Prop], bindings: &BTreeMap<String, Bound>) -> Vec<String> {
        let lack = |prop: &Prop| {
            let (need, bound) = (app_need(prop)?, bindings.get(&prop.name)?);
            let lacks: Vec<&str> =
                need.scopes.iter().filter(|scope| !bound.scopes.contains(scope)).map(String::as_str).collect();
            if lacks.is_empty() || bound.scopes.is_empty() {
                return None;
            }
            let asked: Vec<String> = lacks.iter().map(|scope| format!("--add-scope {scope}")).collect();
            Some(format!(
                "prop `{}` declares the scopes {}, which {} was not granted: `deputy account reconnect {} {}` asks for them",
                prop.name,
                lacks.join(", "),
                bound.name,
                bound.name,
                asked.join(" ")
            ))
        };
        props.iter().filter_map(lack).collect()
    }

    /// The stand-ins for the tokens of a prop's account, by the names under which code knows them.
    pub fn markers_of(&self, prop: &str) -> BTreeMap<String, String> {
        self.markers.of(prop)
    }

    /// The prop whose account a request goes through; none: it carries no credential. Takes markers out of the
    /// request, and notes the rule set that they ask for.
    pub fn choose(&self, through: Through<'_>, ask: &mut Ask) -> Result<Option<String>, Refusal> {
        let named = match through {
            Through::Prop(prop) => Some(prop),
            Through::Nobody | Through::Ambient => None,
        };
        if let Some(chosen) = self.markers.take(&self.bindings, named, ask)? {
            ask.rule_set = Some(chosen.rule_set);
            return Ok(Some(chosen.prop));
        }
        Ok(match through {
            Through::Prop(prop) => Some(prop.to_owned()),
            Through::Nobody => None,
            Through::Ambient => self.ambient(&ask.url)?.map(str::to_owned),
        })
    }

    /// The prop of the one ambient account that reaches an absolute URL; none where none does.
    pub fn ambient(&self, url: &str) -> Result<Option<&str>, Refusal> {
        let reaching: Vec<&str> =
            self.reaching(url).filter(|prop| self.ambient.iter().any(|name| name == prop)).collect();
        match reaching.as_slice() {
            [] => Ok(None),
            [only] => Ok(Some(only)),
            several => Err(Refusal::new(
                RefusalCode::Denied,
                format!(
                    "{} ambient accounts reach this URL, those of props `{}`, and none is chosen for the step (rule \
                     `one-account`)",
                    several.len(),
                    several.join("`, `")
                ),
            )
            .fix("mark only one of them ambient, or put a marker where the credential stands")),
        }
    }

    /// Props whose accounts have the URL's origin among theirs.
    fn reaching<'a>(&'a self, url: &str) -> impl Iterator<Item = &'a str> {
        let origin = Url::parse(url).ok().map(|url| url.origin()).filter(url::Origin::is_tuple);
        let reaches = move |bound: &Bound| {
            let Some(origin) = &origin else { return false };
            bound.origins.iter().any(|text| Url::parse(text).is_ok_and(|url| url.origin() == *origin))
        };
        self.bindings.iter().filter(move |(_, bound)| reaches(bound)).map(|(prop, _)| prop.as_str())
    }

    /// What to do about a URL that nothing but an account reaches.
    pub fn instead(&self, through: Through<'_>, url: &str) -> Option<String> {
        let props: Vec<&str> = self.reaching(url).collect();
        let which = props.join("` or `");
        Some(match through {
            _ if props.is_empty() => return None,
            Through::Ambient => format!(
                "the account of prop `{which}` reaches it: mark that prop ambient (`--ambient {}`), or put its marker \
                 where the credential stands",
                props[0]
            ),
            Through::Prop(_) | Through::Nobody => format!(
                "the account of prop `{which}` reaches it: send the request through that account, or put its marker \
                 where the credential stands"
            ),
        })
    }

    /// One more request through a prop's account, with a body of so many bytes.
    pub fn spend(&mut self, prop: &str, bytes: usize) -> Result<(), Refusal> {
        let Some(limit) = self.limits.get_mut(prop) else {
            return Err(Refusal::new(RefusalCode::NotBound, format!("no account is bound to prop `{prop}`")));
        };
        if let Some(most) = limit.requests.filter(|most| limit.requests_used >= *most) {
            return Err(Refusal::new(
                RefusalCode::Limit,
                format!(
                    "prop `{prop}` declares {most} requests a run, and this one would be more (rule `grant-requests`)"
                ),
            )
            .fix(format!("raise `requests` of prop `{prop}` in the step")));
        }
        let used = limit.bytes_used.saturating_add(bytes as u64);
        if let Some(most) = limit.bytes.filter(|most| used > *most) {
            return Err(Refusal::new(
                RefusalCode::Limit,
                format!(
                    "prop `{prop}` declares {most} bytes of bodies a run; {} were sent, and this one has {bytes} (rule \
                     `grant-bytes`)",
                    limit.bytes_used
                ),
            )
            .fix(format!("raise `bytes` of prop `{prop}` in the step")));
        }
        limit.requests_used += 1;
        limit.bytes_used = used;
        Ok(())
    }

    /// Sentences for the log: markers that stand where they are worth nothing, each with the key of its place.
    pub fn strays(&self, ask: &Ask) -> Vec<((String, String), String)> {
        let sentence = |(prop, place): (String, String)| {
            let home = self.markers.home(&self.bindings, &prop);
            let text = format!(
                "the marker of prop `{prop}` stands in {place}, where it is worth nothing: it is sent as text. Its place \
                 is {home}; or send the request through the account itself"
            );
            ((prop, place), text)
        };
        self.markers.stray(ask).into_iter().map(sentence).collect()
    }

    /// Scheme, host and port that a request means; empty where nobody can say.
    pub fn origin(&self, prop: Option<&str>, url: &str) -> String {
        if let Ok(url) = Url::parse(url) {
            return if url.origin().is_tuple() { url.origin().ascii_serialization() } else { String::new() };
        }
        let base = prop
            .and_then(|prop| self.bindings.get(prop))
            .and_then(|bound| template::base(&bound.declaration, &bound.inputs).ok());
        base.map(|base| base.origin().ascii_serialization()).unwrap_or_default()
    }
}

fn app_need(prop: &Prop) -> Option<&AppNeed> {
    match &prop.kind {
        PropKind::App(need) => Some(need),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
