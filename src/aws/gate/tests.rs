use super::*;
use std::sync::Arc;
use tokio::sync::Mutex;

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}

fn quota(region: &str, account: &str) -> Quota {
    Quota {
        service: "ECR",
        region: region.to_owned(),
        account: Some(account.to_owned()),
    }
}

fn entry(class: Class, namespace: &str, expiration: i64) -> Entry {
    Entry {
        quota: quota("eu-west-1", "123456789012"),
        class,
        namespace: namespace.to_owned(),
        expiration: at(expiration),
    }
}

fn renewal(expiration: i64) -> Entry {
    entry(Class::Renewal, "team", expiration)
}

async fn gate(rate: f64, concurrency: usize) -> Gate {
    Gate::open(Limits { rate, concurrency }).await.unwrap()
}

/// In which order a gate with one place lets them through.
async fn order(entries: Vec<(&'static str, Entry)>) -> Vec<&'static str> {
    let gate = gate(1000.0, 1).await;
    let first = gate.enter(renewal(1)).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut tasks = Vec::new();
    for (name, entry) in entries {
        let (gate, order) = (gate.clone(), order.clone());
        tasks.push(tokio::spawn(async move {
            let pass = gate.enter(entry).await.unwrap();
            order.lock().await.push(name);
            pass.tell(Verdict::Taken);
        }));
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(order.lock().await.is_empty(), "one at a time");
    drop(first);
    for task in tasks {
        task.await.unwrap();
    }
    order.lock().await.clone()
}

#[tokio::test(start_paused = true)]
async fn within_a_namespace_the_nearest_end_goes_first() {
    let entries = vec![("300", renewal(300)), ("100", renewal(100)), ("200", renewal(200))];
    assert_eq!(order(entries).await, ["100", "200", "300"]);
}

#[tokio::test(start_paused = true)]
async fn what_can_still_succeed_goes_first_then_newcomers_then_what_has_failed() {
    let entries = vec![
        ("failed twice", entry(Class::Failed(2), "team", 1)),
        ("failed once", entry(Class::Failed(1), "team", 2)),
        ("newcomer", entry(Class::Newcomer, "team", 3)),
        ("renewal", entry(Class::Renewal, "team", 4)),
    ];
    assert_eq!(
        order(entries).await,
        ["renewal", "newcomer", "failed once", "failed twice"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_class_that_fills_the_lane_keeps_nobody_waiting_for_ever() {
    let gate = gate(1000.0, 1).await;
    let held = gate.enter(renewal(1)).await.unwrap();
    let failed = entry(Class::Failed(9), "victim", 1);
    let victim = tokio::spawn({
        let gate = gate.clone();
        async move { gate.enter(failed).await.unwrap().tell(Verdict::Taken) }
    });
    tokio::time::sleep(Duration::from_millis(10)).await;
    // More renewals than can ever pass, each coming again at once.
    let busy: Vec<_> = (0..20)
        .map(|_| {
            let gate = gate.clone();
            tokio::spawn(async move {
                loop {
                    gate.enter(renewal(1)).await.unwrap().tell(Verdict::Taken);
                }
            })
        })
        .collect();
    drop(held);
    tokio::time::timeout(Duration::from_secs(5), victim)
        .await
        .unwrap()
        .unwrap();
    busy.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn namespaces_take_turns() {
    let entries = vec![
        ("many 1", entry(Class::Newcomer, "many", 1)),
        ("many 2", entry(Class::Newcomer, "many", 2)),
        ("many 3", entry(Class::Newcomer, "many", 3)),
        ("few 1", entry(Class::Newcomer, "few", 10)),
    ];
    assert_eq!(order(entries).await, ["many 1", "few 1", "many 2", "many 3"]);
}

#[tokio::test(start_paused = true)]
async fn a_region_that_hangs_takes_no_place_from_another() {
    let gate = gate(1000.0, 2).await;
    let hanging = Entry {
        quota: quota("xx-hang-1", "123456789012"),
        ..renewal(1)
    };
    let mut held = Vec::new();
    for _ in 0..2 {
        held.push(gate.enter(hanging.clone()).await.unwrap());
    }
    let full = tokio::time::timeout(Duration::from_secs(60), gate.enter(hanging)).await;
    assert!(full.is_err(), "its own places are taken");
    let other = tokio::time::timeout(Duration::from_secs(1), gate.enter(renewal(1))).await;
    assert!(other.is_ok());
}

#[tokio::test(start_paused = true)]
async fn an_account_that_throttles_slows_nobody_else() {
    let gate = gate(10.0, 100).await;
    let theirs = Entry {
        quota: quota("eu-west-1", "210987654321"),
        ..renewal(1)
    };
    for _ in 0..10 {
        gate.enter(theirs.clone()).await.unwrap().tell(Verdict::Throttled);
        tokio::time::sleep(Duration::from_secs(3)).await;
    }
    let started = Instant::now();
    for _ in 0..30 {
        gate.enter(renewal(1)).await.unwrap().tell(Verdict::Taken);
    }
    assert!(
        started.elapsed() <= Duration::from_millis(2100),
        "{:?}",
        started.elapsed()
    );
    assert!(gate.standing().rate < 1.0, "the slowest shows: {:?}", gate.standing());
}

#[tokio::test(start_paused = true)]
async fn lanes_that_nobody_uses_are_forgotten() {
    let (publish, _standing) = watch::channel(GateStanding::default());
    let mut state = GateState {
        limits: Limits {
            rate: 10.0,
            concurrency: 2,
        },
        lanes: HashMap::new(),
        number: 0,
        swept: Instant::now(),
        standing: publish,
    };
    for number in 0..1000 {
        state.lane(&quota(&format!("xx-many-{number}"), "1"), Instant::now());
    }
    state
        .lane(&quota("throttled", "1"), Instant::now())
        .budget
        .throttled(Instant::now());
    tokio::time::advance(SWEEP).await;
    state.sweep(Instant::now());
    assert_eq!(state.lanes.len(), 1, "one that throttles is remembered");
    tokio::time::advance(Duration::from_secs(600)).await;
    state.sweep(Instant::now());
    assert!(state.lanes.is_empty());
}

#[tokio::test(start_paused = true)]
async fn who_gives_up_leaves_no_hole() {
    let gate = gate(1.0, 1).await;
    let held = gate.enter(renewal(1)).await.unwrap();
    let impatient = tokio::time::timeout(Duration::from_secs(1), gate.enter(renewal(1))).await;
    assert!(impatient.is_err());
    drop(held);
    let started = Instant::now();
    gate.enter(renewal(2)).await.unwrap();
    assert!(started.elapsed() <= Duration::from_secs(1));
    assert_eq!(gate.standing().waiting, 0);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_calls_take_their_time() {
    let gate = gate(100.0, 1000).await;
    let started = Instant::now();
    for _ in 0..1000 {
        gate.enter(renewal(1)).await.unwrap().tell(Verdict::Taken);
    }
    let took = started.elapsed().as_secs_f64();
    assert!((8.9..=9.2).contains(&took), "{took}");
}
