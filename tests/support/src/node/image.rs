//! The operator's image, built around the binary that the tests run.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::run;
use crate::operator::binary;
use crate::root;

/// Its name.
pub const IMAGE: &str = "localhost/aws-assume-role:dev";

/// An image: its archive, and the folder of all that is in it.
pub struct Image {
    pub archive: PathBuf,
    pub root: PathBuf,
}

/// Whether an image can be built here, and run with nothing else beside it. If not, it says so.
pub fn possible(what: &str) -> bool {
    const ROOT_AND_TOOLS: &str = r#"
        [ "$(id -u)" = 0 ]
        unshare --mount true
        for tool in buildah readelf strip setpriv; do command -v "$tool"; done
    "#;
    let tried = Command::new("sh").args(["-ec", ROOT_AND_TOOLS]).output().unwrap();
    let possible = tried.status.success();
    if !possible {
        eprintln!("{what} is LEFT OUT: it needs root, buildah and binutils");
    }
    possible
}

/// Builds it in `folder`.
pub fn build(folder: &Path) -> Image {
    // What a debugger reads is most of a binary that is not for release.
    let stripped = folder.join("aws-assume-role");
    run(Command::new("strip").arg("-o").arg(&stripped).arg(binary()));
    let folder = folder.join("image");
    run(Command::new(root().join("image/archive")).arg(&stripped).arg(&folder));
    Image {
        archive: folder.join("aws-assume-role.tar"),
        root: folder.join("root"),
    }
}
