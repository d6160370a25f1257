//! Progress lines: what runs now, which of how many, and how long it took.

use std::time::Instant;

use crate::command::Failure;

/// A run of `total` steps.
pub struct Steps {
    total: usize,
    done: usize,
}

impl Steps {
    pub fn new(total: usize) -> Self {
        Self { total, done: 0 }
    }

    /// `[2/3] pack …`, the step's own output, and the time it took.
    pub fn step<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.start(name);
        let began = Instant::now();
        let result = work()?;
        eprintln!("      {name}: {:.1} s", began.elapsed().as_secs_f64());
        Ok(result)
    }

    /// A step that ends with another program's own last words.
    pub fn last<T>(&mut self, name: &str, work: impl FnOnce() -> Result<T, Failure>) -> Result<T, Failure> {
        self.start(name);
        work()
    }

    fn start(&mut self, name: &str) {
        self.done += 1;
        eprintln!("[{}/{}] {name} …", self.done, self.total);
    }
}
