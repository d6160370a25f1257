//! Workflows through the built binary: deployed, triggered, served, and killed at every point of a run.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use crate::support::deputy::Deputy;
use crate::support::raw::Raw;
use crate::support::{find, text};

const PATIENCE: Duration = Duration::from_secs(60);

fn write(deputy: &Deputy, name: &str, text: &str) -> String {
    let path = deputy.folder().join(name);
    std::fs::write(&path, text).expect("a file");
    path.to_string_lossy().into_owned()
}

/// One request by hand: its status, and its body.
fn send(address: SocketAddr, path: &str, headers: &[(&str, &str)], body: &str) -> (u16, String) {
    let mut request =
        format!("POST {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: {}\r\n", body.len());
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    let mut stream = TcpStream::connect(address).expect("the server listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a socket");
    stream.write_all(format!("{request}\r\n{body}").as_bytes()).expect("sent");
    let mut answer = String::new();
    // A server that is killed leaves half an answer, or none.
    let _ = stream.read_to_string(&mut answer);
    let status = answer.split(' ').nth(1).and_then(|status| status.parse().ok()).unwrap_or(0);
    (status, answer.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned())
}

/// `deputy serve`, with what it printed.
struct Serve {
    child: Child,
    address: SocketAddr,
}

impl Serve {
    fn start(deputy: &Deputy, environment: &[(&str, &str)]) -> Self {
        let mut command: Command = deputy.command(&["serve", "--listen", "127.0.0.1:0", "--json"]);
        command.envs(environment.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().expect("it starts");
        let mut line = String::new();
        let mut out = std::io::BufReader::new(child.stdout.take().expect("piped"));
        std::io::BufRead::read_line(&mut out, &mut line).expect("a line");
        let told: Value = serde_json::from_str(&line).unwrap_or_else(|_| {
            let mut words = String::new();
            let _ = child.stderr.take().expect("piped").read_to_string(&mut words);
            panic!("it says {line:?} {words}")
        });
        let address = text(&told, "listening").parse().expect("an address");
        Self { child, address }
    }

    /// SIGTERM, and the end.
    fn stop(mut self) {
        let pid = self.child.id().to_string();
        let ended = Command::new("kill").args(["-TERM", &pid]).status().expect("kill runs");
        assert!(ended.success());
        let status = self.child.wait().expect("ours");
        assert_eq!(status.code(), Some(0), "a stop that was asked for is no failure");
    }

    /// It kills itself at its point.
    fn killed(mut self) {
        let deadline = Instant::now() + PATIENCE;
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("ours") {
                break status;
            }
            assert!(Instant::now() < deadline, "it was never killed");
            std::thread::sleep(Duration::from_millis(10));
        };
        assert_eq!(status.signal(), Some(9));
    }
}

