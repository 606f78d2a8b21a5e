//! `kill -9` of everything at random moments under load: nothing acknowledged is lost, nothing is counted twice.

use std::time::{Duration, Instant};

use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use system_tests::{
    load::{Load, caught_up, check},
    stack::{Ended, Stack, binary, command},
};

/// What is killed; each at least `ROUNDS` times.
const VICTIMS: [&str; 7] = ["sales", "service", "customer360", "collector", "query", "kafka", "postgres"];
/// Rounds over all victims: 28 kills.
const ROUNDS: usize = 4;
/// What may pass until a killed process runs again.
const RESTART: Duration = Duration::from_secs(60);
/// Far above a deadline of seconds, however busy the machine, and far below the one that stacks usually have here.
const PATIENCE: Duration = Duration::from_secs(20);

/// The pid file's name of a victim.
fn process(stack: &Stack, victim: &str) -> String {
    let names = stack.processes();
    let found = names.iter().find(|name| {
        name.as_str() == victim || name.ends_with(&format!("-{victim}")) || name.ends_with(&format!(" {victim}"))
    });
    found.cloned().unwrap_or_else(|| panic!("no process {victim} among {names:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_at_random_moments() {
    // The usual deadline: what it cuts off is sent again, so that copies come in too.
    let mut stack = Stack::start_with(&[("publish_timeout_ms", "5000")]).await;
    let load = Load::start(&stack, 3);
    let mut rng = StdRng::seed_from_u64(24);
    let mut kills = 0;
    for _ in 0..ROUNDS {
        let mut victims = VICTIMS.to_vec();
        while !victims.is_empty() {
            let victim = *victims.choose(&mut rng).expect("not empty");
            victims.retain(|v| *v != victim);
            tokio::time::sleep(Duration::from_millis(rng.random_range(100..1_200))).await;
            let name = process(&stack, victim);
            let pid = stack.pid(&name).expect("a process id");
            assert!(stack.signal(&name, "KILL"), "{name} was not running");
            kills += 1;
            let end = Instant::now() + RESTART;
            while stack.pid(&name).is_none_or(|now| now == pid) {
                assert!(Instant::now() < end, "{name} was not started again within {RESTART:?}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
    }
    stack.ready().await;
    let report = load.stop().await;
    check(&stack, &report.acknowledged).await;
    println!(
        "events acknowledged {}, lost 0, double 0, faults injected {kills}, requests refused {}, longest stall {:?}",
        report.acknowledged.len(),
        report.refused,
        report.longest_stall
    );
    assert!(
        kills == ROUNDS * VICTIMS.len() && report.acknowledged.len() > 1_000,
        "{kills} kills, {} events",
        report.acknowledged.len()
    );
    stack.stop().await;
}

/// A projector stopped in the middle of its work holds nobody up: another takes its partitions, and when the first wakes
/// it writes nothing more.
#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_projector_is_replaced_and_fenced() {
    let stack = Stack::start_with(&[("lease_ttl_ms", "2000")]).await;
    let load = Load::start(&stack, 2);
    let base = local_stack::free_ports(20).expect("a block of ports is free");
    let second = command(binary())
        .args(["projector", "sales"])
        .env("RAPPORT_PORT_BASE", base.to_string())
        .env("RAPPORT_KAFKA", stack.kafka())
        .env("RAPPORT_DATABASE_URL", stack.database_url())
        .env("RAPPORT_LEASE_TTL_MS", "2000")
        .current_dir(stack.data_dir())
        .stdout(std::process::Stdio::null())
        .stderr(std::process::Stdio::null())
        .spawn()
        .map(Ended)
        .expect("a second projector starts");
    let name = process(&stack, "sales");
    for _ in 0..3 {
        tokio::time::sleep(Duration::from_millis(700)).await;
        assert!(stack.signal(&name, "STOP"));
        // While the first is stopped, a position published now is reached by the other one.
        let order = serde_json::json!({"specversion": "1.0", "id": format!("{:?}", Instant::now()), "source": "faults", "type": "order.placed",
            "subject": "email:stopped@example.com", "data": {"order_id": "stopped", "lines": []}});
        let answer = stack.publish(&order).await;
        assert_eq!(answer.status, 200, "{answer:?}");
        let position = answer.position.expect("a position");
        let page =
            stack.get(&format!("/api/v1/customers/email:stopped@example.com?position={position}&wait_ms=30000")).await;
        assert_eq!(page.status, 200, "a stopped projector holds up readers: {page:?}");
        assert!(stack.signal(&name, "CONT"));
    }
    let report = load.stop().await;
    check(&stack, &report.acknowledged).await;
    drop(second);
    stack.stop().await;
}

/// Kafka away: 503 with Retry-After within the deadline. PostgreSQL away: publishing goes on, and the models catch up.
#[tokio::test(flavor = "multi_thread")]
async fn kafka_and_postgresql_away() {
    let stack = Stack::start_with(&[("publish_timeout_ms", "3000")]).await;
    let event = |id: &str| {
        serde_json::json!({"specversion": "1.0", "id": id, "source": "away", "type": "order.placed",
            "subject": "email:away@example.com", "data": {"order_id": id, "lines": []}})
    };
    // On a busy machine a deadline that short may pass while all is well.
    let published = async |id: &str| {
        let end = Instant::now() + RESTART;
        loop {
            let answer = stack.publish(&event(id)).await;
            if answer.status == 200 {
                return answer;
            }
            assert!(answer.status == 503 && Instant::now() < end, "{answer:?}");
        }
    };
    published("before").await;

    assert!(stack.signal("kafka", "STOP"));
    let asked = Instant::now();
    let refused = stack.publish(&event("kafka-away")).await;
    assert_eq!(refused.status, 503, "{refused:?}");
    assert!(refused.retry_after.is_some_and(|s| s >= 1), "{refused:?}");
    assert!(asked.elapsed() < PATIENCE, "answered after {:?}", asked.elapsed());
    assert!(stack.signal("kafka", "CONT"));
    published("kafka-away").await;

    // `up` is stopped too, or it would start PostgreSQL again at once.
    stack.signal_up("STOP");
    assert!(stack.signal("postgres", "KILL"));
    // Publishing does not need PostgreSQL.
    let away = published("postgres-away").await;
    stack.signal_up("CONT");
    let position = away.position.expect("a position");
    caught_up(&stack, domain::Position::parse(&position).expect("a position")).await;
    let page = stack.get(&format!("/api/v1/customers/email:away@example.com?position={position}&wait_ms=30000")).await;
    assert_eq!(page.status, 200, "{page:?}");
    let mut ids: Vec<&str> =
        page.body["sales"]["orders"].as_array().into_iter().flatten().filter_map(|o| o["order_id"].as_str()).collect();
    ids.sort_unstable();
    assert_eq!(ids, ["before", "kafka-away", "postgres-away"]);
    check(&stack, &["before", "kafka-away", "postgres-away"].map(|id| domain::ids::event_id("away", id)).into()).await;
    stack.stop().await;
}
