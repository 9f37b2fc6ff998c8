//! Programs that use real AWS SDKs with a `CredentialProcess` Secret run for longer than any credentials are good for, with a kubelet that
//! is late, and AWS never has to refuse them. Everything is fifteen times as fast as with the defaults; `make consumers` has the time to be as
//! slow as it is in a cluster.

use std::time::Duration;

use k8s_openapi::jiff::Timestamp;
use serde_json::json;

use support::fixtures::role_arn;
use support::sdks::{Caller, Clock, Lag, Mount, Sdk, Setting, Use};
use support::strict_aws::http::HttpServer;
use support::strict_aws::{StrictAws, open_role};
use support::world::World;

/// How long a session lasts.
const LIFETIME: Duration = Duration::from_secs(60);

#[tokio::test(flavor = "multi_thread")]
async fn programs_with_a_credential_process_are_never_refused() {
    // That of C++ comes in a package too large to be fetched for this.
    let sdks = Sdk::ALL.into_iter().filter(|sdk| *sdk != Sdk::Cpp && sdk.is_here());
    let sdks: Vec<Sdk> = sdks.collect();
    for needed in [Sdk::Boto3, Sdk::Cli, Sdk::Go, Sdk::Rust] {
        assert!(
            sdks.contains(&needed),
            "{needed:?}: everybody who builds has what it needs"
        );
    }
    let aws = StrictAws::new(Timestamp::now);
    aws.add_role(&role_arn("caller"), open_role());
    aws.shorten_sessions(LIFETIME);
    let server = HttpServer::start(aws.clone()).await;
    let mut world = World::without_operator().await;
    let command = world.operator_command_for(server.url());
    world.run_operator(&command);
    let spec = json!({"roleName": "caller", "secretName": "caller", "secretType": "CredentialProcess"});
    world.apply("caller", &spec).unwrap();
    world.ready("caller").await;

    let lag = Lag {
        least: LIFETIME / 15,
        most: LIFETIME * 2 / 15,
        clock: Clock::machine(),
    };
    let folder = world.folder().join("caller");
    let mount = Mount::start(world.cluster.client(), "caller", &folder, lag).await;
    let setting = Setting {
        folder: world.folder(),
        aws: server.url(),
        pause: Duration::from_secs(1),
        clock: Clock::machine(),
    };
    let mut callers: Vec<Caller> = sdks.iter().map(|sdk| Caller::start(*sdk, setting, &mount)).collect();
    tokio::time::sleep(LIFETIME * 9 / 4).await;

    mount.must_follow();
    callers.iter_mut().for_each(Caller::must_run);
    let seen = Use::of(&aws, &role_arn("caller"));
    let tallies: Vec<_> = callers.iter().map(|caller| (caller.sdk, caller.tally())).collect();
    for (sdk, tally) in &tallies {
        assert_eq!((tally.failed, &tally.failure), (0, &None), "{sdk:?}");
        assert!(tally.calls >= 5, "{sdk:?} hardly called: {tally:?}");
        assert!(
            tally.runs >= 3,
            "{sdk:?} did not come by its credentials as it should: {tally:?}"
        );
    }
    assert!(seen.sessions >= 3, "{seen:?}");
    assert_eq!(seen.refused, seen.under_way, "{tallies:?}");
}
