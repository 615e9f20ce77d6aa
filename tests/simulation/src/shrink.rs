//! The shortest plan that still fails: steps are taken away in ever smaller
//! pieces, as long as the same check fails.

use crate::{
    plan::{Settings, Step},
    world::{Outcome, run},
};

/// Shrinks a failing plan; answers it with its recorded run.
#[must_use]
pub fn shrink(settings: &Settings, steps: &[Step], check: &str) -> (Vec<Step>, Outcome) {
    let mut best = steps.to_vec();
    let fails = |steps: &[Step]| {
        run(settings, steps, false).failure.is_some_and(|failure| failure.check == check)
    };
    if let Some(failure) = run(settings, &best, false).failure {
        let cut: Vec<Step> = best.iter().filter(|step| step.at <= failure.at).cloned().collect();
        if fails(&cut) {
            best = cut;
        }
    }
    let mut size = best.len() / 2;
    while size > 0 {
        let mut start = 0;
        while start < best.len() {
            let mut fewer = best.clone();
            fewer.drain(start..(start + size).min(best.len()));
            if fails(&fewer) {
                best = fewer;
            } else {
                start += size;
            }
        }
        size /= 2;
    }
    let outcome = run(settings, &best, true);
    (best, outcome)
}
