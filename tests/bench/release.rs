//! The release build: how long it takes, and how large the binary is.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::progress;
use crate::table::{Table, Unit};

/// Builds the operator for release, and says how long that took: from nothing, which is remembered from the last time that it was so, and
/// after a change of the operator's own code.
pub fn build() -> (PathBuf, Times) {
    let target = target();
    let release = target.join("release");
    let remembered = target.join("release-build-seconds");
    let is_cold = !release.join("deps").exists();
    if is_cold {
        progress("the release build, from nothing: this takes minutes");
        let took = cargo(&["build", "--release", "--bin", "aws-assume-role"]);
        fs::write(&remembered, took.as_secs().to_string()).unwrap();
    }
    progress("the release build, of the operator's own code");
    cargo(&["clean", "--quiet", "--release", "--package", "aws-assume-role"]);
    let warm = cargo(&["build", "--release", "--bin", "aws-assume-role"]);
    let cold = fs::read_to_string(&remembered).ok();
    let times = Times {
        cold: cold.and_then(|text| text.parse().ok()).map(Duration::from_secs),
        warm,
    };
    (release.join("aws-assume-role"), times)
}

/// How long the builds took.
pub struct Times {
    cold: Option<Duration>,
    warm: Duration,
}

impl Times {
    pub fn put(&self, table: &mut Table, column: usize) {
        if let Some(cold) = self.cold {
            table.put(column, "release build, from nothing", Unit::Seconds, cold.as_secs_f64());
        }
        let warm = self.warm.as_secs_f64();
        table.put(column, "release build, of the operator's own code", Unit::Seconds, warm);
    }
}

/// Puts the size of a binary into the table, as it is and without symbols.
pub fn size(table: &mut Table, column: usize, binary: &Path) {
    let length = |path: &Path| fs::metadata(path).unwrap().len() as f64;
    table.put(column, "binary, as built", Unit::MiB, length(binary));
    let folder = tempfile::tempdir().unwrap();
    let stripped = folder.path().join("stripped");
    let strip = Command::new("strip").arg("-o").arg(&stripped).arg(binary).status();
    match strip {
        Ok(status) if status.success() => table.put(column, "binary, stripped", Unit::MiB, length(&stripped)),
        // An operator may be a script.
        _ => progress(&format!("{} cannot be stripped", binary.display())),
    }
}

/// Where Cargo builds. This program lies in `debug/examples` there.
fn target() -> PathBuf {
    let this = std::env::current_exe().unwrap();
    this.ancestors().nth(3).unwrap().to_owned()
}

fn cargo(arguments: &[&str]) -> Duration {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let started = Instant::now();
    let status = Command::new(cargo)
        .args(arguments)
        .current_dir(support::root())
        .env("CARGO_TARGET_DIR", target())
        .status();
    assert!(
        status.is_ok_and(|status| status.success()),
        "cargo {arguments:?} failed"
    );
    started.elapsed()
}
