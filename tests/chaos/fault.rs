//! What can go wrong.

use std::time::Duration;

use support::tcp_proxy::Line;

/// What AWS does with calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AwsFault {
    Reset,
    Hang,
    /// An answer takes so many seconds.
    Slow(u64),
    Garbage,
    Truncated,
    /// The `Date` of each answer is wrong, by hours and by other ones each time.
    WrongDate,
    /// The session is said to end at once, long ago or never.
    WrongEnd,
    /// Each call is refused with that status and code.
    Refuse(u16, &'static str),
    /// Each call meets another of these, or none.
    Anything,
    /// There are few calls to be had.
    Throttle,
}

/// The refusals that AWS is known for, of each class.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
pub const REFUSALS: [(u16, &str); 21] = [
    (400, "IncompleteSignature"),
    (400, "InvalidParameterValue"),
    (400, "MalformedPolicyDocument"),
    (400, "RequestExpired"),
    (400, "Throttling"),
    (400, "ValidationError"),
    (403, "AccessDenied"),
    (403, "ExpiredToken"),
    (403, "InvalidClientTokenId"),
    (403, "MissingAuthenticationToken"),
    (403, "OptInRequired"),
    (403, "RegionDisabledException"),
    (403, "SignatureDoesNotMatch"),
    (404, "MalformedQueryString"),
    (408, "RequestTimeout"),
    (413, "RequestEntityTooLarge"),
    (429, "TooManyRequestsException"),
    (500, "InternalFailure"),
    (502, "BadGateway"),
    (503, "ServiceUnavailable"),
    (504, "GatewayTimeout"),
];

/// What somebody does to the lease that says which operator acts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEdit {
    Delete,
    GiveToNobody,
    GiveToAStranger,
    /// It was renewed last in so many seconds.
    Renewed(i64),
}

/// Something that goes wrong. An operator is named by its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    Aws(AwsFault),
    AwsLine(Line),
    /// AWS's clock is apart by so many seconds.
    Clock(i64),
    ApiServerRestarts,
    EtcdRestarts,
    /// The API server comes back with a certificate of another authority. An operator reads the authority once, at its start, so each is started
    /// again.
    AuthorityRotates,
    /// The history goes while an operator cannot see it: its watches cannot go on where they were.
    Compaction(usize),
    OperatorLine(usize, Line),
    Kill(usize),
    /// As in an upgrade.
    Terminate(usize),
    Stop(usize),
    /// The token counts no more, as one that has expired, and there is a new one later.
    TokenRevoked(usize),
    /// Something else is in the token's file for a while.
    TokenGarbled(usize),
    Lease(LeaseEdit),
}

/// Faults of one kind do not go on at the same time.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Aws,
    AwsLine,
    Clock,
    Cluster,
    Operator(usize),
    OperatorLine(usize),
    Token(usize),
    Lease,
}

impl Fault {
    pub fn kind(self) -> Kind {
        match self {
            Self::Aws(_) => Kind::Aws,
            Self::AwsLine(_) => Kind::AwsLine,
            Self::Clock(_) => Kind::Clock,
            // A compaction falls together with a line that is silent, which it makes itself.
            Self::ApiServerRestarts | Self::EtcdRestarts | Self::AuthorityRotates | Self::Compaction(_) => {
                Kind::Cluster
            }
            Self::OperatorLine(number, _) => Kind::OperatorLine(number),
            Self::Kill(number) | Self::Terminate(number) | Self::Stop(number) => Kind::Operator(number),
            Self::TokenRevoked(number) | Self::TokenGarbled(number) => Kind::Token(number),
            Self::Lease(_) => Kind::Lease,
        }
    }

    /// Whether it happens to an operator alone, and so to nothing that its calls to AWS depend on.
    pub fn is_of_an_operator(self) -> bool {
        matches!(
            self,
            Self::Kill(_) | Self::Terminate(_) | Self::Stop(_) | Self::Lease(_)
        )
    }

    /// Whether a process ends by it.
    pub fn ends_an_operator(self) -> bool {
        matches!(self, Self::Kill(_) | Self::Terminate(_) | Self::AuthorityRotates)
    }

    /// Its name in the figures.
    pub fn name(self) -> String {
        match self {
            Self::Aws(AwsFault::Slow(_)) => "aws: slow".to_owned(),
            Self::Aws(fault) => format!("aws: {fault:?}"),
            Self::AwsLine(line) => format!("aws line: {line:?}"),
            Self::Clock(by) => format!("clock of aws: {}", if by > 0 { "ahead" } else { "behind" }),
            Self::OperatorLine(_, line) => format!("api server line: {line:?}"),
            Self::Compaction(_) => "compaction".to_owned(),
            Self::Kill(_) => "operator: killed".to_owned(),
            Self::Terminate(_) => "operator: restarted".to_owned(),
            Self::Stop(_) => "operator: stopped".to_owned(),
            Self::TokenRevoked(_) => "token: revoked".to_owned(),
            Self::TokenGarbled(_) => "token: garbled".to_owned(),
            Self::Lease(edit) => format!("lease: {edit:?}"),
            Self::ApiServerRestarts => "api server: restarted".to_owned(),
            Self::EtcdRestarts => "etcd: restarted".to_owned(),
            Self::AuthorityRotates => "api server: another authority".to_owned(),
        }
    }

    /// How long after its end it may still be felt: a call that hangs, a watch that does not know yet, a token that is read once a minute.
    pub fn aftermath(self) -> Duration {
        Duration::from_secs(match self {
            Self::Aws(AwsFault::Hang | AwsFault::Slow(_) | AwsFault::Anything) => 35,
            Self::AwsLine(Line::Silent | Line::Forgotten) => 35,
            Self::Aws(_) | Self::AwsLine(_) => 10,
            // Until each resource had its next refresh, by the schedule of before.
            Self::Clock(_) => 60,
            Self::ApiServerRestarts | Self::EtcdRestarts => 20,
            Self::OperatorLine(..) | Self::Compaction(_) | Self::AuthorityRotates => 50,
            Self::Kill(_) | Self::Terminate(_) | Self::Stop(_) | Self::Lease(_) => 45,
            Self::TokenRevoked(_) | Self::TokenGarbled(_) => 75,
        })
    }
}
