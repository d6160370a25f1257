//! Which source wins, and what is refused where.

use std::collections::BTreeMap;
use std::path::Path;

use super::*;

struct World {
    folder: tempfile::TempDir,
    env: BTreeMap<String, String>,
}

impl World {
    fn new(toml: &str) -> Self {
        let folder = tempfile::tempdir().expect("temp dir");
        fs::write(folder.path().join("deputy.toml"), toml).expect("write");
        let env = [("HOME", "/home/somebody")].map(|(name, value)| (name.to_owned(), value.to_owned()));
        Self { folder, env: env.into() }
    }

    fn set(mut self, name: &str, value: &str) -> Self {
        self.env.insert(name.to_owned(), value.to_owned());
        self
    }

    fn load(&self) -> Result<Config, ConfigError> {
        let overrides = Overrides { config: Some(self.folder.path().to_owned()), data: None };
        Config::load(overrides, &|name| self.env.get(name).cloned())
    }

    /// The error without the folder's name, and its fix.
    fn refusal(&self) -> (String, Option<String>) {
        let error = self.load().expect_err("refused");
        let folder = self.folder.path().display().to_string();
        (error.to_string().replace(&format!("{folder}/"), ""), error.fix())
    }
}

#[test]
fn without_a_word_everything_has_a_default() {
    let env = |name: &str| (name == "HOME").then(|| "/home/somebody".to_owned());
    let config = Config::load(Overrides::default(), &env).expect("defaults");
    assert_eq!(config.data, Path::new("/home/somebody/.local/share/deputy"));
    assert_eq!(config.config, Path::new("/home/somebody/.config/deputy"));
    assert_eq!(config.key_dir, Path::new("/home/somebody/.config/deputy/keys"));
    assert_eq!(config.callback, Callback { listen: DEFAULT_LISTEN, public_url: None });
    assert_eq!(config.step.timeout_ms, 60_000);
    assert!(
        config.egress.allow.is_empty()
            && config.egress.plain.is_empty()
            && config.egress.resolve.is_empty()
            && config.egress.ca_pem.is_none()
    );
    assert!(matches!(KeySource::from_config(&config), KeySource::File { .. }));
}

#[test]
fn every_key_of_the_file_is_read() {
    let world = World::new(
        r#"
        [egress]
        allow = ["127.0.0.1:3910", "[::1]:80"]
        plain = ["api.example.com", "*.example.org:8443", "127.0.0.1:8080", "*"]
        resolve = { "Slack.com:443" = "127.0.0.1:8443" }
        ca = "ca.pem"
        [egress.limits]
        request_bytes = 1
        response_bytes = 2
        header_bytes = 3
        connect_ms = 4
        first_byte_ms = 5
        total_ms = 6
        min_bytes_per_s = 0x7
        [callback]
        listen = "127.0.0.1:9000"
        public_url = "https://deputy.example.com/"
        [step]
        timeout_ms = 5_000
        "#,
    );
    fs::write(world.folder.path().join("ca.pem"), "-----BEGIN CERTIFICATE-----").expect("write");
    let config = world.load().expect("valid");
    let egress = &config.egress;
    assert_eq!(egress.allow, ["127.0.0.1:3910".parse().expect("valid"), "[::1]:80".parse().expect("valid")]);
    let plain: Vec<String> = egress.plain.iter().map(ToString::to_string).collect();
    assert_eq!(plain, ["api.example.com", "*.example.org:8443", "127.0.0.1:8080", "*"]);
    assert_eq!(egress.resolve.get("slack.com:443").map(ToString::to_string), Some("127.0.0.1:8443".to_owned()));
    assert_eq!(egress.ca_pem.as_deref(), Some(b"-----BEGIN CERTIFICATE-----".as_slice()));
    let limits = &egress.limits;
    assert_eq!((limits.request_bytes, limits.response_bytes, limits.header_bytes), (1, 2, 3));
    assert_eq!((limits.connect_ms, limits.first_byte_ms, limits.total_ms, limits.min_bytes_per_s), (4, 5, 6, 7));
    assert_eq!(config.callback.listen.to_string(), "127.0.0.1:9000");
    assert_eq!(config.callback.public_url.as_ref().map(Url::as_str), Some("https://deputy.example.com/"));
    assert_eq!(config.step.timeout_ms, 5_000);
}

#[test]
fn a_flag_wins_over_a_variable_and_a_variable_over_the_file() {
    let world = World::new("[callback]\nlisten = \"127.0.0.1:1\"\n[step]\ntimeout_ms = 1")
        .set("DEPUTY_CONFIG", "/nowhere")
        .set("DEPUTY_DATA", "/data")
        .set("XDG_DATA_HOME", "/xdg")
        .set("DEPUTY_CALLBACK_LISTEN", "127.0.0.1:2")
        .set("DEPUTY_CALLBACK_PUBLIC_URL", "https://d.example")
        .set("DEPUTY_STEP_TIMEOUT_MS", "2");
    let config = world.load().expect("valid");
    assert_eq!(config.config, world.folder.path());
    assert_eq!(config.data, Path::new("/data"));
    assert_eq!(config.callback.listen.port(), 2);
    assert_eq!(config.callback.public_url.map(String::from), Some("https://d.example/".to_owned()));
    assert_eq!(config.step.timeout_ms, 2);
}

