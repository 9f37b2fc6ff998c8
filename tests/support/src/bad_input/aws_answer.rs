//! What AWS answers, read by its real SDK.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use aws_assume_role::aws::sdk::SdkAws;
use aws_assume_role::aws::{AssumeRole, Aws, AwsError, Identity};
use aws_assume_role::credentials::{RegistryLogin, Session};
use aws_assume_role::refresh::advice::{self, Circumstances};
use aws_assume_role::refresh::outcome::{Failure, Outcome};
use aws_assume_role::refresh::plan::IssueReason;
use aws_assume_role::refresh::schedule::{RefreshTiming, Validity, asked_by_aws, due, effective_expiration};
use aws_assume_role::refresh::status::{Facts, judge};
use aws_assume_role::secret::{DesiredSecret, Material};
use aws_assume_role::spec::ecr::{EcrEndpoint, EcrRepositoryUrl};
use aws_assume_role::spec::role::RoleReference;
use aws_assume_role::spec::template::Variables;
use aws_assume_role::spec::{Format, Resource, SessionRequest, Spec};
use aws_config::retry::RetryConfig;
use aws_config::{BehaviorVersion, Region, SdkConfig};
use aws_credential_types::Credentials;
use aws_credential_types::provider::SharedCredentialsProvider;
use aws_smithy_async::rt::sleep::default_async_sleep;
use aws_smithy_async::time::SystemTimeSource;
use aws_smithy_runtime_api::client::http::{HttpConnector, HttpConnectorFuture, SharedHttpConnector, http_client_fn};
use aws_smithy_runtime_api::client::orchestrator::{HttpRequest, HttpResponse};
use aws_smithy_types::body::SdkBody;
use k8s_openapi::jiff::Timestamp;

use super::aws_answers::{Canned, made};
use super::choices::Choices;
use super::{Planted, is_told, spec};
use crate::fixtures::{map_spec, resource, role_arn};

/// The present, in seconds since 1970.
const NOW: i64 = 1_767_225_600;

/// How long a session was asked for.
const DURATION: Duration = Duration::from_secs(3600);

/// Whether whatever AWS answers becomes a session, a login or an error, no credentials are to be seen in any of it, and the next attempt is
/// neither at once nor never.
pub fn holds(data: &[u8]) {
    let planted = Planted::in_answer_to(data);
    let mut choices = Choices::new(data);
    let raw = choices.one_in(3);
    let call = choices.below(3);
    let answer = match raw {
        true => Canned {
            status: choices.of(&[200, 400, 403, 500]),
            headers: Vec::new(),
            body: choices.rest().into_bytes(),
        },
        false => made(&mut choices, &planted),
    };
    let aws = client(answer, &planted);
    let endpoint = EcrEndpoint {
        region: "eu-west-1".to_owned(),
        fips: false,
        dual_stack: false,
    };
    runtime().block_on(async {
        match call {
            0 => match aws.assume_role(&request()).await {
                Ok(session) => is_scheduled(&planted, &session, None),
                Err(error) => is_explained(&planted, error),
            },
            1 => match aws.registry_login(&endpoint, &planted.credentials()).await {
                Ok(login) => is_scheduled(&planted, &session_of_an_hour(&planted), Some(&login)),
                Err(error) => is_explained(&planted, error),
            },
            _ => match aws.identity().await {
                Ok(identity) => is_somebody(&planted, &identity),
                Err(error) => is_explained(&planted, error),
            },
        }
    });
}

fn runtime() -> &'static tokio::runtime::Runtime {
    static RUNTIME: OnceLock<tokio::runtime::Runtime> = OnceLock::new();
    RUNTIME.get_or_init(|| {
        tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap()
    })
}

/// The operator's client, with this answer to whatever it asks. The operator's own credentials are a session too.
fn client(answer: Canned, planted: &Planted) -> SdkAws {
    let connector = SharedHttpConnector::new(Answering(Arc::new(answer)));
    let own = Credentials::new(
        "ASIAOPERATOR",
        "secret",
        Some(format!("token-{}", planted.0)),
        None,
        "test",
    );
    let config = SdkConfig::builder()
        .behavior_version(BehaviorVersion::latest())
        .region(Region::new("eu-west-1"))
        .retry_config(RetryConfig::disabled())
        .http_client(http_client_fn(move |_, _| connector.clone()))
        .sleep_impl(default_async_sleep().unwrap())
        .time_source(SystemTimeSource::new())
        .credentials_provider(SharedCredentialsProvider::new(own))
        .build();
    SdkAws::new(&config)
}

#[derive(Debug)]
struct Answering(Arc<Canned>);

impl HttpConnector for Answering {
    fn call(&self, _: HttpRequest) -> HttpConnectorFuture {
        let status = self.0.status.try_into().unwrap();
        let mut response = HttpResponse::new(status, SdkBody::from(self.0.body.clone()));
        for (name, value) in &self.0.headers {
            // What no header can hold does not come through HTTP.
            let _ = response.headers_mut().try_append(*name, value.clone());
        }
        HttpConnectorFuture::ready(Ok(response))
    }
}

