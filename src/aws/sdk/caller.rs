//! Who the operator is to AWS and by which way it got there, for people who look for a fault.

use aws_config::SdkConfig;
use aws_credential_types::Credentials;
use aws_credential_types::credential_feature::AwsCredentialFeature;
use k8s_openapi::jiff::Timestamp;

use super::answer::Answered;
use super::{SdkAws, endpoint};
use crate::aws::{AwsError, Identity, Region};

/// What one call to AWS told of the one who made it.
#[derive(Clone, Debug)]
pub struct Caller {
    /// Who it is, or why that is not known.
    pub identity: Result<Identity, AwsError>,
    /// Who gave the credentials, in words, if there are any.
    pub provider: Option<String>,
    /// The Region that was asked.
    pub region: Region,
    /// Where the call went, if it came so far: scheme, host and port.
    pub endpoint: Option<String>,
    /// Who said so.
    pub endpoint_source: EndpointSource,
    /// What time it was for AWS when it answered, where it said so.
    pub answered: Option<Timestamp>,
}

/// Who says where STS is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::Display)]
pub enum EndpointSource {
    /// It follows from the Region.
    #[strum(serialize = "the Region")]
    Region,
    /// The variable for STS.
    #[strum(serialize = "AWS_ENDPOINT_URL_STS")]
    ServiceVariable,
    /// The variable for all services.
    #[strum(serialize = "AWS_ENDPOINT_URL")]
    Variable,
    /// A profile in the shared configuration files.
    #[strum(serialize = "a profile")]
    Profile,
}

impl EndpointSource {
    pub(super) fn of_sts(config: &SdkConfig) -> Self {
        let is_set = |name: &str| std::env::var(name).is_ok_and(|value| !value.is_empty());
        match endpoint::is_named(config, "STS") {
            false => Self::Region,
            true if is_set("AWS_ENDPOINT_URL_STS") => Self::ServiceVariable,
            true if is_set("AWS_ENDPOINT_URL") => Self::Variable,
            true => Self::Profile,
        }
    }
}

impl SdkAws {
    /// Asks AWS who calls.
    pub async fn caller(&self) -> Caller {
        let region = self.region.get();
        let answered = Answered::default();
        let identity = self.ask_identity(&answered).await;
        Caller {
            identity,
            provider: self.credentials.origin(),
            region,
            endpoint: answered.endpoint(),
            endpoint_source: self.sts_endpoint,
            answered: answered.time(),
        }
    }
}

/// Who gave credentials, in words, as far as the SDK tells.
pub(super) fn origin(credentials: &Credentials) -> String {
    let features = credentials.get_property::<Vec<AwsCredentialFeature>>();
    let mut words: Vec<&str> = features.into_iter().flatten().filter_map(in_words).collect();
    words.dedup();
    match words.as_slice() {
        [] => "a provider that the SDK does not name".to_owned(),
        words => words.join(", by "),
    }
}

fn in_words(feature: &AwsCredentialFeature) -> Option<&'static str> {
    use AwsCredentialFeature as Feature;
    Some(match feature {
        Feature::CredentialsEnvVars => "the access key in the environment",
        Feature::CredentialsEnvVarsStsWebIdToken | Feature::CredentialsProfileStsWebIdToken => {
            "a web identity token (IRSA)"
        }
        Feature::CredentialsHttp => "the container credentials endpoint (EKS Pod Identity)",
        Feature::CredentialsImds => "EC2 instance metadata (the role of the node)",
        Feature::CredentialsStsAssumeRole | Feature::CredentialsStsAssumeRoleWebId => "a role that is assumed first",
        Feature::CredentialsProfile
        | Feature::CredentialsProfileSourceProfile
        | Feature::CredentialsProfileNamedProvider => "a profile",
        Feature::CredentialsProfileProcess | Feature::CredentialsProcess => "a credential process",
        Feature::CredentialsProfileSso
        | Feature::CredentialsSso
        | Feature::CredentialsProfileLogin
        | Feature::CredentialsLogin => "a single sign-on",
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_provider_is_told_in_words_and_the_credentials_are_not() {
        let mut credentials = Credentials::new("AKIAPLANTED", "planted", None, None, "test");
        assert!(origin(&credentials).contains("does not name"));
        let told = credentials.get_property_mut_or_default::<Vec<AwsCredentialFeature>>();
        told.push(AwsCredentialFeature::ResolvedAccountId);
        told.push(AwsCredentialFeature::CredentialsHttp);
        let told = origin(&credentials);
        assert_eq!(told, "the container credentials endpoint (EKS Pod Identity)");
        assert!(!told.to_lowercase().contains("planted"));
    }
}
