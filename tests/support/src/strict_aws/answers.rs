//! The answers: who calls, whether there are too many calls, and what a call gives.

use std::collections::BTreeMap;
use std::time::Duration;

use k8s_openapi::jiff::Timestamp;

use crate::fixtures::ACCOUNT;

use super::state::{Quota, State, Token};
use super::throttle::Bucket;
use super::web_identity::assume_role_with_web_identity;
use super::{Fault, Principal, Refusal, Reply, Request, policy, rules};

/// An end that nobody can mean.
const YEAR_9999: &str = "9999-01-01T00:00:00Z";

impl State {
    pub(super) fn answer(
        &mut self,
        now: Timestamp,
        access_key_id: &str,
        token: Option<&str>,
        region: &str,
        request: &Request,
        fault: Option<&Fault>,
    ) -> Result<Reply, Refusal> {
        if let Some(Fault::Refuse(refusal)) = fault {
            return Err(refusal.clone());
        }
        // It is not signed: the token is all that tells who calls.
        if let Request::AssumeRoleWithWebIdentity(asked) = request {
            self.regions.check_sts(region, request)?;
            let account = asked.role_arn.split(':').nth(4).unwrap_or_default();
            self.pass_throttle(now, account, region, request)?;
            let session = assume_role_with_web_identity(&self.oidc_providers, &self.roles, region, asked, now)?;
            return Ok(self.issue(session, now, fault));
        }
        let caller = self.caller(now, access_key_id, token)?;
        self.regions.check(&caller, region, request)?;
        let account = caller.arn.split(':').nth(4).unwrap_or_default();
        self.pass_throttle(now, account, region, request)?;
        match request {
            Request::GetCallerIdentity => Ok(Reply::Identity {
                account: ACCOUNT.to_owned(),
                arn: caller.arn,
            }),
            // Every bucket is there, for everybody whose credentials are good.
            Request::HeadBucket => Ok(Reply::Bucket),
            Request::AssumeRole(request) => {
                let session = rules::assume_role(&caller, self.roles.get(&request.role_arn), request, now)?;
                Ok(self.issue(session, now, fault))
            }
            Request::AssumeRoleWithWebIdentity(_) => unreachable!("it was answered above"),
            Request::GetAuthorizationToken => {
                let resource = "*";
                if !policy::all_allow(
                    &caller.policies,
                    "ecr:GetAuthorizationToken",
                    resource,
                    &BTreeMap::new(),
                ) {
                    return Err(rules::not_authorized(
                        &caller.arn,
                        "ecr:GetAuthorizationToken",
                        resource,
                        " because no identity-based policy allows the ecr:GetAuthorizationToken action",
                    ));
                }
                // Twelve hours, or the end of the session.
                // <https://docs.aws.amazon.com/AmazonECR/latest/userguide/registry_auth.html>
                let twelve_hours = now + Duration::from_secs(12 * 3600);
                let session_end = caller
                    .session
                    .as_ref()
                    .map_or(twelve_hours, |session| session.expiration);
                let expiration = twelve_hours.min(session_end);
                self.number += 1;
                let password = format!("ecr-token-{:08}-{}", self.number, "t".repeat(64));
                let token = Token {
                    role_arn: caller.session.map(|session| session.role_arn),
                    policies: caller.policies,
                    expiration,
                };
                self.tokens.insert(password.clone(), token);
                Ok(Reply::Token { password, expiration })
            }
        }
    }

    /// Gives a session out, with an end that is told as the fault wants it.
    fn issue(&mut self, mut session: (Principal, Timestamp), now: Timestamp, fault: Option<&Fault>) -> Reply {
        if !matches!(fault, Some(Fault::PastEnd | Fault::FarEnd)) {
            self.shorten(&mut session, now);
        }
        match fault {
            Some(Fault::PastEnd) => session.1 = Timestamp::UNIX_EPOCH,
            Some(Fault::ShortEnd) => session.1 = now + Duration::from_secs(10),
            Some(Fault::FarEnd) => session.1 = YEAR_9999.parse().unwrap(),
            _ => {}
        }
        self.open(session.0, session.1)
    }

    /// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html>
    fn caller(&self, now: Timestamp, access_key_id: &str, token: Option<&str>) -> Result<Principal, Refusal> {
        let invalid = || {
            Refusal::new(
                403,
                "InvalidClientTokenId",
                "The security token included in the request is invalid.",
            )
        };
        let principal = self.principals.get(access_key_id).ok_or_else(invalid)?;
        if principal.token.as_deref() != token {
            return Err(invalid());
        }
        let ended = principal
            .session
            .as_ref()
            .is_some_and(|session| session.expiration <= now);
        if ended || self.revoked.contains(access_key_id) {
            return Err(Refusal::new(
                403,
                "ExpiredToken",
                "The security token included in the request is expired",
            ));
        }
        Ok(principal.clone())
    }

    /// A token bucket per service, account and Region.
    /// <https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_iam-quotas.html>
    fn pass_throttle(&mut self, now: Timestamp, account: &str, region: &str, request: &Request) -> Result<(), Refusal> {
        let quota = Quota {
            service: match request {
                Request::GetCallerIdentity | Request::AssumeRole(_) | Request::AssumeRoleWithWebIdentity(_) => "STS",
                Request::GetAuthorizationToken => "ECR",
                Request::HeadBucket => "S3",
            },
            account: account.to_owned(),
            region: region.to_owned(),
        };
        let Some((rate, burst)) = self.throttled.get(&quota).copied().or(self.throttle) else {
            return Ok(());
        };
        let bucket = self
            .buckets
            .entry(quota)
            .or_insert_with(|| Bucket::new(rate, burst, now));
        match bucket.take(now) {
            true => Ok(()),
            false => Err(Refusal::new(400, "Throttling", "Rate exceeded")),
        }
    }

    /// Ends a session sooner than was asked for, and tells so. Whoever is told an end that cannot be meant goes by what was asked for, so
    /// such a session is left as it is.
    fn shorten(&self, (session, told_end): &mut (Principal, Timestamp), now: Timestamp) {
        let Some(longest) = self.longest_session else { return };
        *told_end = (*told_end).min(now + longest);
        if let Some(facts) = session.session.as_mut() {
            facts.expiration = *told_end;
        }
    }

    pub(super) fn open(&mut self, mut session: Principal, told_end: Timestamp) -> Reply {
        self.number += 1;
        let access_key_id = format!("ASIA{:016}", self.number);
        let token = format!("session/token+{:08}/{}==", self.number, "s".repeat(100));
        session.secret = format!("secret/key+{:029}", self.number);
        session.token = Some(token.clone());
        let secret = session.secret.clone();
        self.principals.insert(access_key_id.clone(), session);
        Reply::Session {
            access_key_id,
            secret,
            token,
            expiration: told_end,
        }
    }
}
