//! `deputy workflow check` through the built binary, with scripts that the runner reads.

use std::path::PathBuf;

use serde_json::Value;

use crate::support::deputy::Deputy;

const SCRIPT: &str = r#"
export default defineComponent({
  props: {
    slack: { type: "app", app: "slack" },
    channel: { type: "string" },
    times: { type: "integer", default: 1 },
    token: { type: "string", secret: true, optional: true },
  },
  async run() { return this.channel; },
});
"#;

const PLAIN: &str = "export default async function (input) { return input; }\n";

fn write(deputy: &Deputy, name: &str, text: &str) -> PathBuf {
    let path = deputy.folder().join("home").join(name);
    std::fs::write(&path, text).expect("a file");
    path
}

/// `line:column message`, of each problem.
fn problems(error: &Value) -> Vec<String> {
    let problems = error["problems"].as_array().unwrap_or_else(|| panic!("{error}"));
    let told = problems.iter().map(|problem| {
        format!("{}:{} {}", problem["line"], problem["column"], problem["message"].as_str().unwrap_or_default())
    });
    told.collect()
}

#[test]
fn a_workflow_without_accounts_is_checked_without_a_store() {
    let deputy = Deputy::new(&[]);
    write(&deputy, "plain.js", PLAIN);
    let text = "name = \"plain\"\n[trigger.schedule]\ncron = \"0 9 * * *\"\nzone = \"Asia/Tokyo\"\n\n[[steps]]\n\
                name = \"one\"\nscript = \"plain.js\"\n";
    write(&deputy, "plain.toml", text);
    let checked = deputy.json(&["workflow", "check", "plain.toml"]);
    assert_eq!(checked["name"], "plain");
    assert_eq!(checked["steps"][0]["does"], "plain.js");
    assert_eq!(checked["triggers"][0]["schedule"]["zone"], "Asia/Tokyo");
    let data = deputy.folder().join("data");
    let made: Vec<_> =
        std::fs::read_dir(&data).expect("the data folder").flatten().map(|entry| entry.file_name()).collect();
    assert!(made.iter().all(|name| name == "cache"), "the check made {made:?}");
}

#[test]
fn every_fault_is_told_at_its_place_from_the_folder_that_one_stands_in() {
    let deputy = Deputy::new(&[]);
    std::fs::create_dir(deputy.folder().join("home/flows")).expect("a folder");
    write(&deputy, "flows/tell.js", SCRIPT);
    write(&deputy, "flows/broken.js", "export default async function ( {\n");
    let text = r#"name = "told"

[[steps]]
name = "tell"
script = "tell.js"
accounts = { slak = "slack/work" }
input = { channel = 5, times = "{{ trigger.body.x ~ 1 }}", token = "xoxb-1" }

[[steps]]
name = "then"
script = "broken.js"
when = "steps.tel.output"

[[steps]]
name = "last"
action = "github/no-such"
account = "github/work"
"#;
    write(&deputy, "flows/told.toml", text);
    let error = deputy.fails(&["workflow", "check", "flows/told.toml"]);
    assert_eq!(error["code"], "workflow_invalid", "{error}");
    let told = problems(&error);
    for start in [
        "3:1 no account is bound to the prop `slack`",
        "6:21 there is no account `slack/work`",
        "6:21 tell.js has no prop `slak`",
        "7:21 `channel` is a text, not a number",
        "7:32 `times` is a whole number, not a text",
        "7:68 the secret `token` stands in the file",
        "11:10 broken.js: ",
        "12:15 there is no step `tel`",
        "16:10 github has no action `no-such`",
        "17:11 there is no account `github/work`",
    ] {
        assert!(told.iter().any(|problem| problem.starts_with(start)), "{start} is missing in {told:#?}");
    }
    assert_eq!(told.len(), 10, "{told:#?}");
    // For people, the same places stand in front.
    let ended = deputy.run(&["workflow", "check", "flows/told.toml"]);
    assert_eq!(ended.code(), Some(1));
    assert!(ended.to_string().contains("flows/told.toml:12:15"), "{ended}");
    assert!(ended.to_string().contains("did you mean `tell`?"), "{ended}");
}

#[test]
fn a_file_that_is_no_file_is_told() {
    let deputy = Deputy::new(&[]);
    assert_eq!(deputy.fails(&["workflow", "check", "gone.toml"])["code"], "workflow_unreadable");
    std::fs::write(deputy.folder().join("home/bad.toml"), b"name = \"\xff\"").expect("a file");
    let error = deputy.fails(&["workflow", "check", "bad.toml"]);
    assert!(error["message"].as_str().is_some_and(|message| message.contains("byte 8")), "{error}");
}
