//! Named points where a test lets the process die, as if the machine had lost its power there.
//!
//! `DEPUTY_KILL_AT=store-before-flush` kills at the first pass of that point, `DEPUTY_KILL_AT=store-before-flush:7`
//! at the seventh. Debug builds only: in a release build a point is nothing.

#[cfg(debug_assertions)]
static PLAN: std::sync::LazyLock<Option<Plan>> =
    std::sync::LazyLock::new(|| Plan::parse(&std::env::var("DEPUTY_KILL_AT").ok()?));

#[cfg(debug_assertions)]
struct Plan {
    name: String,
    /// Passes still to live through.
    left: std::sync::atomic::AtomicU64,
}

#[cfg(debug_assertions)]
impl Plan {
    fn parse(text: &str) -> Option<Self> {
        let (name, pass) = match text.split_once(':') {
            Some((name, pass)) => (name, pass.parse::<u64>().ok()?),
            None => (text, 1),
        };
        Some(Self { name: name.to_owned(), left: std::sync::atomic::AtomicU64::new(pass.saturating_sub(1)) })
    }

    /// Whether this pass is the last one.
    fn passes(&self, name: &str) -> bool {
        use std::sync::atomic::Ordering::SeqCst;
        self.name == name && self.left.fetch_update(SeqCst, SeqCst, |left| left.checked_sub(1)).is_err()
    }
}

/// The point `name` is reached.
#[cfg(debug_assertions)]
pub fn reach(name: &str) {
    if PLAN.as_ref().is_some_and(|plan| plan.passes(name)) {
        use std::io::Write;
        // Nothing can be done about a closed stderr here; the kill is what counts.
        let _ = writeln!(std::io::stderr(), "killed at {name}");
        let _ = rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
    }
}

/// Nothing, in a release build.
#[cfg(not(debug_assertions))]
#[inline(always)]
pub fn reach(_name: &str) {}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::Plan;

    #[test]
    fn a_point_is_named_with_an_optional_pass() {
        let plan = Plan::parse("here:3").expect("valid");
        let passes: Vec<bool> = ["here", "there", "here", "here"].iter().map(|name| plan.passes(name)).collect();
        assert_eq!(passes, [false, false, false, true]);
        assert!(Plan::parse("here").expect("valid").passes("here"));
        assert!(Plan::parse("here:x").is_none());
    }
}
