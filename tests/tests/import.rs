//! `local import` as DynamoDB sees it: what a record costs; and while DynamoDB throttles, conflicts
//! and loses answers, each record is imported once. What the program itself does is tested in
//! `local/tests/import.rs`.

use clap::Parser;
use local::import::{Ended, Import};
use serde_json::json;
use shared::model::Timestamp;
use shared::store::Registered;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::{Duration, Instant};
use tests::TestApp;
use tests::dynamodb::{Difference, Dynamodb};
use tests::proxy::Fault::{self, Conflict, Throttled, WrittenThenConflict, WrittenThenServerError};
use tests::proxy::Proxy;

#[derive(Debug, Parser)]
struct Command {
    #[command(flatten)]
    import: Import,
}

const ROWS: usize = 500;
const DATES: [&str; 2] = ["createdDate", "updatedDate"];

/// Rows of one bucket, every tenth with the email of the one before.
fn csv(rows: usize) -> String {
    let mut csv = "email,phone,firstName,affiliateID,lastName\n".to_owned();
    for row in 0..rows {
        let email = if row % 10 == 9 { row - 1 } else { row };
        writeln!(csv, "c{email}@example.com,12345,A,A,Row {row}").unwrap();
    }
    csv
}

async fn import(app: &TestApp, endpoint: &str, options: &[&str]) -> anyhow::Result<Ended> {
    let file = app.directory.path().join("clients.csv");
    if !file.exists() {
        std::fs::write(&file, csv(ROWS)).unwrap();
    }
    let arguments = ["import", file.to_str().unwrap(), "--dynamodb-endpoint", endpoint];
    let command = Command::parse_from(arguments.iter().chain(options));
    // It is a program's main, with a runtime of its own.
    tokio::task::spawn_blocking(move || std::thread::spawn(move || command.import.run()).join().unwrap())
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn every_record_is_imported_once_whatever_happens_to_the_calls() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    app.bucket("b1", "A", &[]).await;
    let mixed = [Throttled, WrittenThenServerError, Conflict, WrittenThenConflict];
    // More in a row than the SDK's own attempts.
    let throttled = [Throttled; 40].into_iter();
    let faults: Vec<Fault> = throttled.chain(mixed.into_iter().cycle().take(60)).collect();

    proxy.fail_transactions(faults.iter().copied());
    assert_eq!(import(&app, &proxy.endpoint(), &[]).await.unwrap(), Ended::Complete);
    assert_eq!(proxy.faults_left(), 0);
    let partner = app.partner(&["A"]).await;
    let leads = app.leads(&partner, "b1", "A", &json!({ "limit": 5000 })).await;
    assert_eq!(leads.keys().len(), ROWS * 9 / 10);
    app.assert_consistent().await;

    // The same again as updates: the last row of an email is what stays.
    proxy.fail_transactions(faults);
    let options = ["--on-duplicate", "update", "--restart"];
    assert_eq!(import(&app, &proxy.endpoint(), &options).await.unwrap(), Ended::Complete);
    assert_eq!(proxy.faults_left(), 0);
    for client in app.walk(app.administrator(), "/api/admin/clients", 100).await {
        let number: usize =
            client["email"].as_str().unwrap()[1..].split('@').next().unwrap().parse().unwrap();
        let last = if number % 10 == 8 { number + 1 } else { number };
        assert_eq!(client["lastName"], format!("Row {last}"));
    }
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

/// Counters too: each of these is of a source, a status and a month of its own.
#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_fit_one_transaction_goes_into_the_next() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    app.bucket("b1", "A", &[]).await;
    let clients: Vec<_> = (0..60)
        .map(|number| {
            let mut client = tests::new_client(&format!("c{number}@example.com"), "A", "b1", None);
            client.status = format!("status {number}");
            client.given.source_id = Some(format!("source {number}"));
            client.created_date = Timestamp::from_millis(1_600_000_000_000 + number * 3_000_000_000).unwrap();
            client
        })
        .collect();
    proxy.keep_transactions();
    // Of an earlier attempt, which is recognised among the others.
    proxy.fail_transactions([Conflict, WrittenThenConflict]);
    let registered = app.store().register_all(&clients).await.unwrap();
    assert_eq!(registered, vec![Registered::Created; 60]);
    let transactions = proxy.kept_transactions();
    let most = transactions.iter().map(|one| one["TransactItems"].as_array().unwrap().len()).max().unwrap();
    assert!(transactions.len() >= 5 && (80..=100).contains(&most), "{} of {most}", transactions.len());
    let partner = app.partner(&["A"]).await;
    assert_eq!(app.leads(&partner, "b1", "A", &json!({})).await.keys().len(), 60);
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_gives_up_where_nothing_goes_and_goes_on_later() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    app.bucket("b1", "A", &[]).await;
    proxy.fail_transactions([Throttled; 1000]);
    let error = import(&app, &proxy.endpoint(), &["--give-up-after", "0"]).await.unwrap_err();
    let message = format!("{error:#}");
    assert!(
        message.contains("run the same command again to go on") && message.contains("ThrottlingException"),
        "{message}"
    );
    proxy.end_faults();
    assert_eq!(import(&app, &proxy.endpoint(), &[]).await.unwrap(), Ended::Complete);
    let partner = app.partner(&["A"]).await;
    let leads = app.leads(&partner, "b1", "A", &json!({ "limit": 5000 })).await;
    assert_eq!(leads.keys().len(), ROWS * 9 / 10);
    app.assert_consistent().await;
    drop(app);
    dynamodb.stop().await;
}

