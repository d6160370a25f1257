//! Parts of a declaration as people read them.

use data_encoding::HEXLOWER;
use deputy_declaration::types::{
    Action, ActionBody, ActionPart, ActionWork, Encoding, Origin, Part, Rule, Signer, Template,
};

use super::files::sha256;

/// `https://{shop}.myshopify.com`
pub fn origin(origin: &Origin) -> String {
    match origin {
        Origin::Exact(text) => text.clone(),
        Origin::Label(label) => format!("https://{}{{{}}}{}", label.prefix, label.input, label.suffix),
        Origin::Choice(parts) => template(parts),
        Origin::Pinned(input) => format!("{{{input}}}"),
    }
}

/// `header Authorization: Bearer {bot}`
pub fn rule(rule: &Rule) -> String {
    match rule {
        Rule::Header(named) => format!("header {}: {}", named.name, template(&named.value)),
        Rule::Query(named) => format!("query {}={}", named.name, template(&named.value)),
        Rule::Basic(basic) => format!("basic {}:{}", template(&basic.username), template(&basic.password)),
        Rule::Body(named) => format!("body {}={}", named.name, template(&named.value)),
        Rule::Path(parts) => format!("path {}", template(parts)),
        Rule::Sign(Signer::AwsSigv4(sign)) => {
            format!(
                "signature AWS4 {} {}/{}",
                template(&sign.access_key),
                template(&sign.region),
                template(&sign.service)
            )
        }
        Rule::Sign(Signer::OAuth1(sign)) => {
            format!("signature OAuth {} {}", template(&sign.consumer_key), template(&sign.token))
        }
        Rule::Sign(Signer::Hook(hook)) => {
            let headers = hook.headers.iter().map(|name| format!("header {name}"));
            let places: Vec<String> = headers.chain(hook.query.iter().map(|name| format!("query {name}"))).collect();
            format!("signature by the app's own code: {}", places.join(", "))
        }
    }
}

/// As authors write it.
pub fn template(parts: &Template) -> String {
    parts
        .iter()
        .map(|part| match part {
            Part::Text(text) => text.replace('{', "{{").replace('}', "}}"),
            Part::Input(placeholder) | Part::Token(placeholder) | Part::Host(placeholder) => {
                let encodings = placeholder.encodings.iter().map(|encoding| match encoding {
                    Encoding::Base64 => "|base64",
                    Encoding::Base64url => "|base64url",
                    Encoding::Percent => "|percent",
                });
                format!("{{{}{}}}", placeholder.name, encodings.collect::<String>())
            }
        })
        .collect()
}

/// What an action does and needs, with everything that a change of it would change.
pub fn action(action: &Action) -> String {
    let work = match &action.work {
        ActionWork::Request(request) => {
            let path: String = request.path.iter().map(part).collect();
            let mut text = format!("{} {path}", request.method);
            for (what, filled) in [
                ("query", (!request.query.is_empty()).then(|| format!("{:?}", request.query))),
                ("headers", (!request.headers.is_empty()).then(|| format!("{:?}", request.headers))),
                ("body", (request.body != ActionBody::None).then(|| format!("{:?}", request.body))),
                ("identity", request.identity.clone()),
                ("output", request.output.clone()),
                ("lists", request.lists.as_ref().map(|lists| format!("{lists:?}"))),
            ] {
                if let Some(filled) = filled {
                    text.push_str(&format!(", {what} {filled}"));
                }
            }
            text
        }
        ActionWork::Script(source) => format!("script, SHA-256 {}", HEXLOWER.encode(&sha256(source.as_bytes()))),
    };
    let scopes: Vec<String> = action.scopes.iter().map(|all| all.join(" and ")).collect();
    let props = if action.props.is_empty() { String::new() } else { format!(", props {:?}", action.props) };
    if scopes.is_empty() { format!("{work}{props}") } else { format!("{work}{props}, needs {}", scopes.join(" or ")) }
}

fn part(part: &ActionPart) -> String {
    match part {
        ActionPart::Text(text) => text.replace('{', "{{").replace('}', "}}"),
        ActionPart::Prop(name) => format!("{{{name}}}"),
    }
}
