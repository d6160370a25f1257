//! Files with one fault each: its line, its column, what is said, and the way out.

use super::problems;

/// `§` marks the place; it is cut out before the file is read. Lines before the marked one count.
fn bad(text: &str, message: &str, help: &str) {
    let at = text.find('§').unwrap_or_else(|| panic!("no place is marked: {text}"));
    let line = text[..at].matches('\n').count() + 1;
    let column = text[..at].rsplit('\n').next().unwrap_or_default().chars().count() + 1;
    let found = problems(&text.replace('§', ""));
    let told = found.iter().find(|problem| (problem.line, problem.column) == (line, column));
    let Some(told) = told else { panic!("nothing at {line}:{column} of\n{text}\nbut {found:#?}") };
    assert!(told.message.contains(message), "{text}\n{told:#?}");
    assert!(told.help.clone().unwrap_or_default().contains(help), "{text}\n{told:#?}");
    assert_eq!(found.len(), 1, "one fault is told once: {text}\n{found:#?}");
}

/// In the head of a file, before a good step.
fn head(lines: &str, message: &str, help: &str) {
    bad(&format!("{lines}\n[[steps]]\nname = \"a\"\nscript = \"plain.js\"\n"), message, help);
}

/// In a step that stands between two good ones.
fn step(lines: &str, message: &str, help: &str) {
    let text = format!(
        "name = \"w\"\n[[steps]]\nname = \"first\"\nscript = \"plain.js\"\n\n[[steps]]\n{lines}\n\n[[steps]]\nname = \"later\"\nscript = \"plain.js\"\n"
    );
    bad(&text, message, help);
}

fn script(lines: &str, message: &str, help: &str) {
    step(&format!("name = \"now\"\nscript = \"plain.js\"\n{lines}"), message, help);
}

fn action(input: &str, message: &str, help: &str) {
    step(
        &format!("name = \"now\"\naction = \"github/create-issue\"\naccount = \"github/work\"\n{input}"),
        message,
        help,
    );
}

fn notify(lines: &str, message: &str, help: &str) {
    step(&format!("name = \"now\"\nscript = \"notify.js\"\n{lines}"), message, help);
}

fn http(lines: &str, message: &str, help: &str) {
    step(&format!("name = \"now\"\naccount = \"github/work\"\n[steps.http]\n{lines}"), message, help);
}

#[test]
fn the_head() {
    head("name = §\"My flow\"", "cannot name a workflow", "a-z");
    head("name = §7", "is a string, not an integer", "");
    head("name = \"w\"\n§sumary = \"x\"", "no key `sumary`", "`summary`");
    head("name = \"w\"\nconcurrency = §0", "1 to 1000", "");
    head("name = \"w\"\n[accounts]\nslack = §\"slack work\"", "no account's name", "slack/work");
    head("name = \"w\"\n§name = \"x\"", "duplicate", "");
    bad("§summary = \"x\"\n[[steps]]\nname = \"a\"\nscript = \"plain.js\"", "lacks `name`", "");
    bad("§name = \"w\"", "has no steps", "[[steps]]");
    bad("name = \"w\"\nsteps = §[]", "has no steps", "");
    bad("name = \"w\"\n[[steps]§\nscript = 1", "unclosed", "");
}

