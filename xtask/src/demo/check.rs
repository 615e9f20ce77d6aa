//! The final table: what was expected and what was found.

use anyhow::bail;
use comfy_table::{Table, presets};

/// What was compared so far.
#[derive(Default)]
pub(crate) struct Checks {
    rows: Vec<(String, String, u64, u64)>,
}

impl Checks {
    /// Notes one comparison.
    pub(crate) fn compare(&mut self, workspace: &str, what: &str, expected: u64, found: u64) {
        self.rows.push((workspace.to_owned(), what.to_owned(), expected, found));
    }

    /// Prints all comparisons.
    pub(crate) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["workspace", "what", "recount", "network", ""]);
        for (workspace, what, expected, found) in &self.rows {
            let mark = if expected == found { "✓" } else { "✗" };
            table.add_row([
                workspace.clone(),
                what.clone(),
                expected.to_string(),
                found.to_string(),
                mark.to_owned(),
            ]);
        }
        println!("{table}");
    }

    /// Whether everything agrees.
    ///
    /// # Errors
    /// Says how much does not.
    pub(crate) fn verdict(&self) -> anyhow::Result<()> {
        let wrong = self.rows.iter().filter(|(_, _, expected, found)| expected != found).count();
        if wrong > 0 {
            bail!("{wrong} of {} checks failed, see ✗ in the table above", self.rows.len());
        }
        println!("all {} checks agree", self.rows.len());
        Ok(())
    }
}
