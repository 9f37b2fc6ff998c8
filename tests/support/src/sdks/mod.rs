//! Real AWS SDKs that use the operator's Secrets, each as a process that runs for long and calls AWS again and again.
//!
//! `tests/sdks` has one small program for each. They know nothing of the test: what they find their credentials by is what a pod has.

mod caller;
mod clock;
mod mount;
mod tally;

use std::path::PathBuf;

pub use caller::{Caller, Setting, has_no_shell, runs_without_shell};
pub use clock::Clock;
pub use mount::{Lag, Mount};
pub use tally::{Rereading, Tally, Use};

use super::operator::binary;
use super::root;

/// An AWS SDK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sdk {
    Boto3,
    Cli,
    Cpp,
    Go,
    Java,
    JavaScript,
    Ruby,
    Rust,
}

impl Sdk {
    pub const ALL: [Self; 8] = [
        Self::Boto3,
        Self::Cli,
        Self::Cpp,
        Self::Go,
        Self::Java,
        Self::JavaScript,
        Self::Ruby,
        Self::Rust,
    ];

    /// As people call it.
    pub fn name(self) -> &'static str {
        match self {
            Self::Boto3 => "Python, boto3",
            Self::Cli => "AWS CLI, a new process for each call",
            Self::Cpp => "C++, in pyarrow",
            Self::Go => "Go v2",
            Self::Java => "Java v2",
            Self::JavaScript => "JavaScript v3",
            Self::Ruby => "Ruby v3",
            Self::Rust => "Rust",
        }
    }

    /// As files are called that are about it.
    fn word(self) -> &'static str {
        match self {
            Self::Boto3 => "boto3",
            Self::Cli => "cli",
            Self::Cpp => "cpp",
            Self::Go => "go",
            Self::Java => "java",
            Self::JavaScript => "javascript",
            Self::Ruby => "ruby",
            Self::Rust => "rust",
        }
    }

    /// Whether its clock is that of libc, which can be made to run faster.
    pub fn lives_by_libc(self) -> bool {
        // Go asks the kernel by itself. A Java virtual machine waits by a clock of its own too, and gets confused.
        !matches!(self, Self::Go | Self::Java)
    }

    /// What `tests/sdks/build` put in place for it.
    fn built(self) -> PathBuf {
        let name = match self {
            Self::Boto3 | Self::Cli => "python",
            Self::Rust => return binary().with_file_name("examples").join("sdk-rust"),
            other => other.word(),
        };
        root().join("target/parts/sdks").join(name)
    }

    /// Whether it could be had here. Loud if not: what is left out is not proved.
    pub fn is_here(self) -> bool {
        let here = self.built().exists();
        if !here {
            eprintln!(
                "{} is LEFT OUT: tests/sdks/build says why, see target/parts/build.log",
                self.name()
            );
        }
        here
    }

    /// The program and its arguments.
    fn program(self) -> Vec<String> {
        let built = self.built();
        let sources = root().join("tests/sdks");
        let text = |path: PathBuf| path.to_str().unwrap().to_owned();
        match self {
            Self::Boto3 => vec![text(built.join("bin/python")), text(sources.join("python/caller.py"))],
            Self::Cli => vec![text(built.join("bin/python")), text(sources.join("python/cli.py"))],
            Self::Cpp => vec![text(built.join("bin/python")), text(sources.join("cpp/caller.py"))],
            Self::Go => vec![text(built.join("caller"))],
            Self::Java => {
                let classes = format!("{}/classes:{}/lib/*", built.display(), built.display());
                ["java", "-XX:+UseSerialGC", "-cp", &classes, "Caller"]
                    .map(str::to_owned)
                    .to_vec()
            }
            Self::JavaScript => vec!["node".to_owned(), text(sources.join("javascript/caller.js"))],
            Self::Ruby => vec!["ruby".to_owned(), text(sources.join("ruby/caller.rb"))],
            Self::Rust => vec![text(built)],
        }
    }
}
