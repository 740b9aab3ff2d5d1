//! Fault tiers whose hosts are real: upgrades that meet a fault at each place, and what a tier did in one line that `make test`
//! shows.

mod drive;
mod points;

pub use drive::{Way, drive, lost};
pub use points::{Coverage, Direction, Here, Place, place, places};

use crate::voice::Voice;
use std::fmt::{Debug, Display};
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Instant;

/// Where an upgrade is driven to its end.
pub trait Driven {
    /// The operator.
    fn voice(&self) -> &Voice;
    /// Plans, approves, starts; the upgrade's name.
    fn begin(&self) -> String;
    /// Starts what ended by itself, as a service manager would.
    fn revive(&mut self);
    /// The last lines of every daemon.
    fn logs(&self) -> String;
}

/// One way to break something.
pub trait Fault: Copy + Ord + Display {
    /// Every place meets each of these.
    type Kind: Copy + Ord + Debug;
    /// What it happens to.
    type On: Driven + ?Sized;
    /// Of which kind it is.
    fn kind(self) -> Self::Kind;
    /// Does it, and ends it; `begun` is called when it is done to all whom it happens to.
    fn happen(self, on: &mut Self::On, begun: &mut dyn FnMut());
    /// Words that say truly what this one did, where it made a step fail; none where no step may fail of it.
    fn truth(self) -> &'static [&'static str];
}

#[derive(Debug, Clone, Copy)]
struct Tally {
    parts: u64,
    runs: u64,
    points: u64,
    began: Instant,
}

/// Adds to what a tier did in this process: a test binary is one tier, its tests add. `parts` is a number of what the tier is
/// made of, with its name. The line goes to standard output, and to `target/tiers`, as the output of a test that passes is hidden.
pub fn count(tier: &str, (parts, of): (u64, &str), runs: u64, points: u64, began: Instant) {
    static SO_FAR: Mutex<Option<Tally>> = Mutex::new(None);
    let mut so_far = SO_FAR.lock().unwrap_or_else(PoisonError::into_inner);
    let old = so_far.unwrap_or(Tally { parts: 0, runs: 0, points: 0, began });
    let sum = Tally {
        parts: old.parts + parts,
        runs: old.runs + runs,
        points: old.points + points,
        began: old.began.min(began),
    };
    *so_far = Some(sum);
    let line = format!(
        "tier {tier}: {} {of}, {} runs, {} points, {} s",
        grouped(sum.parts),
        grouped(sum.runs),
        grouped(sum.points),
        sum.began.elapsed().as_secs()
    );
    println!("{line}");
    let test = std::env::current_exe().unwrap();
    // target/debug/deps/TEST
    let folder = test.ancestors().nth(3).unwrap_or(Path::new("target")).join("tiers");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join(tier.replace(['(', ')'], "").replace(' ', "-")), line + "\n").unwrap();
}

/// With a comma before every three digits.
fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::new();
    for (n, digit) in digits.chars().enumerate() {
        if n > 0 && (digits.len() - n).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    #[test]
    fn large_numbers_are_read_in_threes() {
        assert_eq!(
            ["7", "999", "1,000", "2,345,678"],
            [7, 999, 1_000, 2_345_678].map(super::grouped).each_ref().map(String::as_str)
        );
    }
}
