use super::*;

/// Somebody who gives out credentials, or does not.
#[derive(Clone, Debug, Default)]
struct Giver(Arc<Mutex<Script>>);

#[derive(Debug, Default)]
struct Script {
    key: Option<&'static str>,
    lifetime: Option<Duration>,
    hangs: bool,
    times: u32,
}

impl Giver {
    fn gives(&self, key: Option<&'static str>) {
        self.0.lock().unwrap().key = key;
    }

    fn times(&self) -> u32 {
        self.0.lock().unwrap().times
    }
}

impl ProvideCredentials for Giver {
    fn provide_credentials<'a>(&'a self) -> future::ProvideCredentials<'a>
    where
        Self: 'a,
    {
        let (key, lifetime, hangs) = {
            let mut script = self.0.lock().unwrap();
            script.times += 1;
            (script.key, script.lifetime, script.hangs)
        };
        future::ProvideCredentials::new(async move {
            if hangs {
                std::future::pending::<()>().await;
            }
            let end = lifetime.map(|lifetime| SystemTime::now() + lifetime);
            key.map(|key| Credentials::new(key, "secret", None, end, "test"))
                .ok_or_else(|| CredentialsError::not_loaded("none"))
        })
    }
}

fn given(key: &'static str) -> (Giver, OperatorCredentials) {
    let giver = Giver::default();
    giver.gives(Some(key));
    let provider = SharedCredentialsProvider::new(giver.clone());
    (giver, OperatorCredentials::fixed(Some(provider)))
}

async fn key(credentials: &OperatorCredentials) -> String {
    credentials.provide().await.unwrap().access_key_id().to_owned()
}

#[tokio::test(start_paused = true)]
async fn credentials_are_kept_until_they_are_refused() {
    let (giver, credentials) = given("first");
    for _ in 0..100 {
        assert_eq!(key(&credentials).await, "first");
    }
    assert_eq!((giver.times(), credentials.generation()), (1, 1));
    tokio::time::advance(PAUSE).await;

    giver.gives(Some("second"));
    assert_eq!(key(&credentials).await, "first");
    credentials.refused(Standing::Refused);
    assert_eq!(key(&credentials).await, "second");
    assert_eq!((giver.times(), credentials.generation()), (2, 2));
}

#[tokio::test(start_paused = true)]
async fn a_thousand_refusals_are_one_search() {
    let (giver, credentials) = given("revoked");
    for second in 0..30 {
        for _ in 0..1000 {
            let _ = key(&credentials).await;
            credentials.refused(Standing::Refused);
        }
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(giver.times() <= 1 + second / 3 + 1, "{} in {second} s", giver.times());
    }
    assert_eq!(credentials.generation(), 1, "it is the same key all the time");
    giver.gives(Some("good"));
    tokio::time::advance(PAUSE).await;
    assert_eq!(key(&credentials).await, "good");
}

#[tokio::test(start_paused = true)]
async fn an_agent_that_hangs_holds_nobody_up_for_long() {
    let (giver, credentials) = given("first");
    giver.0.lock().unwrap().hangs = true;
    let begin = Instant::now();
    let all = futures::future::join_all((0..100).map(|_| credentials.provide())).await;
    assert!(all.iter().all(Result::is_err));
    assert!(begin.elapsed() <= LOAD_TIMEOUT, "{:?}", begin.elapsed());
    giver.0.lock().unwrap().hangs = false;
    tokio::time::advance(PAUSE).await;
    assert_eq!(key(&credentials).await, "first");
}

#[tokio::test(start_paused = true)]
async fn good_credentials_outlast_those_who_gave_them() {
    let (giver, credentials) = given("first");
    giver.0.lock().unwrap().lifetime = Some(Duration::from_secs(200));
    assert_eq!(key(&credentials).await, "first");
    giver.gives(None);
    tokio::time::advance(PAUSE_WHILE_GOOD).await;
    for _ in 0..10 {
        assert_eq!(key(&credentials).await, "first");
    }
    assert_eq!(giver.times(), 2);
}

/// A Region that does not know the key, or a policy that forbids it, is no reason to go without.
#[tokio::test(start_paused = true)]
async fn a_doubt_takes_nothing_away() {
    let (giver, credentials) = given("first");
    assert_eq!(key(&credentials).await, "first");
    tokio::time::advance(PAUSE_IN_DOUBT).await;
    credentials.refused(Standing::Doubtful);
    giver.0.lock().unwrap().hangs = true;
    let begin = Instant::now();
    let slow = credentials.provide();
    let quick = async {
        tokio::task::yield_now().await;
        for _ in 0..100 {
            assert_eq!(key(&credentials).await, "first");
        }
        begin.elapsed()
    };
    let (slow, quick) = futures::join!(slow, quick);
    assert_eq!(slow.unwrap().access_key_id(), "first");
    assert!(quick.is_zero(), "{quick:?}");
    assert_eq!(giver.times(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_file_is_read_again_by_and_by() {
    let (giver, credentials) = given("first");
    assert_eq!(key(&credentials).await, "first");
    giver.gives(Some("second"));
    tokio::time::advance(AGE_MAX).await;
    assert_eq!(key(&credentials).await, "second");
    assert_eq!(credentials.generation(), 2);
}

#[test]
fn nothing_of_them_is_printed() {
    let (_, credentials) = given("planted");
    assert!(!format!("{:?}", Shared(Arc::new(credentials))).contains("planted"));
}