#[test]
fn triggers() {
    let trigger = |lines: &str, message: &str, help: &str| head(&format!("name = \"w\"\n{lines}"), message, help);
    trigger("[trigger]\n§htp = {}", "no key `htp`", "`http`");
    trigger("[trigger.http]\nverify = §\"secret\"", "cannot be `secret`", "secret-path");
    trigger("[trigger.http]\nverify = §{ }", "lacks `signature`", "");
    trigger("[trigger.http]\nanswer = §\"resul\"", "cannot be `resul`", "result");
    trigger("[trigger.http]\nidempotency = §\"X Id\"", "no header's name", "");
    let signed = |rest: &str, message: &str, help: &str| {
        trigger(&format!("[trigger.http]\nverify.signature = {rest}"), message, help);
    };
    signed("§{ header = \"X-Sig\" }", "lacks `key-env`", "");
    signed("{ header = \"X-Sig\", key-env = §\"hunter2\" }", "environment variable", "does not belong in the file");
    signed("{ header = \"X-Sig\", key-env = §\"DEPUTY_KEY\" }", "setting of deputy", "");
    signed("{ header = \"X-Sig\", key-env = \"K\", algorithm = §\"hmac-sha265\" }", "hmac-sha265", "hmac-sha256");
    trigger("[trigger.schedule]\ncron = §\"0 9 * *\"", "five fields", "Monday");
    trigger("[trigger.schedule]\ncron = §\"0 25 * * *\"", "no cron pattern", "");
    trigger("[trigger.schedule]\ncron = §\"0 0 31 2 *\"", "never comes", "");
    trigger("[trigger.schedule]\ncron = \"0 9 * * *\"\nzone = §\"Europe/Berln\"", "no time zone", "Europe/Berlin");
    trigger("§[trigger.schedule]\nzone = \"UTC\"", "lacks `cron`", "");
}

#[test]
fn steps() {
    step("name = §\"My step\"\nscript = \"plain.js\"", "cannot name a step", "steps.NAME.output");
    step("name = §\"first\"\nscript = \"plain.js\"", "a step `first` already", "");
    step("name = \"now\"\nscript = \"plain.js\"\n§component = \"a.wasm\"", "not both", "two steps");
    step("name = \"now\"\nscript = §\"plain.wasm\"", "ends in .js or .mjs", "component");
    step("name = \"now\"\nscript = §\"/etc/plain.js\"", "absolute", "folder");
    step("name = \"now\"\nscript = §\"gone.js\"", "cannot read gone.js", "");
    step("name = \"now\"\naction = §\"create-issue\"\naccount = \"github\"", "is no action", "github/create-issue");
    script("§on_error = \"fail\"", "no key `on_error`", "`on-error`");
    script("on-error = §\"ignore\"", "cannot be `ignore`", "continue");
    script("timeout = §\"soon\"", "`timeout` is a time", "30s");
    script("timeout = §\"2h\"", "1ms to 1h", "");
    script("retry = { attempts = §0 }", "1 to 20", "");
    script("retry = { §times = 3 }", "no key `times`", "attempts");
    script("input = §[1]", "`input` is a table", "");
    script("input.x = §2026-11-23", "no dates", "quotes");
    script("input = { §\"{{ run.id }}\" = 1 }", "name cannot hold an expression", "");
    script("account = §\"slack/work\"", "bound to its props", "accounts = ");
    script("for-each = { items = \"trigger.body\", parallel = §100 }", "1 to 64", "");
}

#[test]
fn syntax_of_expressions() {
    script("input.x = \"a {{ 1 + §}}\"", "syntax error", "");
    script("input.x = \"{{ steps.first.output §id }}\"", "syntax error", "");
    script("input.x = \"{% for x in run.id %}{{ x §}}\"", "syntax error", "");
    script("input.x = \"{{ run.id | §uper }}\"", "no filter `uper`", "`upper`");
    script("input.x = \"{{ run.id is §strng }}\"", "no test `strng`", "`string`");
    script("input.x = \"{{ §now() }}\"", "no function `now`", "range");
    script("input.x = \"{{ run.id.§upper() }}\"", "no method `upper`", "| upper");
    script("input.x = \"{% §include 'x' %}\"", "`include` does not exist", "`for`");
    script("when = \"a §{{ true }}\"", "unexpected input", "");
}

#[test]
fn types_of_expressions() {
    script("when = \"§run.id\"", "not a text", "compare");
    script("when = \"§{{ 'x' ~ run.id }}\"", "not a text", "compare");
    script("for-each = \"§run.id | length\"", "not a number", "list");
}

