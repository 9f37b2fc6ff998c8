use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_assume_role::aws::gate::Limits;
use aws_assume_role::aws::sdk::SdkAws;
use aws_assume_role::aws::{AssumeRole, AssumeRoleWithWebIdentity, Aws, AwsError, Identity, Region};
use aws_assume_role::clock::SystemClock;
use aws_assume_role::cluster::kube::KubeCluster;
use aws_assume_role::credentials::{Credentials, RegistryLogin, ServiceAccountToken, Session};
use aws_assume_role::fence::Fence;
use aws_assume_role::operator::context::Context;
use aws_assume_role::operator::renderer::Renderer;
use aws_assume_role::operator::supervisor::{Supervisor, SupervisorMessage};
use aws_assume_role::spec::ecr::EcrEndpoint;
use aws_assume_role::telemetry::metrics::Metrics;
use futures::future::BoxFuture;
use kube::config::{KubeConfigOptions, Kubeconfig};
use ractor::Actor;

use support::fixtures::{ACCESS_KEY_ID, SECRET_ACCESS_KEY, map_spec, role_arn};
use support::world::World;

/// The real AWS client, but for one role with which it panics twice.
struct Panicking {
    aws: SdkAws,
    panics: AtomicUsize,
}

impl Aws for Panicking {
    fn region(&self) -> Region {
        self.aws.region()
    }

    fn identity(&self) -> BoxFuture<'_, Result<Identity, AwsError>> {
        self.aws.identity()
    }

    fn assume_role<'a>(&'a self, request: &'a AssumeRole) -> BoxFuture<'a, Result<Session, AwsError>> {
        if request.role_arn.ends_with("/cursed") && self.panics.fetch_add(1, Ordering::SeqCst) < 2 {
            panic!("a planted panic");
        }
        self.aws.assume_role(request)
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

/// The actor and everything below it run in this process, since no answer of AWS makes the operator's own code panic.
#[tokio::test(flavor = "multi_thread")]
async fn an_actor_that_panics_is_started_again_while_the_others_go_on() {
    let world = World::without_operator().await;
    let kubeconfig = Kubeconfig::read_from(world.cluster.operator_kubeconfig()).unwrap();
    let kube = kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default())
        .await
        .unwrap();
    let aws = Arc::new(Panicking {
        aws: SdkAws::new(&world.aws_configuration(ACCESS_KEY_ID, SECRET_ACCESS_KEY, None)),
        panics: AtomicUsize::new(0),
    });
    let metrics = Metrics::default();
    let limits = Limits {
        rate: 50.0,
        concurrency: 32,
    };
    let cluster = KubeCluster::new(kube::Client::try_from(kube).unwrap(), "test", Fence::open());
    let context = Context::open(
        aws.clone(),
        Arc::new(cluster),
        Arc::new(SystemClock),
        limits,
        Renderer::start().await.unwrap(),
        metrics.clone(),
    );
    let context = context.await.unwrap();
    let (supervisor, ended) = Supervisor::spawn(None, Supervisor, context).await.unwrap();
    supervisor.cast(SupervisorMessage::Lead).unwrap();

    world.apply("before", &map_spec("before")).unwrap();
    world.ready("before").await;
    world.apply("cursed", &map_spec("cursed")).unwrap();
    world.apply("after", &map_spec("after")).unwrap();
    world.ready("after").await;
    world.ready("cursed").await;

    assert_eq!(
        aws.panics.load(Ordering::SeqCst),
        3,
        "two panics and the call that went through"
    );
    assert_eq!(
        world.aws.assumed(&role_arn("before")),
        1,
        "the others were not disturbed"
    );
    assert_eq!(metrics.actor_restarts.get(), 2);
    let text = metrics.text(None).unwrap();
    assert!(
        text.contains(r#"aws_assume_role_refreshes_total{outcome="panicked",reason=""} 2"#),
        "{text}"
    );
    supervisor.stop_and_wait(None, None).await.unwrap();
    ended.await.unwrap();
}
