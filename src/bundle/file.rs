//! Bundles as files: {"format": "conediff bundle", "version": 1, "build", "task", "settings", "layer", "calibration", "program",
//! "outcome", "again"}, numbers as everywhere in this crate's JSON.

use super::{Build, Bundle};
use crate::error::{Error, Result};
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::Path;

const FORMAT: &str = "conediff bundle";
const VERSION: u64 = 1;

#[derive(serde::Serialize)]
struct Written<'a> {
    format: &'static str,
    version: u64,
    build: &'a Build,
    task: &'a super::Task,
    settings: &'a crate::settings::Settings,
    layer: &'a Option<crate::layer::LayerSettings>,
    calibration: crate::linsolve::Calibration,
    program: &'a crate::program::ConeProgram,
    outcome: &'a Value,
    again: &'a Option<Value>,
}

impl Bundle {
    /// As JSON; docs/bundles.md has the keys.
    pub fn to_json(&self) -> String {
        let written = Written {
            format: FORMAT,
            version: VERSION,
            build: &self.build,
            task: &self.task,
            settings: &self.settings,
            layer: &self.layer,
            calibration: self.calibration,
            program: &self.program,
            outcome: &self.outcome,
            again: &self.again,
        };
        // String keys, and no number that JSON lacks: serialization cannot fail.
        serde_json::to_string(&written).unwrap_or_default()
    }

    /// Reads a bundle. Its program is checked like any other; settings, solution and seed are checked by the replay, as they may be what
    /// failed.
    ///
    /// # Errors
    /// [`Error::Bundle`]: cut off, no JSON, no bundle, another version of the format, or which part of it is wrong.
    pub fn from_json(text: &str) -> Result<Self> {
        let value: Value = serde_json::from_str(text).map_err(|e| fault(unreadable(text, &e)))?;
        let Value::Object(mut parts) = value else {
            return Err(fault("not a bundle: the JSON is no object".into()));
        };
        check_header(&parts)?;
        for name in ["outcome", "again"] {
            let found = parts.get(name).unwrap_or(&Value::Null);
            if !(found.is_object() || name == "again" && found.is_null()) {
                return Err(fault(format!("{name} is no object; send the whole file")));
            }
        }
        Ok(Self {
            build: part(&mut parts, "build")?,
            program: part(&mut parts, "program")?,
            settings: part(&mut parts, "settings")?,
            layer: part(&mut parts, "layer")?,
            calibration: part(&mut parts, "calibration")?,
            task: part(&mut parts, "task")?,
            outcome: part(&mut parts, "outcome")?,
            again: part(&mut parts, "again")?,
        })
    }

    /// [`Bundle::to_json`] to a file.
    ///
    /// # Errors
    /// [`Error::File`].
    pub fn write_to(&self, path: impl AsRef<Path>) -> Result<()> {
        let path = path.as_ref();
        std::fs::write(path, self.to_json() + "\n").map_err(|e| of_file(path, &e))
    }

    /// [`Bundle::from_json`] of a file.
    ///
    /// # Errors
    /// [`Error::File`]; those of [`Bundle::from_json`].
    pub fn read_from(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let text = std::fs::read_to_string(path).map_err(|e| of_file(path, &e))?;
        Self::from_json(&text)
    }
}

fn fault(reason: String) -> Error {
    Error::Bundle { reason }
}

fn of_file(path: &Path, error: &std::io::Error) -> Error {
    Error::File {
        path: path.display().to_string(),
        message: error.to_string(),
    }
}

/// Why a text is no JSON.
fn unreadable(text: &str, error: &serde_json::Error) -> String {
    if error.is_eof() {
        return format!(
            "cut off at line {}, column {}, after {} bytes; send the whole file",
            error.line(),
            error.column(),
            text.len()
        );
    }
    // Other writers give NaN and infinities bare.
    let line = text.lines().nth(error.line().saturating_sub(1));
    let rest = line.and_then(|line| line.get(error.column().saturating_sub(2)..));
    let bare = ["NaN", "Infinity", "-Infinity"].into_iter().find(|word| {
        rest.is_some_and(|r| r.trim_start_matches([',', ':', '[', ' ']).starts_with(word))
    });
    match bare {
        Some(word) => format!(
            "a bare {word} at line {}, column {} is no JSON; write it as the string \"{word}\"",
            error.line(),
            error.column()
        ),
        None => format!("not JSON: {error}"),
    }
}

fn check_header(parts: &Map<String, Value>) -> Result<()> {
    if parts.get("format").and_then(Value::as_str) != Some(FORMAT) {
        let reason = if parts.contains_key("A") && parts.contains_key("cones") {
            "not a bundle but a problem: solve or differentiate it, with --bundle to have one made"
                .to_string()
        } else {
            format!(
                "not a bundle: it lacks \"format\": \"{FORMAT}\"; --bundle and Bundle::write_to make them"
            )
        };
        return Err(fault(reason));
    }
    match parts.get("version") {
        Some(version) if version.as_u64() == Some(VERSION) => Ok(()),
        found => {
            let found = found.map_or_else(|| "none".to_string(), Value::to_string);
            let maker = parts.get("build").and_then(|b| b.get("version"));
            let maker = maker.and_then(Value::as_str).unwrap_or("unknown");
            Err(fault(format!(
                "version {found} of the format, and this build reads {VERSION}; replay it with the conediff that made it ({maker})"
            )))
        }
    }
}

/// One part; a missing one is read as null.
fn part<T: DeserializeOwned>(parts: &mut Map<String, Value>, name: &str) -> Result<T> {
    let value = parts.remove(name);
    let is_missing = value.is_none();
    serde_json::from_value(value.unwrap_or(Value::Null)).map_err(|e| {
        fault(if is_missing {
            format!("{name} is missing; send the whole file")
        } else {
            format!("{name}: {e}")
        })
    })
}
