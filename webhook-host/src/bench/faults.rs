//! Page faults, as Linux counts them (proc_pid_stat(5)). Other systems give no count.

use std::fs;

/// The place of `minflt` among the numbers behind the command's name.
const MINOR_FAULTS: usize = 7;

/// The entry of the auxiliary vector with the size of a page (getauxval(3)).
const AT_PAGESZ: usize = 6;

/// Returns the page faults of this thread so far for which nothing was read from a disk.
pub(super) fn of_this_thread() -> Option<u64> {
    minor_faults(&fs::read_to_string("/proc/thread-self/stat").ok()?)
}

/// Parses the count of minor faults. The command's name stands in parentheses, and may hold any
/// character.
fn minor_faults(stat: &str) -> Option<u64> {
    let (_, numbers) = stat.rsplit_once(')')?;
    numbers.split_whitespace().nth(MINOR_FAULTS)?.parse().ok()
}

/// Returns the bytes of a page.
pub(super) fn page_size() -> Option<u64> {
    const WORD: usize = size_of::<usize>();
    let vector = fs::read("/proc/self/auxv").ok()?;
    let word = |bytes: &[u8]| bytes.try_into().map(usize::from_ne_bytes).ok();
    let entry = vector
        .chunks_exact(2 * WORD)
        .find(|entry| word(&entry[..WORD]) == Some(AT_PAGESZ))?;
    u64::try_from(word(&entry[WORD..])?).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_stand_behind_the_name_whatever_it_is() {
        let stat = "12 (a b) c) R 1 2 3 4 5 6 777 8 9";
        assert_eq!(minor_faults(stat), Some(777));
        assert_eq!(minor_faults("12 (a"), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn touching_pages_is_counted() {
        let page = page_size().expect("Linux tells it");
        assert!(page.is_power_of_two() && page >= 4096, "{page}");
        let before = of_this_thread().expect("Linux tells it");
        // Larger than what an allocator keeps, so that its pages are new.
        let size = usize::try_from(page).expect("small") * 16_384;
        let mut fresh = vec![0_u8; size];
        for byte in fresh
            .iter_mut()
            .step_by(usize::try_from(page).expect("small"))
        {
            *byte = std::hint::black_box(1);
        }
        let faults = of_this_thread().expect("Linux tells it") - before;
        // Large pages need fewer faults.
        assert!(faults > 0, "{faults}");
    }
}
