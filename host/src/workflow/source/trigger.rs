//! `[trigger.http]` and `[trigger.schedule]`.

use deputy_declaration::source::reader::{Reader, Table};
use serde_spanned::Spanned;
use toml::de::DeValue;

use super::short;
use crate::workflow::schedule;
use crate::workflow::types::{
    HttpTrigger, Schedule, Signature, SignatureAlgorithm, SignatureEncoding, Trigger, TriggerAnswer, Verify,
};

const ALGORITHMS: [(&str, SignatureAlgorithm); 3] = [
    ("hmac-sha256", SignatureAlgorithm::HmacSha256),
    ("hmac-sha512", SignatureAlgorithm::HmacSha512),
    ("hmac-sha1", SignatureAlgorithm::HmacSha1),
];
const MAX_SCHEDULES: usize = 20;

pub(super) fn triggers(reader: &mut Reader<'_>, root: &Table<'_>) -> Vec<Trigger> {
    let mut triggers = Vec::new();
    let Some(value) = root.get("trigger") else { return triggers };
    let Some(table) = reader.table(value, "trigger", &["http", "schedule"]) else { return triggers };
    if let Some(value) = table.get("http") {
        triggers.extend(http(reader, value).map(Trigger::Http));
    }
    if let Some(value) = table.get("schedule") {
        // One table, or a list of them.
        let items = match value.get_ref() {
            DeValue::Array(items) => items.iter().collect(),
            _ => vec![value],
        };
        if items.len() > MAX_SCHEDULES {
            reader.fault(value.span(), format!("a workflow has at most {MAX_SCHEDULES} schedules"), None);
        }
        for (at, item) in items.into_iter().enumerate() {
            triggers.extend(schedule(reader, item, &format!("trigger.schedule[{at}]")).map(Trigger::Schedule));
        }
    }
    triggers
}

fn http(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<HttpTrigger> {
    let path = "trigger.http";
    reader.at(path, value.span());
    let table = reader.table(value, "an http trigger", &["verify", "answer", "idempotency"])?;
    let verify = match table.get("verify") {
        None => Verify::SecretPath,
        Some(value) => verify(reader, value)?,
    };
    let answers = [("accepted", TriggerAnswer::Accepted), ("result", TriggerAnswer::Result)];
    let answer = reader.choice_or(&table, "answer", &answers, TriggerAnswer::Accepted);
    let idempotency = header(reader, &table, "idempotency", path);
    Some(HttpTrigger { verify, answer, idempotency })
}

fn verify(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>) -> Option<Verify> {
    if value.get_ref().is_str() {
        return reader.choice(value, "verify", &[("secret-path", ())]).map(|()| Verify::SecretPath);
    }
    let table = reader.table(value, "`verify`", &["signature"])?;
    let Some(value) = table.get("signature") else {
        reader.missing(&table, "`verify`", "signature");
        return None;
    };
    let path = "trigger.http.verify.signature";
    reader.at(path, value.span());
    let table = reader.table(value, "a signature", &["header", "prefix", "algorithm", "encoding", "key-env"])?;
    for key in ["header", "key-env"] {
        if !table.has(key) {
            reader.missing(&table, "a signature", key);
        }
    }
    let header = header(reader, &table, "header", path);
    let key_env = reader.optional(&table, "key-env", path);
    if let (Some(name), Some(value)) = (&key_env, table.get("key-env")) {
        let letters = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || byte == b'_';
        if name.is_empty() || !name.bytes().all(letters) || name.starts_with(|c: char| c.is_ascii_digit()) {
            let help = "the key itself does not belong in the file: name the variable, such as \"GITHUB_WEBHOOK_KEY\"";
            reader.fault(
                value.span(),
                "`key-env` names an environment variable in A-Z, 0-9 and _",
                Some(help.to_owned()),
            );
        } else if name.starts_with("DEPUTY_") {
            reader.fault(
                value.span(),
                format!("`{name}` is a setting of deputy itself"),
                Some("take another name".to_owned()),
            );
        }
    }
    let encodings = [("hex", SignatureEncoding::Hex), ("base64", SignatureEncoding::Base64)];
    Some(Verify::Signature(Signature {
        header: header?,
        prefix: reader.optional(&table, "prefix", path).unwrap_or_default(),
        algorithm: reader.choice_or(&table, "algorithm", &ALGORITHMS, SignatureAlgorithm::HmacSha256),
        encoding: reader.choice_or(&table, "encoding", &encodings, SignatureEncoding::Hex),
        key_env: key_env?,
    }))
}

fn header(reader: &mut Reader<'_>, table: &Table<'_>, key: &str, path: &str) -> Option<String> {
    let value = table.get(key)?;
    let name = reader.text_of(value, key, &format!("{path}.{key}"))?;
    if http::HeaderName::from_bytes(name.as_bytes()).is_err() {
        reader.fault(value.span(), format!("`{}` is no header's name", short(&name)), None);
        return None;
    }
    Some(name)
}

fn schedule(reader: &mut Reader<'_>, value: &Spanned<DeValue<'_>>, path: &str) -> Option<Schedule> {
    reader.at(path, value.span());
    let table = reader.table(value, "a schedule", &["cron", "zone"])?;
    let cron = reader.required(&table, "a schedule", "cron", path);
    let zone = reader.optional(&table, "zone", path).unwrap_or_else(|| "UTC".to_owned());
    if let Some(value) = table.get("cron").filter(|value| value.get_ref().is_str())
        && let Err(message) = schedule::check_cron(&cron)
    {
        let help = "minute, hour, day of month, month, day of week: \"0 9 * * 1-5\" is 9:00 from Monday to Friday";
        reader.fault(value.span(), message, Some(help.to_owned()));
    }
    if let Some(value) = table.get("zone").filter(|value| value.get_ref().is_str())
        && let Err(near) = schedule::check_zone(&zone)
    {
        let help = match near {
            Some(near) => format!("did you mean \"{near}\"?"),
            None => "an IANA name, such as \"Europe/Berlin\"".to_owned(),
        };
        reader.fault(value.span(), format!("there is no time zone `{}`", short(&zone)), Some(help));
    }
    Some(Schedule { cron, zone })
}
