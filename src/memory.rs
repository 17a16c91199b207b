//! Memory asked for before anything large is made: what does not fit is an error, not the end of the process.

use crate::error::{Error, Result};

/// The largest dense object, 4 GiB, where the caller sets no limit.
pub(crate) const MOST_DENSE_BYTES: u64 = 1 << 32;

/// The largest factor: 8 GiB, values alone.
pub(crate) const MOST_FACTOR_BYTES: u64 = 1 << 33;

/// Less is not asked for: where that is not there, nothing goes on.
const SMALL: u128 = 1 << 20;

/// [`Error::TooLarge`] if so many entries of so many bytes take more than `limit`, or more than there is.
pub(crate) fn check_bytes(what: &'static str, size: u128, entries: u128, limit: u64) -> Result<()> {
    let (bytes, limit) = (entries.saturating_mul(size), u128::from(limit));
    if bytes > limit {
        return Err(Error::TooLarge { what, bytes, limit });
    }
    check_room(what, bytes)
}

/// [`check_bytes`] for rows * cols numbers, and for a row and a column.
pub(crate) fn check_dense(what: &'static str, rows: usize, cols: usize, limit: u64) -> Result<()> {
    check_bytes(what, 8, rows as u128 * cols as u128, limit)?;
    check_room(what, 8 * rows.max(cols) as u128)
}

/// [`Error::TooLarge`] unless so many bytes can be had: the limits of the process and, on most systems, its machine's memory.
pub(crate) fn check_room(what: &'static str, bytes: u128) -> Result<()> {
    if bytes <= SMALL || is_there(bytes) {
        return Ok(());
    }
    // To within a factor of two.
    let mut limit = bytes / 2;
    while limit > 0 && !is_there(limit) {
        limit /= 2;
    }
    Err(Error::TooLarge { what, bytes, limit })
}

/// Asks the allocator, and gives it back: nothing of it is touched.
fn is_there(bytes: u128) -> bool {
    usize::try_from(bytes).is_ok_and(|bytes| Vec::<u8>::new().try_reserve_exact(bytes).is_ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn too_large_says_what_there_is_room_for() {
        assert!(check_room("it", 1 << 24).is_ok());
        let Err(Error::TooLarge { what, bytes, limit }) = check_room("it", 1 << 62) else {
            panic!("there are no {} bytes", 1u64 << 62)
        };
        assert_eq!((what, bytes), ("it", 1 << 62));
        assert!(limit > SMALL && limit < bytes, "{limit}");
    }

    #[test]
    fn sizes_do_not_overflow() {
        let most = usize::MAX;
        assert!(check_dense("it", most, most, u64::MAX).is_err());
        assert!(check_bytes("it", 16, u128::MAX, 1).is_err());
        // No entry, but a column index of that length.
        assert!(check_dense("it", most, 0, 1).is_err());
        assert!(check_dense("it", 1000, 1000, 8_000_000).is_ok());
        assert!(check_dense("it", 1000, 1001, 8_000_000).is_err());
    }
}
