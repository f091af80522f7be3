//! What programs take of the processor. On a machine that is shared it says more than the time that passes.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result};

/// Ticks a second in what the system says of processes; it is the same on every Linux.
const TICKS: f64 = 100.0;

/// The time that a process and all its children have had of the processor so far, those that have ended included, in seconds.
///
/// # Errors
/// A system that does not say, or no such process.
pub fn seconds_of_family(process: u32) -> Result<f64> {
    let mut by_parent = BTreeMap::<u32, Vec<(u32, f64)>>::new();
    for entry in std::fs::read_dir("/proc").context("this system does not say what processes take")? {
        let path = entry?.path();
        let Some(id) = path.file_name().and_then(|name| name.to_str()?.parse().ok()) else { continue };
        // One that has ended meanwhile is in its parent's sum.
        let Some((parent, ticks)) = read(&path) else { continue };
        by_parent.entry(parent).or_default().push((id, ticks));
    }
    let own = read(&Path::new("/proc").join(process.to_string())).context("there is no such process")?.1;
    let (mut ticks, mut parents) = (own, vec![process]);
    while let Some(parent) = parents.pop() {
        for (id, of_child) in by_parent.remove(&parent).unwrap_or_default() {
            ticks += of_child;
            parents.push(id);
        }
    }
    Ok(ticks / TICKS)
}

/// The parent of a process.
///
/// # Errors
/// A system that does not say, or no such process.
pub fn parent(process: u32) -> Result<u32> {
    Ok(read(&Path::new("/proc").join(process.to_string())).context("there is no such process")?.0)
}

/// The parent of a process, and the ticks of it and of its children that ended: proc(5).
fn read(process: &Path) -> Option<(u32, f64)> {
    let stat = std::fs::read_to_string(process.join("stat")).ok()?;
    // The second field is the name, in brackets, and may hold anything.
    let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
    let number = |at: usize| fields.get(at)?.parse::<f64>().ok();
    Some((fields.get(1)?.parse().ok()?, number(11)? + number(12)? + number(13)? + number(14)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_this_process_takes_is_counted() {
        let own = std::process::id();
        let before = seconds_of_family(own).expect("the system says");
        let mut n = 1_u64;
        while seconds_of_family(own).expect("the system says") < before + 0.03 {
            (0..1_000_000).for_each(|k| n = std::hint::black_box(n.wrapping_mul(k | 1)));
        }
        assert!(seconds_of_family(u32::MAX).is_err());
    }
}
