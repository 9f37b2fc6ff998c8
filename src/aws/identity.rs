//! Who the operator is to AWS, and the answer kept for all who ask.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures::FutureExt;
use futures::future::BoxFuture;
use tokio::sync::Mutex;
use tokio::time::Instant;

use super::region::partition;
use super::{AssumeRole, AssumeRoleWithWebIdentity, Aws, AwsError, Region};
use crate::credentials::{Credentials, RegistryLogin, ServiceAccountToken, Session};
use crate::spec::ecr::EcrEndpoint;
use crate::spec::role::RoleReference;

/// How long a failure to learn the operator's identity stands, and an answer that was doubted since, so that those who waited for the same
/// answer do not ask one after the other.
const FAILURE_STANDS: Duration = Duration::from_secs(2);

/// Who the operator is to AWS, from `sts:GetCallerIdentity`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// The account, twelve digits.
    pub account: String,
    /// `aws`, `aws-cn`, `aws-us-gov`, ...
    pub partition: String,
    /// The full ARN.
    pub arn: String,
}

impl Identity {
    /// The identity that an ARN and an account speak of.
    #[must_use]
    pub fn new(account: &str, arn: &str) -> Self {
        Self {
            account: account.to_owned(),
            partition: arn.split(':').nth(1).unwrap_or("aws").to_owned(),
            arn: arn.to_owned(),
        }
    }

    /// Whether the identity is itself a role session, so that assuming a role from it is role chaining.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/id_roles.html#iam-term-role-chaining>
    #[must_use]
    pub fn is_role_session(&self) -> bool {
        self.role_of_session().is_some()
    }

    /// The principal to name in a trust policy: the role of a role session (whose ARN lacks the role's path), else the ARN.
    #[must_use]
    pub fn principal(&self) -> String {
        match self.role_of_session() {
            Some(role) => format!("arn:{}:iam::{}:role/{role}", self.partition, self.account),
            None => self.arn.clone(),
        }
    }

    /// The ARN of a role, to an operator of this identity.
    #[must_use]
    pub fn arn_of(&self, role: &RoleReference) -> String {
        match role {
            RoleReference::Arn(arn) => arn.clone(),
            RoleReference::Name(name) => format!("arn:{}:iam::{}:role/{name}", self.partition, self.account),
        }
    }

    /// Whether a role or a Region lies in another partition. Credentials are good in one partition only.
    /// <https://docs.aws.amazon.com/whitepapers/latest/aws-fault-isolation-boundaries/partitions.html>
    #[must_use]
    pub fn is_of_another_partition(&self, role_arn: Option<&str>, region: Option<&str>) -> bool {
        let of_role = role_arn.and_then(|arn| arn.split(':').nth(1));
        let of_region = region.map(partition);
        of_role
            .into_iter()
            .chain(of_region)
            .any(|partition| partition != self.partition)
    }

    fn role_of_session(&self) -> Option<&str> {
        self.arn
            .split(':')
            .nth(5)?
            .strip_prefix("assumed-role/")?
            .split('/')
            .next()
    }
}

/// An [`Aws`] that asks for the operator's identity at the first need, and keeps the answer for as long as the operator's credentials
/// are the same and AWS takes them.
pub struct KnownIdentity {
    aws: Arc<dyn Aws>,
    answer: Mutex<Option<Answered>>,
    /// AWS refused the operator's credentials since it was last asked whose they are. It is beside the answer, since whoever brings a refusal
    /// must not wait for a question that is under way: with the refusal comes the time that AWS told.
    doubted: AtomicBool,
}

/// What became of asking for the identity.
struct Answered {
    when: Instant,
    result: Result<Identity, AwsError>,
    /// The operator's access key that it is about.
    generation: u64,
}

impl Answered {
    fn stands(&self, generation: u64, doubted: bool) -> bool {
        let fresh = self.when.elapsed() < FAILURE_STANDS;
        match self.result {
            Ok(_) => self.generation == generation && (fresh || !doubted),
            Err(_) => fresh,
        }
    }
}

