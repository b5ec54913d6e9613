//! Figures and how they are shown.

/// Measurements of one thing, in one unit.
#[derive(Clone, Debug, Default)]
pub struct Sample(Vec<f64>);

impl Sample {
    /// Adds a measurement.
    pub fn add(&mut self, value: f64) {
        self.0.push(value);
    }

    /// The middle one, 0 of none.
    pub fn median(&self) -> f64 {
        self.at(0.5)
    }

    /// The one that nine of ten are below.
    pub fn p90(&self) -> f64 {
        self.at(0.9)
    }

    fn at(&self, share: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        // The index is within the sample: the share is below 1.
        let index = (sorted.len() as f64 * share) as usize;
        sorted.get(index.min(sorted.len().saturating_sub(1))).copied().unwrap_or(0.0)
    }
}

/// The head of a table.
pub fn head(title: &str) {
    println!("\n{title}");
    println!("  {:<34}{:>12}{:>12}{:>12}", "", "wharf", "containerd", "ratio");
}

/// A row of a table: ours, theirs and ours divided by theirs.
pub fn row(what: &str, ours: f64, theirs: f64) {
    let ratio = if theirs > 0.0 { format!("{:.2}", ours / theirs) } else { "-".to_owned() };
    println!("  {what:<34}{ours:>12.2}{theirs:>12.2}{ratio:>12}");
}
