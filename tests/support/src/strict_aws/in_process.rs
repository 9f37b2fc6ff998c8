//! The strict AWS behind the operator's own trait, for the simulation.

use std::time::Duration;

use aws_assume_role::aws::error::{Answer, Operation};
use aws_assume_role::aws::{self, Aws, AwsError, Identity, Region, RegionSource};
use aws_assume_role::credentials::{Credentials, ExposeSecret, RegistryLogin, ServiceAccountToken, Session};
use aws_assume_role::spec::ecr::EcrEndpoint;
use futures::FutureExt;
use futures::future::BoxFuture;
use k8s_openapi::jiff::{SignedDuration, Timestamp};

use super::own_keys::OwnKeys;
use super::{AssumeRole, AssumeRoleWithWebIdentity, Fault, Refusal, Reply, Request, StrictAws};

/// The operator's own Region.
const REGION: &str = "eu-west-1";

/// The time after which the operator's real client gives a call up.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);

/// An operator's way to the strict AWS, with the keys of its provider.
#[derive(Clone)]
pub struct InProcess {
    pub aws: StrictAws,
    pub keys: OwnKeys,
    /// How long a call takes.
    pub latency: Duration,
}

/// What AWS answered, and what time it was for AWS.
struct Answered {
    reply: Reply,
    date: Timestamp,
}

impl InProcess {
    async fn call(
        &self,
        operation: Operation,
        key: (&str, Option<&str>),
        region: &str,
        request: Request,
    ) -> Result<Answered, AwsError> {
        tokio::time::sleep(self.latency).await;
        let fault = self.aws.fault(region, &request);
        let lost = |message: &str| {
            self.aws
                .record(key.0, region, &request, Some(&Refusal::new(0, message, "")));
            AwsError::Unavailable(answer(operation, None, message))
        };
        match &fault {
            Some(Fault::Reset) => return Err(lost("connection reset")),
            Some(Fault::Garbage | Fault::Truncated) => return Err(lost("AWS's answer could not be read")),
            Some(Fault::Hang) => {
                tokio::time::sleep(CALL_TIMEOUT).await;
                return Err(lost("no answer within 30 s"));
            }
            Some(Fault::Slow(pause)) => tokio::time::sleep((*pause).min(CALL_TIMEOUT)).await,
            _ => {}
        }
        let reply = self.aws.answer(key.0, key.1, region, &request, fault.as_ref());
        let date = whole_seconds(match fault {
            Some(Fault::WrongDate(seconds)) => self.aws.now() + SignedDuration::from_secs(seconds),
            _ => self.aws.now(),
        });
        match reply {
            Ok(reply) => Ok(Answered { reply, date }),
            Err(refusal) => {
                let mut told = answer(operation, Some(&refusal.code), &refusal.message);
                told.retry_after = refusal.retry_after.map(Duration::from_secs);
                told.date = Some(date);
                Err(AwsError::from_answer(refusal.status, told))
            }
        }
    }

    /// A call that the operator's own key signs.
    async fn own_call(&self, operation: Operation, region: &str, request: Request) -> Result<Answered, AwsError> {
        let key = self.keys.current();
        let answered = self.call(operation, (&key, None), region, request).await;
        if let Err(AwsError::NoIdentity(answer)) = &answered
            && answer.code.is_some()
        {
            self.keys.refused(&key);
        }
        answered
    }
}

/// The session in an answer.
fn session_in(answered: Answered) -> Session {
    match answered.reply {
        Reply::Session {
            access_key_id,
            secret,
            token,
            expiration,
        } => Session {
            credentials: Credentials {
                access_key_id: access_key_id.into(),
                secret_access_key: secret.into(),
                session_token: token.into(),
            },
            expiration: whole_seconds(expiration),
            answered: Some(answered.date),
        },
        other => unreachable!("{other:?}"),
    }
}

/// A moment as AWS writes it.
fn whole_seconds(moment: Timestamp) -> Timestamp {
    Timestamp::from_second(moment.as_second()).unwrap()
}

fn answer(operation: Operation, code: Option<&str>, message: &str) -> Answer {
    Answer {
        operation,
        code: code.map(str::to_owned),
        message: message.to_owned(),
        request_id: None,
        retry_after: None,
        date: None,
    }
}

impl Aws for InProcess {
    fn region(&self) -> Region {
        Region::new(REGION, RegionSource::Environment)
    }

    fn credentials_generation(&self) -> u64 {
        self.keys.generation()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        async move {
            let asked = self.own_call(Operation::GetCallerIdentity, REGION, Request::GetCallerIdentity);
            match asked.await?.reply {
                Reply::Identity { account, arn } => Ok(Identity::new(&account, &arn)),
                other => unreachable!("{other:?}"),
            }
        }
        .boxed()
    }

    fn assume_role<'a>(&'a self, request: &'a aws::AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        async move {
            let session = &request.session;
            let asked = AssumeRole {
                role_arn: request.role_arn.clone(),
                session_name: session.name.clone(),
                duration: i64::try_from(request.duration.as_secs()).ok(),
                policy: session.policy.clone(),
                policy_arns: session.policy_arns.clone(),
                tags: session.tags.clone().into_iter().collect(),
                transitive_tag_keys: session.transitive_tag_keys.clone(),
                external_id: session.external_id.clone(),
                source_identity: session.source_identity.clone(),
            };
            let region = request.region.as_deref().unwrap_or(REGION);
            let answered = self.own_call(Operation::AssumeRole, region, Request::AssumeRole(asked));
            Ok(session_in(answered.await?))
        }
        .boxed()
    }

    fn assume_role_with_web_identity<'a>(
        &'a self,
        request: &'a aws::AssumeRoleWithWebIdentity,
        token: &'a ServiceAccountToken,
    ) -> BoxFuture<'a, Result<Session, AwsError>> {
        async move {
            let asked = AssumeRoleWithWebIdentity {
                role_arn: request.role_arn.clone(),
                session_name: request.session_name.clone(),
                duration: i64::try_from(request.duration.as_secs()).ok(),
                policy: request.policy.clone(),
                policy_arns: request.policy_arns.clone(),
                token: token.expose_secret().to_owned(),
            };
            let region = request.region.as_deref().unwrap_or(REGION);
            let asked = Request::AssumeRoleWithWebIdentity(asked);
            let answered = self.call(Operation::AssumeRoleWithWebIdentity, ("", None), region, asked);
            Ok(session_in(answered.await?))
        }
        .boxed()
    }

    fn registry_login<'a>(
        &'a self,
        endpoint: &'a EcrEndpoint,
        credentials: &'a Credentials,
    ) -> BoxFuture<'a, Result<RegistryLogin, AwsError>> {
        async move {
            let key = (
                credentials.access_key_id.expose_secret(),
                Some(credentials.session_token.expose_secret()),
            );
            let reply = self.call(
                Operation::GetAuthorizationToken,
                key,
                &endpoint.region,
                Request::GetAuthorizationToken,
            );
            match reply.await?.reply {
                Reply::Token { password, expiration } => Ok(RegistryLogin {
                    username: "AWS".to_owned(),
                    password: password.into(),
                    expiration: Some(whole_seconds(expiration)),
                }),
                other => unreachable!("{other:?}"),
            }
        }
        .boxed()
    }
}