impl KnownIdentity {
    /// Keeps what `aws` answers.
    #[must_use]
    pub fn new(aws: Arc<dyn Aws>) -> Self {
        Self {
            aws,
            answer: Mutex::new(None),
            doubted: AtomicBool::new(false),
        }
    }

    async fn known(&self) -> Result<Identity, AwsError> {
        // Whoever comes while the question is under way waits here for the same answer.
        let mut answer = self.answer.lock().await;
        let before = self.aws.credentials_generation();
        let doubted = self.doubted.load(Ordering::Relaxed);
        if let Some(answered) = answer.as_ref().filter(|answered| answered.stands(before, doubted)) {
            return answered.result.clone();
        }
        self.doubted.store(false, Ordering::Relaxed);
        let result = self.aws.identity().await;
        *answer = Some(Answered {
            when: Instant::now(),
            result: result.clone(),
            // The first question finds the first key. A key that comes while a later one is under way may not have signed it.
            generation: match before {
                0 => self.aws.credentials_generation(),
                _ => before,
            },
        });
        result
    }

    async fn session(&self, request: &AssumeRole) -> Result<Session, AwsError> {
        let result = self.aws.assume_role(request).await;
        if matches!(result, Err(AwsError::NoIdentity(_))) {
            // The role may have been made anew.
            self.doubted.store(true, Ordering::Relaxed);
        }
        result
    }
}

impl Aws for KnownIdentity {
    fn region(&self) -> Region {
        self.aws.region()
    }

    fn credentials_generation(&self) -> u64 {
        self.aws.credentials_generation()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.known().boxed()
    }

    /// Not while the question is under way.
    fn known_identity(&self) -> Option<Identity> {
        let answer = self.answer.try_lock().ok()?;
        let generation = self.aws.credentials_generation();
        let doubted = self.doubted.load(Ordering::Relaxed);
        let answered = answer
            .as_ref()
            .filter(|answered| answered.stands(generation, doubted))?;
        answered.result.clone().ok()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.session(request).boxed()
    }

    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>> {
        self.aws.assume_role_with_web_identity(request, token)
    }

    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        self.aws.registry_login(endpoint, credentials)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::AtomicU64;

    use super::*;
    use crate::aws::RegionSource;
    use crate::aws::error::{Answer, Operation};

    #[test]
    fn the_principal_of_a_role_session_is_its_role() {
        let session = Identity::new(
            "123456789012",
            "arn:aws-cn:sts::123456789012:assumed-role/operator/eks-pod-1",
        );
        assert!(session.is_role_session());
        assert_eq!(session.principal(), "arn:aws-cn:iam::123456789012:role/operator");

        let user = Identity::new("123456789012", "arn:aws:iam::123456789012:user/someone");
        assert!(!user.is_role_session());
        assert_eq!(user.principal(), "arn:aws:iam::123456789012:user/someone");
    }

    #[test]
    fn a_name_lives_in_the_operators_account_and_partition() {
        let identity = Identity::new("123456789012", "arn:aws-us-gov:iam::123456789012:user/u");
        assert_eq!(
            identity.arn_of(&RoleReference::Name("team/my-role".into())),
            "arn:aws-us-gov:iam::123456789012:role/team/my-role"
        );
        assert_eq!(
            identity.arn_of(&RoleReference::Arn("arn:aws:iam::210987654321:role/theirs".into())),
            "arn:aws:iam::210987654321:role/theirs"
        );
    }

    /// An AWS that knows the operator by its present access key.
    #[derive(Default)]
    struct Rotated {
        generation: AtomicU64,
        asked: AtomicU64,
        refuses: AtomicBool,
        hangs: AtomicBool,
    }

    impl Rotated {
        fn refusal() -> AwsError {
            AwsError::NoIdentity(Answer {
                operation: Operation::AssumeRole,
                code: Some("ExpiredToken".into()),
                message: String::new(),
                request_id: None,
                retry_after: None,
                date: None,
            })
        }
    }