/// Partners poll by `updatedDate` and overlap by a minute: what was held up for longer must not be
/// dated before it. One call is shorter than that with all its attempts, so each has a date of its own.
#[tokio::test(flavor = "multi_thread")]
async fn records_are_dated_when_they_are_written_however_long_they_were_held_up() {
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    app.bucket("b1", "A", &[]).await;
    // Four batches at once: the first call of each fails with all its attempts, and more of them do.
    std::fs::write(app.directory.path().join("clients.csv"), csv(100)).unwrap();
    proxy.fail_transactions([Throttled; 80]);
    proxy.keep_transactions();
    let done = import(&app, &proxy.endpoint(), &["--parallel", "4"]).await;
    assert_eq!(done.unwrap(), Ended::Complete);
    assert_eq!(proxy.faults_left(), 0);

    // By client and field, the dates that were sent to be written, in their order.
    let mut sent = BTreeMap::<(String, &str), Vec<i64>>::new();
    for transaction in proxy.kept_transactions() {
        let entries = transaction["TransactItems"].as_array().unwrap().iter();
        for item in entries.map(|entry| &entry["Put"]["Item"]).filter(|item| item["email"].is_object()) {
            for date in DATES {
                let at = item[date]["N"].as_str().unwrap().parse().unwrap();
                let of_client =
                    sent.entry((item["email"]["S"].as_str().unwrap().to_owned(), date)).or_default();
                if of_client.last() != Some(&at) {
                    of_client.push(at);
                }
            }
        }
    }
    let clients = app.walk(app.administrator(), "/api/admin/clients", 100).await;
    assert_eq!(clients.len(), 90);
    for client in clients {
        for date in DATES {
            let at = Timestamp::parse_iso(client[date].as_str().unwrap()).unwrap().millis();
            let dates = &sent[&(client["email"].as_str().unwrap().to_owned(), date)];
            // Another may come after it: of a call that repeats one whose answer was late.
            let calls_before = dates.iter().position(|sent| *sent == at);
            assert!(calls_before.is_some_and(|calls| calls >= 1), "{date}: {at} of {dates:?}");
        }
    }
    drop(app);
    dynamodb.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_record_costs_less_than_a_sign_up() {
    if Difference::Capacity.skips() {
        return;
    }
    let dynamodb = Dynamodb::start().await;
    let proxy = Proxy::start(dynamodb.address).await;
    let app = TestApp::start_on(proxy.endpoint()).await;
    app.bucket("b1", "A", &[]).await;
    let (done, measured) = proxy.measure(import(&app, &proxy.endpoint(), &["--parallel", "1"])).await;
    assert_eq!(done.unwrap(), Ended::Complete);
    let records = f64::from(u32::try_from(ROWS * 9 / 10).unwrap());
    let (write, read) = (measured.write / records, measured.read / records);
    println!(
        "a record of an import: {write:.1} write units, {read:.2} read units, {:.3} calls",
        measured.calls.len() as f64 / records
    );
    // A sign-up without a source is 14.
    assert!(write < 14.0 && read < 1.0, "{write} write units, {read} read units");
    drop(app);
    dynamodb.stop().await;
}

/// As DynamoDB does it: transactions take their time, and those that meet on an item fail. Batches of
/// one bucket, all on its counters, do not meet: each lane has a shard of its own.
#[tokio::test(flavor = "multi_thread")]
async fn batches_at_once_do_not_meet_on_counters() {
    for parallel in ["1", "2", "4", "8"] {
        let dynamodb = Dynamodb::start().await;
        let proxy = Proxy::start(dynamodb.address).await;
        let app = TestApp::start_on(proxy.endpoint()).await;
        app.bucket("b1", "A", &[]).await;
        proxy.take_time(Duration::from_millis(20));
        let rows = std::env::var("IMPORT_ROWS").map_or(ROWS, |rows| rows.parse().unwrap());
        std::fs::write(app.directory.path().join("clients.csv"), csv(rows)).unwrap();
        let begin = Instant::now();
        assert_eq!(
            import(&app, &proxy.endpoint(), &["--parallel", parallel]).await.unwrap(),
            Ended::Complete
        );
        let (arrived, met) = proxy.transactions();
        println!(
            "{parallel} at once: {:.1?}, {arrived} transactions, {met} of them in vain",
            begin.elapsed()
        );
        proxy.take_time(Duration::ZERO);
        let partner = app.partner(&["A"]).await;
        let answer = app.leads(&partner, "b1", "A", &json!({ "limit": 1 })).await;
        assert_eq!(answer.header("x-total-count"), Some((rows * 9 / 10).to_string().as_str()));
        app.assert_consistent().await;
        drop(app);
        dynamodb.stop().await;
    }
}
