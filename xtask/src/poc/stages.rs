//! A line for each stage, with its time.

use std::time::{Duration, Instant};

/// Times stages and prints them.
pub struct Stages {
    begun: Instant,
    stage: Instant,
}

impl Default for Stages {
    fn default() -> Self {
        Self { begun: Instant::now(), stage: Instant::now() }
    }
}

impl Stages {
    /// Starts the clock of the next stage.
    pub fn begin(&mut self) {
        self.stage = Instant::now();
    }

    /// Prints the stage that ends here and starts the next one's clock.
    pub fn done(&mut self, name: &str, what: &str) {
        line(name, self.stage.elapsed(), what);
        self.begin();
    }

    /// Runs a stage from its beginning to its end.
    ///
    /// # Errors
    /// The stage's own, with its name.
    pub fn time<T>(
        &mut self,
        name: &str,
        stage: impl FnOnce() -> anyhow::Result<T>,
        what: impl FnOnce(&T) -> String,
    ) -> anyhow::Result<T> {
        self.begin();
        let value = stage()?;
        self.done(name, &what(&value));
        Ok(value)
    }

    /// Prints the time of all.
    pub fn total(&self) {
        line("all", self.begun.elapsed(), "");
    }
}

fn line(name: &str, took: Duration, what: &str) {
    let millis = took.as_secs_f64() * 1000.0;
    println!("{}", format!("{name:<10}{millis:>10.1} ms  {what}").trim_end());
}
