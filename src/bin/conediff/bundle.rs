//! Failure bundles: written where something went wrong, replayed with `conediff replay`.

use crate::One;
use crate::run::{BAD_INPUT, DIFFERENT, DONE, Failure};
use conediff::{Bundle, Error};
use std::path::Path;

/// Writes the bundle that was asked for, if there is a failure to send, and says so. What keeps it from being written is said too, and
/// is an exit code beside the command's own.
pub fn keep(one: &One, trusted: bool, make: impl FnOnce() -> conediff::Result<Bundle>) -> u8 {
    let Some(path) = &one.bundle else {
        return DONE;
    };
    if trusted {
        eprintln!("conediff: no bundle: the derivative is trusted");
        return DONE;
    }
    match make().and_then(|bundle| bundle.write_to(path)) {
        Ok(()) => {
            let path = path.display();
            eprintln!(
                "conediff: the failure is in {path}; conediff replay {path} computes it again"
            );
            DONE
        }
        Err(error) => {
            eprintln!("conediff: no bundle: {error}");
            BAD_INPUT
        }
    }
}

/// Prints what a bundle records beside what comes now.
pub fn replay(file: &Path, json: bool) -> Result<u8, Failure> {
    let bundle = Bundle::read_from(file).map_err(|error| match error {
        Error::Bundle { .. } => Failure::File(format!("{}: {error}", file.display())),
        other => Failure::Library(other),
    })?;
    let replay = bundle.replay();
    if json {
        let Ok(mut out) = serde_json::to_value(&replay) else {
            return Ok(BAD_INPUT);
        };
        out["equal"] = replay.matches_bits().into();
        out["same_build"] = replay.is_same_build().into();
        say!("{out}");
    } else {
        say!("{replay}");
    }
    Ok(if replay.matches_bits() {
        DONE
    } else {
        DIFFERENT
    })
}