impl Drop for Serve {
    fn drop(&mut self) {
        // Both fail when it has ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The path of the first hook that a workflow shows.
fn hook(shown: &Value) -> String {
    let url = text(&shown["hooks"][0], "url");
    url[url.find("/hooks/").expect("a hook")..].to_owned()
}

#[test]
fn a_workflow_is_deployed_run_by_hand_and_looked_at() {
    let deputy = Deputy::new(&[]);
    assert_eq!(deputy.json(&["workflow", "list"]), json!({ "workflows": [] }));
    write(
        &deputy,
        "double.js",
        "export const props = { n: { type: 'integer' } };\nexport default (input) => { console.log('doubling', input.n); return input.n * 2 }",
    );
    let file = write(
        &deputy,
        "w.toml",
        "name = \"twice\"\nsummary = \"Doubles\"\n\n[[steps]]\nname = \"double\"\nscript = \"double.js\"\ninput.n = \"{{ trigger.body.n }}\"\n\n\
         [[steps]]\nname = \"rest\"\nscript = \"double.js\"\nfor-each = \"{{ range(steps.double.output) }}\"\ninput.n = \"{{ item }}\"\n",
    );
    // Without deploying: nothing is kept.
    let local = deputy.json(&["workflow", "run", "--local", &file, "--input", "{\"n\":1}"]);
    assert_eq!((&local["state"], &local["output"]), (&json!("done"), &json!([0, 2])));
    assert_eq!(deputy.json(&["workflow", "list"]), json!({ "workflows": [] }));
    let deployed = deputy.json(&["workflow", "deploy", &file]);
    assert_eq!((&deployed["deployed"], &deployed["version"]), (&json!(true), &json!(1)));
    let again = deputy.json(&["workflow", "deploy", &file]);
    assert_eq!((&again["deployed"], &again["version"]), (&json!(false), &json!(1)));
    let ran = deputy.json(&["workflow", "run", "twice", "--input", "{\"n\":2}", "--idempotency-key", "k"]);
    assert_eq!((&ran["state"], &ran["output"]), (&json!("done"), &json!([0, 2, 4, 6])));
    assert_eq!(text(&ran["attempts"][0]["logs"][0], "message"), "doubling 2");
    let same = deputy.json(&["workflow", "run", "twice", "--input", "{\"n\":9}", "--idempotency-key", "k"]);
    assert_eq!(same["id"], ran["id"], "a second delivery is the same run");
    let failed = deputy.run(&["workflow", "run", "twice", "--input", "{}", "--json"]);
    assert_eq!(failed.code(), Some(1), "{failed}");
    assert_eq!(text(&failed.last_json()["end"]["error"], "code"), "workflow_expression");
    let runs = deputy.json(&["workflow", "runs", "twice"]);
    let states: Vec<_> = runs["runs"].as_array().expect("a list").iter().map(|run| text(run, "state")).collect();
    assert_eq!(states, ["failed", "done"], "newest first");
    let done = deputy.json(&["workflow", "runs", "twice", "--state", "done"]);
    assert_eq!(done["total"], json!(1));
    let shown = deputy.json(&["workflow", "show", &text(&ran, "id")]);
    assert_eq!(shown["attempts"], ran["attempts"]);
    let people = deputy.run(&["workflow", "show", "twice"]);
    assert!(String::from_utf8_lossy(&people.stdout).contains("1 done, 1 failed"), "{people}");
    assert_eq!(text(&deputy.fails(&["workflow", "show", "twise"]), "fix"), "did you mean twice?");
    deputy.json(&["workflow", "remove", "twice", "--yes"]);
    assert_eq!(deputy.json(&["workflow", "list"]), json!({ "workflows": [] }));
}

#[test]
fn hooks_start_runs_of_whoever_proves_to_be_right() {
    let deputy = Deputy::new(&[]);
    write(
        &deputy,
        "echo.js",
        "export const props = { body: { type: 'any', optional: true } };\nexport default (input) => input",
    );
    let steps = "[[steps]]\nname = \"echo\"\nscript = \"echo.js\"\ninput.body = \"{{ trigger.body }}\"\n";
    let open = format!("name = \"open\"\n[trigger.http]\nanswer = \"result\"\nidempotency = \"X-Delivery\"\n{steps}");
    let signed = format!(
        "name = \"signed\"\n[trigger.http.verify.signature]\nheader = \"X-Signature\"\nprefix = \"sha256=\"\nkey-env = \"HOOK_KEY\"\n{steps}"
    );
    let open = deputy.json(&["workflow", "deploy", &write(&deputy, "open.toml", &open)]);
    let signed = deputy.json(&["workflow", "deploy", &write(&deputy, "signed.toml", &signed)]);
    let (open, signed) = (hook(&open), hook(&signed));
    let serve = Serve::start(&deputy, &[("HOOK_KEY", "Jefe")]);
    let post = |path: &str, headers: &[(&str, &str)], body: &str| send(serve.address, path, headers, body);

    let (status, body) = post(&open, &[("content-type", "application/json"), ("x-delivery", "1")], "{\"a\":1}");
    assert_eq!((status, body.as_str()), (200, "{\"body\":{\"a\":1}}"));
    let (status, body) = post(&open, &[("content-type", "application/json"), ("x-delivery", "1")], "{\"a\":2}");
    assert_eq!((status, body.as_str()), (200, "{\"body\":{\"a\":1}}"), "the first delivery's result");
    assert_eq!(post(&open, &[("content-type", "application/json")], "{").0, 400);
    assert_eq!(post(&format!("{open}x"), &[], "").0, 404);

    // RFC 4231 test case 2.
    let right = "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843";
    let data = "what do ya want for nothing?";
    assert_eq!(post(&signed, &[("x-signature", right)], data).0, 202);
    assert_eq!(post(&signed, &[("x-signature", right)], "something else").0, 401);
    assert_eq!(post(&signed, &[], data).0, 401);

    let refused = deputy.fails(&["workflow", "list"]);
    assert_eq!(text(&refused, "code"), "store_in_use");
    assert!(text(&refused, "fix").contains("`deputy serve`"), "{refused}");
    serve.stop();
    let runs = deputy.json(&["workflow", "runs", "signed"]);
    assert_eq!(runs["total"], json!(1), "a wrong signature starts nothing");
    let runs = deputy.json(&["workflow", "runs", "open"]);
    assert_eq!(runs["total"], json!(1));
    deputy.json(&["workflow", "disable", "open"]);
    let serve = Serve::start(&deputy, &[]);
    assert_eq!(send(serve.address, &open, &[], "").0, 409);
    assert_eq!(send(serve.address, &signed, &[("x-signature", right)], data).0, 500, "the key is not set");
    serve.stop();
}

#[test]
fn a_schedule_fires_while_it_is_served() {
    let deputy = Deputy::new(&[]);
    write(&deputy, "one.js", "export default () => 1");
    let file = write(
        &deputy,
        "w.toml",
        "name = \"often\"\n[trigger.schedule]\ncron = \"* * * * * *\"\nzone = \"Europe/Berlin\"\n[[steps]]\nname = \"one\"\nscript = \"one.js\"\n",
    );
    deputy.json(&["workflow", "deploy", &file]);
    let serve = Serve::start(&deputy, &[]);
    std::thread::sleep(Duration::from_millis(2_500));
    serve.stop();
    let runs = deputy.json(&["workflow", "runs", "often"]);
    let runs = runs["runs"].as_array().expect("a list");
    assert!(!runs.is_empty(), "no run in two seconds");
    assert!(runs.iter().all(|run| text(run, "trigger") == "schedule"));
}

/// Kills at every named point on the way of a run. What was acknowledged is there afterwards and ends well; what a step
/// left before the kill is not done again; what had begun and left nothing is done once more.
#[cfg(debug_assertions)]
#[test]
fn a_run_survives_a_kill_at_every_named_point() {
    let points = [
        ("run-before-store", 0),
        ("run-stored", 0),
        ("step-before-record", 1),
        ("step-recorded", 1),
        ("step-before-record:2", 2),
        ("step-recorded:2", 2),
        ("step-before-record:3", 3),
        ("step-recorded:3", 3),
        ("run-before-end", 3),
        ("run-ended", 3),
    ];
    let raw = Raw::start(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok");
    let host = raw.address();
    // One machine for all points: each is another workflow, and finds nothing left of those before it.
    let deputy = Deputy::new(&[host]);
    let config = deputy.folder().join("config/deputy.toml");
    let toml = std::fs::read_to_string(&config).expect("readable");
    std::fs::write(&config, toml.replace("[egress]\n", &format!("[egress]\nplain = [\"{host}\"]\n"))).expect("written");
    let script = format!(
        "export const props = {{ n: {{ type: 'string' }} }};\n\
         export default async (input) => (await fetch('http://{host}/' + input.n)).status"
    );
    write(&deputy, "send.js", &script);
    for (index, (point, sent_before)) in points.into_iter().enumerate() {
        let name = format!("w{index}");
        let step =
            |step: &str| format!("[[steps]]\nname = \"{step}\"\nscript = \"send.js\"\ninput.n = \"{name}-{step}\"\n");
        let file = format!("name = \"{name}\"\n[trigger.http]\n{}{}{}", step("one"), step("two"), step("three"));
        let path = hook(&deputy.json(&["workflow", "deploy", &write(&deputy, "w.toml", &file)]));
        let count = |step: &str| {
            let wanted = format!("GET /{name}-{step} ");
            raw.requests().iter().filter(|request| request.starts_with(&wanted)).count()
        };
        let serve = Serve::start(&deputy, &[("DEPUTY_KILL_AT", point)]);
        let (status, body) = send(serve.address, &path, &[], "");
        serve.killed();
        let sent = ["one", "two", "three"].map(count);
        assert_eq!(sent.iter().sum::<usize>(), sent_before, "{point}");
        // Whoever serves next goes on with it.
        let serve = Serve::start(&deputy, &[]);
        match status {
            202 => {
                let run = text(&serde_json::from_str::<Value>(&body).expect("JSON"), "run");
                wait_for(&deputy, serve, &["workflow", "show", &run], point);
            }
            // Not acknowledged: it is there whole, or not at all.
            _ if point == "run-before-store" => serve.stop(),
            _ => wait_for(&deputy, serve, &["workflow", "runs", &name], point),
        }
        let runs = deputy.json(&["workflow", "runs", &name]);
        let runs = runs["runs"].as_array().expect("a list").clone();
        assert_eq!(runs.len(), usize::from(point != "run-before-store"), "{point}");
        for run in &runs {
            assert_eq!(text(run, "state"), "done", "{point}");
            let shown = deputy.json(&["workflow", "show", &text(run, "id")]);
            let recorded: Vec<_> =
                shown["attempts"].as_array().expect("a list").iter().map(|attempt| text(attempt, "step")).collect();
            assert_eq!(recorded, ["one", "two", "three"], "{point}");
            assert_eq!(find(&shown, "output"), Some(&json!(200)), "{point}");
        }
        let sent = ["one", "two", "three"].map(count);
        // A step is sent twice only when the kill fell between its end and its record.
        let expected = match point {
            "step-before-record" => [2, 1, 1],
            "step-before-record:2" => [1, 2, 1],
            "step-before-record:3" => [1, 1, 2],
            "run-before-store" => [0, 0, 0],
            _ => [1, 1, 1],
        };
        assert_eq!(sent, expected, "{point}");
    }
}

/// Lets servers work until the run that a command shows has ended well.
fn wait_for(deputy: &Deputy, serve: Serve, show: &[&str], point: &str) {
    let mut serve = Some(serve);
    for _ in 0..30 {
        std::thread::sleep(Duration::from_millis(500));
        serve.take().expect("running").stop();
        if text(&deputy.json(show), "state") == "done" {
            return;
        }
        serve = Some(Serve::start(deputy, &[]));
    }
    panic!("{point}: the run did not end");
}

#[test]
fn a_run_is_looked_at_followed_and_cancelled_while_a_server_works_on_it() {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let host = listener.local_addr().expect("bound");
    let deputy = Deputy::with_plain(&[host], &[host]);
    write(&deputy, "wait.js", &format!("export default async () => (await fetch('http://{host}/')).status"));
    let file =
        write(&deputy, "w.toml", "name = \"w\"\n[trigger.http]\n[[steps]]\nname = \"one\"\nscript = \"wait.js\"\n");
    let path = hook(&deputy.json(&["workflow", "deploy", &file]));
    let serve = Serve::start(&deputy, &[]);
    let (status, body) = send(serve.address, &path, &[], "");
    assert_eq!(status, 202, "{body}");
    let run = text(&serde_json::from_str::<Value>(&body).expect("JSON"), "run");
    // Its request is here, and stays without an answer.
    let (_held, _) = listener.accept().expect("the step's request");

    let runs = deputy.json(&["workflow", "runs", "w"]);
    assert_eq!((&runs["total"], &runs["runs"][0]["state"]), (&json!(1), &json!("running")));
    assert_eq!(deputy.json(&["workflow", "show", &run])["state"], "running");
    let mut follow = deputy.command(&["workflow", "show", &run, "--follow", "--json"]);
    let follow = follow.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    // An id of the right shape that nothing has.
    let unknown = format!("run_{}", "0".repeat(run.len() - 4));
    assert_eq!(deputy.fails(&["workflow", "show", &unknown])["code"], "run_not_found");
    // What is not asked through the socket is told who has the store.
    assert_eq!(deputy.fails(&["workflow", "list"])["code"], "store_in_use");

    let cancelled = deputy.json(&["workflow", "cancel", &run]);
    assert_eq!(cancelled["runs"][0]["state"], "cancelled");
    let followed = follow.wait_with_output().expect("it ends");
    let followed: Value = serde_json::from_slice(&followed.stdout).expect("JSON");
    assert_eq!((text(&followed, "id"), &followed["state"]), (run, &json!("cancelled")));
    serve.stop();
}