    impl Aws for Rotated {
        fn region(&self) -> Region {
            Region::new("eu-west-1", RegionSource::Environment)
        }

        fn credentials_generation(&self) -> u64 {
            self.generation.load(Ordering::SeqCst)
        }

        fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
            self.asked.fetch_add(1, Ordering::SeqCst);
            // The first question makes the SDK look for credentials.
            let _ = self
                .generation
                .compare_exchange(0, 1, Ordering::SeqCst, Ordering::SeqCst);
            let arn = format!("arn:aws:iam::123456789012:user/u{}", self.credentials_generation());
            async move {
                if self.hangs.load(Ordering::SeqCst) {
                    std::future::pending::<()>().await;
                }
                match self.refuses.load(Ordering::SeqCst) {
                    true => Err(Self::refusal()),
                    false => Ok(Identity::new("123456789012", &arn)),
                }
            }
            .boxed()
        }

        fn assume_role<'a>(&'a self, _: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
            async { Err(Self::refusal()) }.boxed()
        }

        fn assume_role_with_web_identity<'a>(
            &'a self,
            _: &'a AssumeRoleWithWebIdentity,
            _: &'a ServiceAccountToken,
        ) -> BoxFuture<'a, Result<Session, AwsError>> {
            async { Err(Self::refusal()) }.boxed()
        }

        fn registry_login<'a>(
            &'a self,
            _: &'a EcrEndpoint,
            _: &'a Credentials,
        ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
            async { Err(Self::refusal()) }.boxed()
        }
    }

    #[tokio::test(start_paused = true)]
    async fn another_access_key_is_asked_whose_it_is() {
        let aws = Arc::new(Rotated::default());
        let known = KnownIdentity::new(aws.clone());
        let asked = || aws.asked.load(Ordering::SeqCst);
        for _ in 0..3 {
            assert!(known.identity().await.unwrap().arn.ends_with("/u1"));
        }
        assert_eq!(asked(), 1);
        aws.generation.store(2, Ordering::SeqCst);
        for _ in 0..3 {
            assert!(known.identity().await.unwrap().arn.ends_with("/u2"));
        }
        assert_eq!(asked(), 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_of_the_operators_credentials_puts_its_identity_in_doubt() {
        let aws = Arc::new(Rotated::default());
        let known = KnownIdentity::new(aws.clone());
        let request = AssumeRole {
            role_arn: "arn:aws:iam::123456789012:role/r".into(),
            region: None,
            session: crate::spec::SessionRequest::default(),
            duration: Duration::from_secs(900),
        };
        known.identity().await.unwrap();
        tokio::time::advance(Duration::from_secs(3600)).await;
        for _ in 0..5 {
            known.assume_role(&request).await.unwrap_err();
            aws.refuses.store(true, Ordering::SeqCst);
            known.identity().await.unwrap_err();
        }
        assert_eq!(aws.asked.load(Ordering::SeqCst), 2, "all of them have the same answer");
        tokio::time::advance(FAILURE_STANDS).await;
        aws.refuses.store(false, Ordering::SeqCst);
        known.identity().await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_does_not_wait_for_the_question_who_the_operator_is() {
        let aws = Arc::new(Rotated::default());
        aws.hangs.store(true, Ordering::SeqCst);
        let known = Arc::new(KnownIdentity::new(aws));
        let asking = known.clone();
        let question = tokio::spawn(async move { asking.identity().await });
        tokio::task::yield_now().await;
        let request = AssumeRole {
            role_arn: "arn:aws:iam::123456789012:role/r".into(),
            region: None,
            session: crate::spec::SessionRequest::default(),
            duration: Duration::from_secs(900),
        };
        let began = Instant::now();
        let refusal = tokio::time::timeout(Duration::from_secs(60), known.assume_role(&request)).await;
        assert!(matches!(refusal, Ok(Err(AwsError::NoIdentity(_)))));
        assert_eq!(began.elapsed(), Duration::ZERO);
        question.abort();
    }
}
