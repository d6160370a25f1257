//! What OAuth needs: URLs, parameters, scopes, and the calls around the token call.

use super::Check;
use super::calls::{self, There};
use super::method::error_place;
use super::rules::header_name;
use super::text;
use crate::types::{AuthMethod, ClientAuth, OAuth2, Param, Rotation};

pub(super) fn oauth2(check: &mut Check<'_>, path: &str, method: &AuthMethod, oauth2: &OAuth2) {
    check.url(&format!("{path}.token-url"), &oauth2.token_url);
    for (field, template) in [
        ("authorize-url", &oauth2.authorize_url),
        ("device-url", &oauth2.device_url),
        ("refresh-url", &oauth2.refresh_url),
        ("revoke-url", &oauth2.revoke_url),
    ] {
        if let Some(template) = template {
            check.url(&format!("{path}.{field}"), template);
        }
    }
    if oauth2.authorize_url.is_none() && oauth2.device_url.is_none() {
        check.fail(format!("{path}.authorize-url"), "without an authorize URL or a device URL nobody can consent");
    }
    token_headers(check, path, oauth2);
    names(check, path, oauth2);
    if let Some(field) = &oauth2.callback_code
        && (field.is_empty() || ["state", "error", "error_description", "iss"].contains(&field.as_str()))
    {
        check.fail(format!("{path}.callback-code"), format!("`{field}` is no field for a code"));
    }
    calls(check, path, method, oauth2);
    let lists: Vec<&str> = oauth2.scope_lists.iter().map(|list| list.param.as_str()).collect();
    let authorize = ["response_type", "client_id", "redirect_uri", "state", "code_challenge", "code_challenge_method"];
    let authorize: Vec<&str> = authorize.iter().copied().chain(lists.iter().copied()).collect();
    params(check, &format!("{path}.authorize-params"), &oauth2.authorize_params, &authorize);
    let token = ["grant_type", "code", "redirect_uri", "client_id", "client_secret", "code_verifier"];
    params(check, &format!("{path}.token-params"), &oauth2.token_params, &token);
    let refresh = ["grant_type", "refresh_token", "client_id", "client_secret"];
    params(check, &format!("{path}.refresh-params"), &oauth2.refresh_params, &refresh);
    scopes(check, path, oauth2);
    if let Some(issuer) = &oauth2.issuer {
        let sound = url::Url::parse(issuer).is_ok_and(|url| {
            let authority = &url[..url::Position::BeforePath];
            url.query().is_none() && url.fragment().is_none() && crate::template::check_authority(authority).is_ok()
        });
        if !sound {
            check.fail(
                format!("{path}.issuer"),
                format!("`{issuer}` is no issuer: an https URL without query (RFC 8414)"),
            );
        }
    }
    check.pointer(&format!("{path}.error"), &oauth2.error);
    error_place(check, path, method, &oauth2.error);
    let codes = oauth2.errors.iter().enumerate().map(|(at, error)| (format!("{path}.errors[{at}].code"), &error.code));
    check.unique("error code", codes);
    if let Rotation::Grace(0) = oauth2.rotation {
        check.fail_with(format!("{path}.rotation"), "a grace of 0 seconds is none", "write \"strict\"");
    }
}

fn calls(check: &mut Check<'_>, path: &str, method: &AuthMethod, oauth2: &OAuth2) {
    let (then, refresh): (&[&str], &[&str]) = match oauth2.client_auth {
        ClientAuth::None => (&["client_id", "redirect_uri"], &["client_id", "redirect_uri", "refresh_token"]),
        _ => (
            &["client_id", "client_secret", "redirect_uri"],
            &["client_id", "client_secret", "redirect_uri", "refresh_token"],
        ),
    };
    // A token that a later call makes final stands in the earlier replies too, as the one that is traded for it.
    let traded = method.tokens.iter().filter(|token| {
        token.reply.as_ref().is_some_and(|reply| !reply.access.is_empty() && reply.access_header.is_none())
    });
    let traded: Vec<&str> = traded.map(|token| token.name.as_str()).collect();
    calls::calls(check, &format!("{path}.then"), &oauth2.then, |at| There {
        // The token call is call 0.
        tokens: calls::before(method, at + 1, true).into_iter().chain(traded.iter().copied()).collect(),
        host: then,
        once: true,
    });
    calls::calls(check, &format!("{path}.refresh"), &oauth2.refresh, |_| There {
        tokens: calls::before(method, usize::MAX, false),
        host: refresh,
        once: false,
    });
    if !oauth2.refresh.is_empty() && (oauth2.refresh_url.is_some() || !oauth2.refresh_params.is_empty()) {
        let message = "`refresh` calls stand in place of the standard call: they take no URL and no parameters";
        check.fail(format!("{path}.refresh"), message);
    }
}