fn request() -> AssumeRole {
    AssumeRole {
        role_arn: role_arn("r"),
        region: None,
        session: SessionRequest {
            name: "team.mine".to_owned(),
            ..SessionRequest::default()
        },
        duration: DURATION,
    }
}

fn session_of_an_hour(planted: &Planted) -> Session {
    let now = Timestamp::from_second(NOW).unwrap();
    Session {
        credentials: planted.credentials(),
        expiration: now + DURATION,
        answered: Some(now),
    }
}

/// A resource that asks for a Map.
fn asking() -> (Resource, Spec) {
    let object = resource("mine", &map_spec("mine")).to_string();
    let resource = spec::read(&object).unwrap();
    let spec = resource.spec.clone().unwrap();
    (resource, spec)
}

fn is_scheduled(planted: &Planted, session: &Session, login: Option<&RegistryLogin>) {
    planted.is_not_in(&format!("{session:?} {login:?}"));
    let now = Timestamp::from_second(NOW).unwrap();
    let asked = asked_by_aws(now, session.answered, DURATION, session.expiration);
    let token_end = login.and_then(|login| login.expiration);
    let ends = effective_expiration(asked, DURATION, session.expiration, token_end.as_slice());
    assert!(asked <= now && ends.expiration > asked, "{asked} {ends:?}");
    assert!(
        ends.expiration <= asked + DURATION + Duration::from_secs(300),
        "{asked} {ends:?}"
    );
    let validity = Validity {
        issued: asked,
        expiration: ends.expiration,
    };
    let timing = RefreshTiming {
        refresh_before: None,
        seed: "uid",
    };
    assert!(due(validity, timing) >= asked + Duration::from_secs(10));

    let (resource, spec) = asking();
    let facts = Facts {
        resource: &resource.key,
        generation: 1,
        spec: Some(&spec),
        current_expiration: Some(validity.expiration),
        unlisted: false,
        now,
    };
    let outcome = Outcome::Issued {
        why: IssueReason::New,
        role_arn: role_arn("r"),
        validity,
        notes: Vec::new(),
    };
    let (status, next) = judge(&Default::default(), facts, &outcome);
    planted.is_not_in(&serde_json::to_string(&status).unwrap());
    assert!(next.is_some_and(|next| next >= asked + Duration::from_secs(10)));

    let url: EcrRepositoryUrl = crate::fixtures::ECR_URL.parse().unwrap();
    let logins = login.map(|login| (url.region.clone(), login.clone()));
    let format = match login {
        Some(_) => Format::EcrDockerConfigJson(vec![url]),
        None => Format::CredentialProcess,
    };
    let material = Material::new(&format, session.credentials.clone(), logins.into_iter().collect());
    let variables = Variables {
        role_arn: "arn:aws:iam::123456789012:role/r",
        region: "eu-west-1",
        expiration: validity.expiration,
    };
    let spec = Spec { format, ..spec };
    let secret = DesiredSecret::new(&resource.key, &spec, &material, variables, None).unwrap();
    planted.is_not_in(&format!("{secret:?} {material:?}"));
}

fn is_explained(planted: &Planted, error: AwsError) {
    planted.is_not_in(&format!("{error} {error:?} {error:#?}"));
    is_told(&error.to_string());
    is_told(&format!("{error:?}"));
    let now = Timestamp::from_second(NOW).unwrap();
    let operator = Identity::new("123456789012", "arn:aws:iam::123456789012:user/operator");
    let skew = error.answer().date.map(|date| date.duration_since(now));
    let known = Circumstances {
        role_arn: Some("arn:aws:iam::123456789012:role/r"),
        operator: Some(&operator),
        skew: skew.unwrap_or_default(),
        ..Circumstances::default()
    };
    let error = error.in_light_of(&request(), &operator).with_clocks_apart();
    let failure = Failure::Aws {
        advice: advice::for_aws(&error, &known),
        error,
    };
    let (resource, spec) = asking();
    let facts = Facts {
        resource: &resource.key,
        generation: 1,
        spec: Some(&spec),
        current_expiration: None,
        unlisted: false,
        now,
    };
    let (status, next) = judge(&Default::default(), facts, &Outcome::Failed(failure));
    let written = serde_json::to_string(&status).unwrap();
    planted.is_not_in(&written);
    assert!(written.len() < 32 << 10, "{} bytes of status", written.len());
    let pause = next.unwrap().duration_since(now).as_secs();
    assert!((5..=300).contains(&pause), "it is tried again after {pause} s");
}

fn is_somebody(planted: &Planted, identity: &Identity) {
    planted.is_not_in(&format!("{identity:?}"));
    let _ = (identity.principal(), identity.is_role_session());
    let arn = identity.arn_of(&RoleReference::Name("r".to_owned()));
    assert!(arn.ends_with(":role/r"), "{arn}");
    let _ = identity.is_of_another_partition(Some(&arn), Some("cn-north-1"));
}