#[test]
fn names_in_expressions() {
    script("input.x = \"{{ §stepz.first.output }}\"", "nothing named `stepz`", "`steps`");
    script("input.x = \"{{ §first.output }}\"", "nothing named `first`", "steps.first.output");
    script("input.x = \"é \\t{{ steps.§frst.output.id }}\"", "no step `frst`", "`first`");
    script("input.x = \"\"\"\nline\n  {{ steps.§frst.output.id }}\"\"\"", "no step `frst`", "`first`");
    script("input.x = \"{{ steps[§'frst'].output }}\"", "no step `frst`", "`first`");
    script("input.x = \"{{ steps.§later.output }}\"", "comes later", "move that step up");
    script("input.x = \"{{ steps.§now.output }}\"", "this step itself", "");
    script("input.x = \"{{ steps.first.§outputs }}\"", "no `outputs`", "`output`");
    script("input.x = \"{{ steps.first.§number }}\"", "no `number`", "steps.first.output.number");
    script("input.x = \"{{ steps.first.§error.message }}\"", "leaves no error", "on-error");
    script("input.x = \"{{ trigger.§bdy.x }}\"", "no `bdy`", "`body`");
    script("input.x = \"{{ trigger.headers[§'X-Event'] }}\"", "lower case", "x-event");
    script("input.x = \"{{ run.§started }}\"", "no `started`", "`started_at`");
    script("input.x = \"{{ §item.id }}\"", "only in a step with `for-each`", "for-each");
    script("for-each = \"trigger.body\"\nwhen = \"§item.id == 1\"", "only in a step with `for-each`", "selectattr");
    script("input.x = { a = { b = [1, \"{{ §foo }}\"] } }", "nothing named `foo`", "trigger");
    script("input.x = \"{% for a in [1] %}{{ a }}{{ §loop2 }}{% endfor %}\"", "nothing named `loop2`", "");
    let text = "name = \"w\"\n[[steps]]\nname = \"a\"\nscript = \"plain.js\"\nfor-each = \"[1]\"\non-error = \"continue\"\n\
                [[steps]]\nname = \"b\"\nscript = \"plain.js\"\ninput.x = ";
    let after = |rest: &str, message: &str, help: &str| bad(&format!("{text}{rest}"), message, help);
    after("\"{{ steps.a.output.§id }}\"", "is a list", "map(attribute=\"id\")");
    after("\"{{ steps.a.error.§mesage }}\"", "no `mesage`", "`message`");
}

#[test]
fn actions_and_accounts() {
    let good = "input = { owner = \"a\", title = \"t\" }";
    let with = |head: &str, message: &str, help: &str| step(&format!("name = \"now\"\n{head}\n{good}"), message, help);
    with("action = §\"githb/create-issue\"\naccount = \"slack/work\"", "no app `githb`", "");
    with("action = §\"github/create-isue\"\naccount = \"github\"", "no action `create-isue`", "github/create-issue");
    with("action = \"github/create-issue\"\naccount = §\"github/home\"", "no account `github/home`", "");
    with("action = \"github/create-issue\"\naccount = §\"slack\"", "several accounts", "slack/home, slack/work");
    with(
        "action = \"github/create-issue\"\naccount = §\"slack/work\"",
        "wants an account of github",
        "github/NICKNAME",
    );
    with(
        "action = \"github/create-issue\"\naccount = §\"github/small\"",
        "github/small lacks the scope `repo`, which github/create-issue needs",
        "deputy account reconnect github/small --add-scope repo",
    );
    with("action = \"github/create-issue\"\naccounts = §{ a = \"github\" }", "has one account", "account = ");
    let text = format!("name = \"now\"\naction = \"github/create-issue\"\n{good}");
    bad(&format!("name = \"w\"\n§[[steps]]\n{text}"), "lacks `account`", "app/nickname");
}

#[test]
fn props_of_actions() {
    action("input = §{ owner = \"a\" }", "needs the prop `title`", "a text");
    let prop = |rest: &str, message: &str, help: &str| {
        action(&format!("input = {{ owner = \"a\", title = \"t\", {rest} }}"), message, help);
    };
    prop("tilte = §1", "no prop `tilte`", "`title`");
    prop("milestone = §\"four\"", "a whole number, not a text", "");
    prop("milestone = §1.5", "not a fraction", "");
    prop("milestone = §\"v{{ trigger.body.x }}\"", "a whole number, not a text", "");
    prop("milestone = §\"{{ trigger.body.x == 1 }}\"", "not true or false", "");
    prop("labels = [\"a\", §2]", "a list of texts, not a list with a number in it", "");
    prop("labels = §\"{{ trigger.body.x | join }}\"", "a list of texts, not a text", "");
    prop("state = §\"opened\"", "cannot be \"opened\"", "\"open\"");
    prop("draft = §\"true\"", "true or false, not a text", "");
    prop("extra = §[1]", "an object, not a list", "");
}

