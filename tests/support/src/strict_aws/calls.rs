//! A call: what is asked, what is answered or answered instead, what goes wrong with it, and how it is remembered.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

/// What is asked.
// Nearly all requests are of the large kind.
#[allow(clippy::large_enum_variant)]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// `sts:GetCallerIdentity`.
    GetCallerIdentity,
    /// `sts:AssumeRole`.
    AssumeRole(AssumeRole),
    /// `sts:AssumeRoleWithWebIdentity`.
    AssumeRoleWithWebIdentity(AssumeRoleWithWebIdentity),
    /// `ecr:GetAuthorizationToken`.
    GetAuthorizationToken,
    /// `s3:HeadBucket`.
    HeadBucket,
}

/// The parameters of `AssumeRole`, as they came: a list may hold anything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssumeRole {
    pub role_arn: String,
    pub session_name: String,
    pub duration: Option<i64>,
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    pub tags: Vec<(String, String)>,
    pub transitive_tag_keys: Vec<String>,
    pub external_id: Option<String>,
    pub source_identity: Option<String>,
}

/// The parameters of `AssumeRoleWithWebIdentity`, as they came.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AssumeRoleWithWebIdentity {
    pub role_arn: String,
    pub session_name: String,
    pub duration: Option<i64>,
    pub policy: Option<String>,
    pub policy_arns: Vec<String>,
    pub token: String,
}

impl Request {
    /// The role that is to be assumed, if one is.
    pub fn role_arn(&self) -> Option<&str> {
        match self {
            Self::AssumeRole(asked) => Some(&asked.role_arn),
            Self::AssumeRoleWithWebIdentity(asked) => Some(&asked.role_arn),
            Self::GetCallerIdentity | Self::GetAuthorizationToken | Self::HeadBucket => None,
        }
    }
}

/// What is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    Identity {
        account: String,
        arn: String,
    },
    Session {
        access_key_id: String,
        secret: String,
        token: String,
        expiration: Timestamp,
    },
    Token {
        password: String,
        expiration: Timestamp,
    },
    /// There is such a bucket.
    Bucket,
}

/// What is answered instead.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub status: u16,
    pub code: String,
    pub message: String,
    /// `Retry-After`, in seconds.
    pub retry_after: Option<u64>,
}

impl Refusal {
    pub fn new(status: u16, code: &str, message: impl Into<String>) -> Self {
        Self {
            status,
            code: code.to_owned(),
            message: message.into(),
            retry_after: None,
        }
    }
}

/// What goes wrong with a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is answered with an error.
    Refuse(Refusal),
    /// The connection ends without an answer.
    Reset,
    /// No answer ever comes.
    Hang,
    /// The answer takes its time.
    Slow(Duration),
    /// The answer is not one.
    Garbage,
    /// The answer is cut off in the middle.
    Truncated,
    /// The session ends before it began.
    PastEnd,
    /// The session ends in ten seconds.
    ShortEnd,
    /// The session ends in the year 9999.
    FarEnd,
    /// The answer tells a time that is wrong by so many seconds.
    WrongDate(i64),
}

/// One call, as it is remembered.
#[derive(Clone, Debug)]
pub struct Call {
    pub at: Timestamp,
    pub access_key_id: String,
    pub region: String,
    pub request: Request,
    /// The code of the refusal, if it was refused.
    pub refused: Option<String>,
}
