//! `deputy app import`: what it drafts passes the same check as an app by hand.

use std::fs;

use crate::support::deputy::Deputy;

const OPENAPI: &str = r##"{
  "openapi": "3.0.3",
  "info": { "title": "Acme Parcels API", "description": "Parcels on their way. More words." },
  "servers": [{ "url": "https://api.acme-parcels.com/v2" }],
  "security": [{ "key": [] }],
  "components": { "securitySchemes": {
    "key": { "type": "apiKey", "in": "header", "name": "X-Api-Key" },
    "login": { "type": "oauth2", "flows": { "authorizationCode": {
      "authorizationUrl": "https://acme-parcels.com/oauth/authorize", "tokenUrl": "https://acme-parcels.com/oauth/token",
      "scopes": { "parcels.read": "See parcels" } } } }
  } },
  "paths": { "/me": { "get": { "responses": { "200": { "description": "You" } } } }, "/parcels": { "get": {} } }
}"##;

const POSTMAN: &str = r#"{
  "info": { "name": "Acme", "schema": "https://schema.getpostman.com/json/collection/v2.1.0/collection.json" },
  "auth": { "type": "bearer", "bearer": [{ "key": "token", "value": "planted-postman-secret", "type": "string" }] },
  "item": [{ "name": "me", "request": { "method": "GET", "url": { "raw": "https://api.acme-parcels.com/v2/me" } } }]
}"#;

const CURL: &str = "curl -H 'Authorization: Bearer planted-curl-secret' https://api.acme-parcels.com/v2/me";

#[test]
fn what_is_imported_is_an_app_and_holds_no_secret() {
    let deputy = Deputy::new(&[]);
    for (kind, text) in [("openapi", OPENAPI), ("postman", POSTMAN), ("curl", CURL)] {
        let file = deputy.folder().join(format!("{kind}.toml"));
        let path = file.to_str().expect("UTF-8");
        let drafted = deputy
            .json_with(&["app", "import", kind, "-", "--slug", &format!("acme-{kind}"), "-o", path], text.as_bytes());
        assert_eq!(drafted["complete"], true, "{kind}: {drafted}");
        let written = fs::read_to_string(&file).expect("the app.toml");
        assert_eq!(drafted["toml"], written);
        assert!(!written.contains("planted-"), "{kind}: {written}");
        let checked = deputy.json(&["app", "check", path]);
        assert_eq!(checked["slug"], format!("acme-{kind}"));
        assert!(checked["reach"].to_string().contains("api.acme-parcels.com"), "{checked}");

        // A folder gets it under its usual name.
        let folder = deputy.folder().join(format!("apps/{kind}"));
        let folder = folder.to_str().expect("UTF-8");
        deputy.json_with(&["app", "import", kind, "-", "-o", folder], text.as_bytes());
        deputy.json(&["app", "check", folder]);

        // Nobody's file is written over.
        let again = deputy.fails_with(&["app", "import", kind, "-", "-o", path], text.as_bytes());
        assert_eq!(again["code"], "output_failed");
        assert_eq!(fs::read_to_string(&file).expect("the app.toml"), written);
    }
}

#[test]
fn what_cannot_be_read_is_told_with_the_next_step() {
    let deputy = Deputy::new(&[]);
    let error = deputy.fails_with(&["app", "import", "openapi", "-"], b"just words");
    assert_eq!(error["code"], "description_unreadable");
    assert!(error["message"].as_str().is_some_and(|message| message.starts_with("standard input: ")), "{error}");
    // A secret in the path stays out of the draft, and a command may stand in a file.
    let command = deputy.folder().join("command.txt");
    fs::write(&command, "curl https://api.acme.com/bot123456:planted-curl-secret/getMe").expect("a file");
    let drafted = deputy.json(&["app", "import", "curl", command.to_str().expect("UTF-8")]);
    assert!(!drafted.to_string().contains("planted") && drafted.to_string().contains("may hold a secret"), "{drafted}");
    let error = deputy.fails(&["app", "import", "curl", "wget https://api.acme-parcels.com/me"]);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("`wget` is no public host")), "{error}");
    let error = deputy.fails(&["app", "import", "openapi", "nowhere.yaml"]);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("nowhere.yaml")), "{error}");
}
