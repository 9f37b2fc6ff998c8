//! A session for a ServiceAccount. The call is not signed: the token is all the proof that there is.

use aws_sdk_sts::types::PolicyDescriptorType;

use super::answer::{Answered, from_sdk, session_of};
use super::{SdkAws, some};
use crate::aws::error::{Answer, Operation};
use crate::aws::{AssumeRoleWithWebIdentity, AwsError};
use crate::credentials::{ServiceAccountToken, Session};

impl SdkAws {
    /// What AWS answers says nothing of the operator's own credentials, so nobody is told of them here.
    pub(super) async fn ask_session_of_service_account(
        &self,
        request: &AssumeRoleWithWebIdentity,
        token: &ServiceAccountToken,
    ) -> Result<Session, AwsError> {
        let operation = Operation::AssumeRoleWithWebIdentity;
        let answered = Answered::default();
        let policies = request.policy_arns.iter();
        let policies: Vec<_> = policies
            .map(|arn| PolicyDescriptorType::builder().arn(arn).build())
            .collect();
        let call = self
            .sts
            .assume_role_with_web_identity()
            .role_arn(&request.role_arn)
            .role_session_name(&request.session_name)
            .web_identity_token(token.expose_secret())
            .duration_seconds(i32::try_from(request.duration.as_secs()).unwrap_or(i32::MAX))
            .set_policy(request.policy.clone())
            .set_policy_arns(some(policies))
            .customize()
            .interceptor(answered.clone())
            .config_override(self.sts_in(request.region.as_deref()));
        match call.send().await {
            Ok(output) => session_of(operation, output.credentials(), answered.time()),
            Err(error) => {
                let error = from_sdk(operation, &error, answered.time());
                Err(error.map_answer(|answer| without_token(answer, token)))
            }
        }
    }
}

/// AWS's words about a parameter quote its value.
/// <https://docs.aws.amazon.com/STS/latest/APIReference/CommonErrors.html> (`ValidationError`)
fn without_token(answer: Answer, token: &ServiceAccountToken) -> Answer {
    match token.is_quoted_in(&answer.message) {
        true => Answer {
            message: "AWS could not make sense of the token of the ServiceAccount".to_owned(),
            ..answer
        },
        false => answer,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_that_quotes_the_token_is_not_shown() {
        let token = ServiceAccountToken::new("eyJhbGciOiJSUzI1NiIsImtpZCI6IjEifQ.eyJpc3MiOiJodHRwcyJ9.c2ln".into());
        let answer = |message: &str| Answer {
            operation: Operation::AssumeRoleWithWebIdentity,
            code: Some("ValidationError".to_owned()),
            message: message.to_owned(),
            request_id: None,
            retry_after: None,
            date: None,
        };
        let quoting = format!(
            "1 validation error detected: Value '{}' at 'webIdentityToken' failed to satisfy constraint",
            token.expose_secret()
        );
        let shown = without_token(answer(&quoting), &token).message;
        assert!(!shown.contains("eyJ"), "{shown}");
        let plain = answer("Incorrect token audience");
        assert_eq!(without_token(plain.clone(), &token), plain);
    }
}
