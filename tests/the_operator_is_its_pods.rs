//! On a node the operator is to AWS who its Pods are: by the token of their ServiceAccount, or by the agent of EKS Pod Identity.

use std::net::SocketAddr;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::get;
use k8s_openapi::api::authentication::v1::TokenReview;
use k8s_openapi::jiff::Timestamp;
use kube::Client;
use kube::api::{Api, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use support::control_plane::{OPERATOR_NAMESPACE, OPERATOR_SERVICE_ACCOUNT};
use support::fixtures::{map_spec, role_arn};
use support::node::installed::Installed;
use support::node::release::Identity;
use support::node::{self, Settings};
use support::strict_aws::http::HttpServer;
use support::strict_aws::issuer::{provider_of, trusted_by};
use support::strict_aws::{StrictAws, open_role};

const ROLE: &str = "operator";

#[tokio::test(flavor = "multi_thread")]
async fn irsa_and_pod_identity_give_it_to_its_pods() {
    if !node::possible("an operator that has its identity from its Pod") {
        return;
    }
    let aws = StrictAws::new(Timestamp::now);
    let server = HttpServer::start(aws.clone()).await;
    let mut cluster = Installed::without_operator(Settings::default(), Some(&server)).await;
    let provider = provider_of(&cluster.world.cluster).await;
    aws.add_oidc_provider(provider.clone());
    aws.add_role(&role_arn(ROLE), trusted_by(open_role(), &provider));
    for name in ["irsa", "agent"] {
        aws.add_role(&role_arn(name), open_role());
    }

    cluster.install(&Identity::ServiceAccount(role_arn(ROLE)), &[]);
    cluster.world.apply("irsa", &map_spec("irsa")).unwrap();
    cluster.world.ready("irsa").await;
    let exchanged = aws.counts()["AssumeRoleWithWebIdentity"];
    assert!(exchanged >= 1);
    assert_eq!(aws.assumed(&role_arn("irsa")), 1);

    // It is given another identity by an upgrade.
    let (agent, port) = agent(aws.clone(), cluster.world.cluster.client()).await;
    cluster.node.open_agent(port).await;
    cluster.install(&Identity::PodIdentity, &[]);
    let exchanged = aws.counts()["AssumeRoleWithWebIdentity"];
    cluster.world.apply("agent", &map_spec("agent")).unwrap();
    cluster.world.ready("agent").await;
    assert_eq!(aws.assumed(&role_arn("agent")), 1);
    assert_eq!(
        aws.counts()["AssumeRoleWithWebIdentity"],
        exchanged,
        "it needs the other one no more"
    );
    assert_eq!(aws.assumed(&role_arn("irsa")), 1, "and its Secret goes on");
    says_that_all_is_well(&cluster, "default/agent");
    cluster.all_run_as_they_began().await;
    agent.abort();
}

/// The doctor, in the operator's own Pod.
fn says_that_all_is_well(cluster: &Installed, resource: &str) {
    let deployment = format!("deployment/{OPERATOR_SERVICE_ACCOUNT}");
    let run = [
        "exec",
        "--namespace",
        OPERATOR_NAMESPACE,
        &*deployment,
        "--",
        "aws-assume-role",
        "doctor",
        resource,
    ];
    let output = cluster.world.cluster.kubectl_with(&run, "");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{said}");
    for name in ["aws-identity", "session", "secret"] {
        assert!(said.contains(&format!("✓ {name}: ")), "{name}: {said}");
    }
}

/// The agent: it gives a session to whoever shows a token of the operator's ServiceAccount for it, of which the API server knows.
/// <https://docs.aws.amazon.com/eks/latest/userguide/pod-id-how-it-works.html>
async fn agent(aws: StrictAws, client: Client) -> (JoinHandle<()>, u16) {
    let listener = TcpListener::bind(SocketAddr::from(([127, 0, 0, 1], 0))).await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let router = Router::new()
        .route("/v1/credentials", get(credentials))
        .with_state((aws, client));
    (
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() }),
        port,
    )
}

async fn credentials(State((aws, client)): State<(StrictAws, Client)>, headers: HeaderMap) -> (StatusCode, String) {
    let token = headers.get("authorization").and_then(|token| token.to_str().ok());
    let review = json!({"metadata": {}, "spec": {"token": token, "audiences": ["pods.eks.amazonaws.com"]}});
    let review: TokenReview = serde_json::from_value(review).unwrap();
    let reviews: Api<TokenReview> = Api::all(client);
    let status = reviews
        .create(&PostParams::default(), &review)
        .await
        .unwrap()
        .status
        .unwrap();
    let user = status.user.and_then(|user| user.username);
    let wanted = format!("system:serviceaccount:{OPERATOR_NAMESPACE}:{OPERATOR_SERVICE_ACCOUNT}");
    if user.as_deref() != Some(&*wanted) {
        return (StatusCode::UNAUTHORIZED, String::new());
    }
    let [id, secret, token] = aws.give_session(ROLE, &[("kubernetes-namespace", OPERATOR_NAMESPACE)]);
    let end = aws.session_end(&id).unwrap();
    let answer: Value =
        json!({"AccessKeyId": id, "SecretAccessKey": secret, "Token": token, "Expiration": end.to_string()});
    (StatusCode::OK, answer.to_string())
}