#[test]
fn programs() {
    let good = "input.channel = \"general\"";
    let accounts =
        |bound: &str, message: &str, help: &str| notify(&format!("accounts = {bound}\n{good}"), message, help);
    accounts("{ slack = \"slack/work\", hubb = §\"github\" }", "no prop `hubb`", "`hub`");
    accounts("{ slack = \"slack/work\", times = §\"github\" }", "is no account", "slack, hub");
    accounts("{ slack = §\"github/work\" }", "wants an account of slack", "slack/NICKNAME");
    accounts(
        "{ slack = \"slack/work\", hub = §\"github/small\" }",
        "lacks the scope `repo`, which the prop `hub` of notify.js needs",
        "--add-scope repo",
    );
    let bound = |input: &str, message: &str, help: &str| {
        notify(
            &format!("accounts.slack = \"slack/work\"\ninput = {{ channel = \"general\", {input} }}"),
            message,
            help,
        );
    };
    bound("slack = §\"xoxb-1\"", "is an account, not an input", "accounts = { slack");
    bound("password = §\"hunter2\"", "the secret `password` stands in the file", "{{ trigger.body.password }}");
    bound("numbers = [1, §\"2\"]", "a list of numbers, not a list with a text", "");
    bound("level = §\"hihg\"", "cannot be \"hihg\"", "\"high\"");
    bound("times = §true", "a whole number, not true or false", "");
}

#[test]
fn requests() {
    http("method = §\"FETCH\"\npath = \"/\"", "cannot be `FETCH`", "GET");
    http("method = §\"DELETE\"\npath = \"/\"", "github does not allow DELETE", "GET, POST");
    http("method = §\"GET\"\npath = \"/\"\njson = {}", "has no body", "");
    http("path = §\"user\"", "does not begin with `/`", "/user");
    http(
        "path = §\"https://evil.example/user\"",
        "https://evil.example is beyond the reach of github/work",
        "https://api.github.com",
    );
    http("path = §\"https://evil.example/{{ run.id }}\"", "beyond the reach", "");
    http("path = \"/\"\nheaders = { §\"X Y\" = \"1\" }", "no header's name", "");
    http("path = \"/\"\nquery.a = §{ b = 1 }", "not a table", "");
    http("method = \"POST\"\npath = \"/\"\njson = {}\n§form = {}", "one body", "");
    http("path = \"/\"\nexpect = [§999]", "no status", "");
    http("path = \"/\"\noutput = §\"id\"", "does not begin with `/`", "/id");
    http("path = \"/\"\nidentity = \"§{{ run.id }}\"", "expression cannot stand here", "");
    http("path = \"/\"\nidentity = §\"user\"", "no identity `user`", "");
    http("path = \"/\"\nsave = §\"../x\"", "no file's name", "invoice.pdf");
    http("path = \"/\"\npaginate = §true", "does not declare how its lists go on", "link-header");
    http("path = \"/\"\npaginate.next = §\"lnk\"", "cannot be `lnk`", "link-header");
    http("path = \"/\"\nsave = §\"x.pdf\"\npaginate.next = \"link-header\"", "not saved to a file", "");
    http("path = \"/\"\nparse = §\"xml\"", "cannot be `xml`", "json");
    http("path = \"/{{ §it.id }}\"", "nothing named `it`", "");
    http("method = \"POST\"\npath = \"/\"\njson = { a = [{ b = \"{{ §it }}\" }] }", "nothing named `it`", "");
    http("path = \"/\"\nquery = { a = [\"1\", \"{{ §it }}\"] }", "nothing named `it`", "");
    http("method = \"POST\"\npath = \"/\"\ntext = \"{{ §it }}\"", "nothing named `it`", "");
}