#[test]
fn the_platform_s_folders_are_used_when_absolute() {
    let env = |name: &str| match name {
        "XDG_DATA_HOME" => Some("/xdg".to_owned()),
        "XDG_CONFIG_HOME" => Some("relative".to_owned()),
        "HOME" => Some("/home/somebody".to_owned()),
        _ => None,
    };
    let config = Config::load(Overrides::default(), &env).expect("valid");
    assert_eq!(config.data, Path::new("/xdg/deputy"));
    assert_eq!(config.config, Path::new("/home/somebody/.config/deputy"));
}

#[test]
fn a_machine_without_home_is_told_what_to_set() {
    let error = Config::load(Overrides::default(), &|_| None).expect_err("no folder");
    assert_eq!((error.code(), error.fix()), ("config_no_home", Some("set DEPUTY_CONFIG to a folder".to_owned())));
}

#[test]
fn an_unknown_key_is_refused_by_place_with_a_suggestion() {
    let refusal = |toml| World::new(toml).refusal();
    let (message, fix) = refusal("[callback]\nlisten = \"127.0.0.1:1\"\n  publik_url = \"https://d.example\"\n");
    assert_eq!(message, "deputy.toml:3:3: there is no key `publik_url` in [callback]");
    assert_eq!(fix.as_deref(), Some("did you mean `public_url`?"));
    let (message, fix) = refusal("# ü\n[egres]\n");
    assert_eq!(message, "deputy.toml:2:2: there is no table `egres`");
    assert_eq!(fix.as_deref(), Some("did you mean `egress`?"));
    let (message, fix) = refusal("[step]\nworkers = 3");
    assert_eq!(message, "deputy.toml:2:1: there is no key `workers` in [step]");
    assert_eq!(fix.as_deref(), Some("known here: timeout_ms"));
    let (message, _) = refusal("[egress.limits]\nü = 1 # not TOML");
    assert!(message.starts_with("deputy.toml:2:1: "), "{message}");
}

#[test]
fn a_wrong_value_is_refused_by_place() {
    for (toml, place, part) in [
        ("[egress]\nallow = [\"127.0.0.1:1\", \"localhost:2\"]", "2:25", "`localhost:2` is no address"),
        ("[egress]\nallow = \"127.0.0.1:1\"", "2:9", "a list, not a string"),
        ("[egress]\nplain = [\"a.example\", \"https://b\"]", "2:23", "`https://b` names no host"),
        ("[egress]\nresolve = { \"slack.com\" = \"127.0.0.1:1\" }", "2:13", "no host name with a port"),
        ("[egress.resolve]\n\"a.b:1\" = \"127.0.0.1:1\"\n\"A.b:1\" = \"127.0.0.1:2\"", "", "stands here twice"),
        ("[egress]\nca = \"gone.pem\"", "2:6", "gone.pem"),
        ("[egress]\nca = \"deputy.toml\"", "2:6", "no certificate in PEM"),
        ("[egress.limits]\ntotal_ms = 0", "2:12", "0 is out of bounds"),
        ("[egress.limits]\ntotal_ms = -1", "2:12", "a whole number"),
        ("[egress.limits]\ntotal_ms = 1.5", "2:12", "a whole number, not negative, not a float"),
        ("[callback]\npublic_url = \"http://d.example\"", "2:14", "plain http"),
        ("[step]\ntimeout_ms = \"5s\"", "2:14", "a whole number"),
        ("step = 5", "1:8", "a table"),
        ("[step]\ntimeout_ms = 1\ntimeout_ms = 2", "3:1", "duplicate"),
        ("[step\n", "1:6", ""),
    ] {
        let (message, _) = World::new(toml).refusal();
        assert!(message.starts_with(&format!("deputy.toml:{place}")) && message.contains(part), "{toml}: {message}");
    }
}

#[test]
fn an_empty_variable_is_a_mistake_and_a_key_is_never_quoted() {
    for name in ["DEPUTY_KEY", "DEPUTY_DATA", "DEPUTY_CALLBACK_LISTEN"] {
        let (message, fix) = World::new("").set(name, " ").refusal();
        assert_eq!(message, format!("{name}: it is set but empty"));
        assert_eq!(fix, Some(format!("unset {name}, or give it a value")));
    }
    let config = World::new("").set("DEPUTY_KEY", "canary").load().expect("judged by the vault");
    assert!(!format!("{config:?}").contains("canary"));
    assert!(matches!(KeySource::from_config(&config), KeySource::Variable(_)));
}