fn token_headers(check: &mut Check<'_>, path: &str, oauth2: &OAuth2) {
    let path = format!("{path}.token-headers");
    let headers = oauth2.token_headers.iter().enumerate();
    let names = headers.clone().map(|(at, header)| (format!("{path}[{at}].name"), header.name.to_ascii_lowercase()));
    check.unique("header", names.collect::<Vec<_>>());
    for (at, header) in headers {
        let path = format!("{path}[{at}]");
        header_name(check, &format!("{path}.name"), &header.name);
        if ["authorization", "content-type"].contains(&header.name.to_ascii_lowercase().as_str()) {
            check.fail(format!("{path}.name"), format!("the header `{}` belongs to the host here", header.name));
        }
        if !text::is_header_text(&header.value) {
            check.fail(format!("{path}.value"), "a header value is visible ASCII");
        }
    }
}

/// Parameters that a provider may call otherwise.
const RENAMED: [&str; 9] = [
    "client_id",
    "client_secret",
    "redirect_uri",
    "code",
    "scope",
    "response_type",
    "grant_type",
    "state",
    "refresh_token",
];

fn names(check: &mut Check<'_>, path: &str, oauth2: &OAuth2) {
    let path = format!("{path}.names");
    let names = oauth2.names.iter().enumerate();
    let from = names.clone().map(|(at, rename)| (format!("{path}[{at}].name"), &rename.name));
    check.unique("parameter", from.collect::<Vec<_>>());
    let to = names.clone().filter_map(|(at, rename)| Some((format!("{path}[{at}].to"), rename.to.as_ref()?)));
    check.unique("new name", to.collect::<Vec<_>>());
    for (at, rename) in names {
        let path = format!("{path}[{at}]");
        if !RENAMED.contains(&rename.name.as_str()) {
            let help = crate::suggest::nearest(&rename.name, RENAMED)
                .map_or_else(|| format!("one of {}", RENAMED.join(", ")), |near| format!("did you mean `{near}`?"));
            check.fail_with(format!("{path}.name"), format!("`{}` is no parameter of OAuth", rename.name), help);
        }
        match &rename.to {
            Some(to) if to.is_empty() => check.fail(format!("{path}.to"), "the parameter has no name"),
            // It ties the answer to the person who asked (RFC 6749 section 10.12).
            None if matches!(rename.name.as_str(), "state" | "code" | "refresh_token") => {
                check.fail(&path, format!("`{}` cannot be left out", rename.name));
            }
            Some(_) | None => {}
        }
    }
}

fn scopes(check: &mut Check<'_>, path: &str, oauth2: &OAuth2) {
    let lists = &oauth2.scope_lists;
    let params = lists.iter().enumerate().map(|(at, list)| (format!("{path}.scope-lists[{at}].param"), &list.param));
    check.unique("scope parameter", params);
    for (at, list) in lists.iter().enumerate() {
        let path = format!("{path}.scope-lists[{at}]");
        if list.param.is_empty() {
            check.fail(format!("{path}.param"), "the parameter has no name");
        }
        if list.separator.is_empty() {
            check.fail(format!("{path}.separator"), "the separator is empty: scopes would run together");
        }
        let names =
            list.scopes.iter().enumerate().map(|(at, scope)| (format!("{path}.scopes[{at}].name"), &scope.name));
        check.unique("scope", names);
        for (at, scope) in list.scopes.iter().enumerate() {
            if scope.name.is_empty() || (!list.separator.is_empty() && scope.name.contains(&list.separator)) {
                let message = format!("`{}` holds the separator, or nothing", scope.name);
                check.fail(format!("{path}.scopes[{at}].name"), message);
            }
            if scope.required && !scope.default {
                check.fail(format!("{path}.scopes[{at}].default"), "a required scope is asked for by default too");
            }
        }
    }
}

fn params(check: &mut Check<'_>, path: &str, params: &[Param], owned: &[&str]) {
    let names = params.iter().enumerate().map(|(at, param)| (format!("{path}[{at}].name"), &param.name));
    check.unique("parameter", names);
    for (at, param) in params.iter().enumerate() {
        let path = format!("{path}[{at}].name");
        if param.name.is_empty() {
            check.fail(path, "the parameter has no name");
        } else if owned.contains(&param.name.as_str()) {
            check.fail(path, format!("the parameter `{}` belongs to the host", param.name));
        }
    }
}
