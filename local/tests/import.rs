//! `local import` and `local export` as operators run them, on the embedded engine.

use crate::program::{Output, Running, command, output, run};
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tempfile::TempDir;

/// The demo affiliate's buckets: the first has the sources facebook_ads and google_ads.
const AFFILIATE: &str = "1234567890";
const CAMPAIGNS: &str = "69ce5200741e8f2238320001";
const DIRECT: &str = "69ce5200741e8f2238320002";
/// Leads of the demo data in the two buckets.
const DEMO: [u64; 2] = [49, 12];

/// A data directory and the files beside it.
struct Place {
    directory: TempDir,
}

impl Place {
    fn new() -> Self {
        Self { directory: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn data(&self) -> PathBuf {
        self.path("data")
    }

    fn serve(&self) -> Running {
        Running::start(&self.data(), &["--port", "0"])
    }

    fn write(&self, name: &str, text: &str) -> String {
        fs::write(self.path(name), text).unwrap();
        self.path(name).to_str().unwrap().to_owned()
    }

    fn import(&self, file: &str, options: &[&str]) -> Output {
        run(&self.data(), &[&["import", file], options].concat())
    }

    fn export(&self, bucket: &str, options: &[&str]) -> Output {
        run(&self.data(), &[&["export", bucket], options].concat())
    }

    /// Every copy, counter and index agrees.
    fn check(&self) {
        let checked = run(&self.data(), &["check"]);
        assert_eq!(checked.code, Some(0), "{checked:?}");
        assert!(checked.stdout.ends_with("Consistent.\n"), "{checked:?}");
    }
}

impl Running {
    /// The client with an email, as the admin API shows it.
    fn client(&self, email: &str) -> Value {
        let (status, list) =
            self.get(&format!("/api/admin/clients?email={email}"), self.credential("adminToken"));
        assert_eq!(status, 200, "{list}");
        let items = list["items"].as_array().unwrap();
        assert_eq!(items.len(), 1, "{email}: {list}");
        items[0].clone()
    }

    /// How many leads a bucket has, by its counters.
    fn total(&self, bucket: &str) -> u64 {
        let (status, stats) =
            self.get(&format!("/api/admin/buckets/{bucket}/stats"), self.credential("adminToken"));
        assert_eq!(status, 200, "{stats}");
        stats["total"].as_u64().unwrap()
    }
}

#[test]
fn what_a_record_carries_reaches_the_client() {
    let place = Place::new();
    let stack = place.serve();
    let csv = place.write(
        "clients.csv",
        &format!(
            "\u{feff}id,email,phone,firstName,lastName,affiliateID,sourceId,status,createdDate,ftd,billing.city,agreements,\
             processed,sendEmail,bucketId\r\n\
             old-1,Ann@Example.com,(030) 123-45,Ann,\"O\"\"Neil,\r\nthe second\",{AFFILIATE},facebook_ads,active,\
             2021-03-04T05:06:07Z,1614834368000,Zürich 🏙,\"[{{\"\"label\"\":\"\"Terms\"\",\"\"ip\"\":\"\"::1\"\"}}]\",TRUE,true,\r\n\
             ,bob@example.com,+12345,Bob,,{AFFILIATE},,,,,,,,,{CAMPAIGNS}\r\n\
             ,nobodys@example.com,+12345,Nobody,,,,,,,,,,,\r\n"
        ),
    );
    let done = place.import(&csv, &[]);
    assert_eq!(done.code, Some(0), "{done:?}");
    assert!(
        done.stdout.starts_with("3 imported, 0 updated, 0 duplicates skipped, 0 rejected into "),
        "{done:?}"
    );
    assert!(!place.path("clients.csv.rejects.csv").exists());

    let ann = stack.client("ann@example.com");
    let updated = ann["updatedDate"].clone();
    let expected = json!({
        "id": "old-1", "email": "Ann@Example.com", "phone": "03012345", "firstName": "Ann",
        "lastName": "O\"Neil,\r\nthe second", "affiliateID": AFFILIATE, "sourceId": "facebook_ads", "bucketId": CAMPAIGNS,
        "status": "active", "state": "active", "processed": true, "billing": { "city": "Zürich 🏙" },
        "agreements": [{ "label": "Terms", "ip": "::1" }], "sendEmail": false,
        "createdDate": "2021-03-04T05:06:07.000Z", "updatedDate": updated, "ftd": "2021-03-04T05:06:08.000Z",
    });
    assert_eq!(ann, expected);
    assert_eq!(stack.client("bob@example.com")["bucketId"], CAMPAIGNS);
    assert_eq!(stack.client("nobodys@example.com")["bucketId"], Value::Null);
    // Partners see it by its own id and date, and as changed now.
    let (_, leads) = stack.leads(r#"{"ids": ["old-1"], "keyBy": "id"}"#);
    assert_eq!(leads["old-1"]["ftd"], "2021-03-04T05:06:08.000Z");
    let date = "1614834367000";
    let (_, leads) = stack.leads(&format!(r#"{{"filters": {{"createdDate": ["{date}", "{date}"]}}}}"#));
    assert_eq!(leads.as_object().unwrap().keys().collect::<Vec<_>>(), ["Ann@Example.com"]);

    let jsonl = place.write(
        "clients.jsonl",
        &format!(
            "\u{feff}{}\n\n{}",
            json!({ "email": "carl@example.com", "phone": "12345", "firstName": "Carl", "affiliateID": AFFILIATE,
                "meta": "x".repeat(16_000), "billing": { "country": "CH" }, "createdDate": 1_614_834_367_000_i64, "ftd": null,
                "updatedDate": "2020-01-01T00:00:00Z" }),
            json!({ "email": "dora@example.com", "phone": "12345", "firstName": "\u{202e}<b>Dora</b>" }),
        ),
    );
    let done = place.import(&jsonl, &[]);
    assert!(done.success && done.stdout.starts_with("2 imported, "), "{done:?}");
    let carl = stack.client("carl@example.com");
    assert_eq!((&carl["bucketId"], &carl["meta"]), (&json!(DIRECT), &json!("x".repeat(16_000))));
    assert_eq!(carl["createdDate"], "2021-03-04T05:06:07.000Z");
    assert!(carl["updatedDate"].as_str().unwrap() > "2026", "{carl}");
    assert_eq!(stack.client("dora@example.com")["firstName"], "\u{202e}<b>Dora</b>");
    place.check();
}

#[test]
fn rejected_records_are_reported_and_the_others_imported() {
    let place = Place::new();
    let stack = place.serve();
    let csv = place.write(
        "clients.csv",
        "email,phone,firstName,id,createdDate,agreements,affiliateID,bucketId\n\
         one@example.com,12345,One,same,,,,\n\
         two@example.com,,Two,,,,,\n\
         three@example.com,12345,\"Three\nlines\",a b,,,,\n\
         four@example.com,12345,Four,same,,,,\n\
         five@example.com,12345,Five,,2280-01-01,,,\n\
         six@example.com,12345\n\
         seven@example.com,12345,Seven,,,nonsense,,\n\
         eight@example.com,12345,Eight,,,,AFF-123,69ce5200741e8f2238320001\n\
         nine@example.com,12345,Nine,,,,1234567890,nowhere\n\
         ten@example.com,12345,Ten,,,,,\n",
    );
    let dry = output(crate::program::plain(&["import", &csv, "--dry-run"]));
    assert_eq!(dry.code, Some(3), "{dry:?}");
    assert!(dry.stdout.starts_with("5 records are valid, 5 are not; nothing was imported.\n"), "{dry:?}");
    let dry = fs::read_to_string(place.path("clients.csv.dry-run.csv")).unwrap();
    let done = place.import(&csv, &["--rejects", place.path("report").to_str().unwrap()]);
    assert_eq!(done.code, Some(3), "{done:?}");
    assert!(done.stdout.contains("2 imported, 0 updated, 0 duplicates skipped, 8 rejected"), "{done:?}");
    assert_eq!(
        fs::read_to_string(place.path("report")).unwrap(),
        "line,field,reason\n\
         3,phone,\"Email, phone and first name are required\"\n\
         4,id,\"id must have at most 128 bytes, and no blanks or control characters\"\n\
         6,id,another client has this id\n\
         7,createdDate,createdDate must not be in the future\n\
         8,,\"the record has 2 fields, the header row 8\"\n\
         9,agreements,agreements must be an array of objects\n\
         10,bucketId,bucketId must be the id of a bucket of the client's affiliate\n\
         11,bucketId,bucketId must be the id of a bucket\n"
    );
    // What the system says of records, it says when they are imported.
    let report = fs::read_to_string(place.path("report")).unwrap();
    assert!(dry.lines().all(|line| report.lines().any(|other| other == line)), "{dry}");
    assert_eq!(stack.client("one@example.com")["id"], "same");
    stack.client("ten@example.com");

    let long = format!("{{\"email\": \"{}\"}}", "x".repeat(3 << 20));
    let lines = [
        "{\"email\":\"a@example.com\",\"phone\":\"12345\",\"firstName\":\"A\",\"colour\":1}",
        "[1]",
        &long,
        "{",
        "",
    ];
    let mut bytes = lines.join("\n").into_bytes();
    bytes.extend_from_slice(
        b"\n{\"email\":\"\xff\"}\n{\"email\":\"z@example.com\",\"phone\":\"12345\",\"firstName\":\"Z\"}",
    );
    fs::write(place.path("clients.jsonl"), bytes).unwrap();
    let done = place.import(place.path("clients.jsonl").to_str().unwrap(), &[]);
    assert!(done.stdout.contains("1 imported, 0 updated, 0 duplicates skipped, 5 rejected"), "{done:?}");
    let report = fs::read_to_string(place.path("clients.jsonl.rejects.csv")).unwrap();
    let rows: Vec<_> = report.lines().collect();
    assert_eq!(rows[1], "1,colour,colour is not a known field");
    assert_eq!(rows[3], "3,,the line is longer than 1048576 bytes");
    let begins = ["line,field,reason", "1,", "2,,line must be", "3,", "4,,line must be", "6,,line must be"];
    assert!(
        rows.iter().zip(begins).all(|(row, begin)| row.starts_with(begin)) && rows.len() == 6,
        "{report}"
    );
    place.check();
}

#[test]
fn duplicates_are_skipped_or_updated() {
    let place = Place::new();
    let stack = place.serve();
    let header = "email,phone,firstName,lastName,status,affiliateID,id,createdDate,sourceId,bucketId";
    let first = place.write(
        "first.csv",
        &format!(
            "{header}\nann@example.com,12345,Ann,First,new,{AFFILIATE},ann,2021-01-01,google_ads,\n\
             ANN@example.com,12345,Ann,Second,new,{AFFILIATE},,,,\n"
        ),
    );
    let done = place.import(&first, &[]);
    assert!(done.success && done.stdout.contains("1 imported, 0 updated, 1 duplicates skipped"), "{done:?}");
    let ann = stack.client("ann@example.com");
    assert_eq!((&ann["lastName"], &ann["bucketId"]), (&json!("First"), &json!(CAMPAIGNS)));

    let second = place.write(
        "second.csv",
        &format!(
            "{header}\n\
             ann@example.com,12345,Ann,Third,contacted,,,,,\n\
             ann@example.com,12345,Ann,Fourth,,{AFFILIATE},ann,2021-01-01T00:00:00Z,,\n\
             ann@example.com,12345,Ann,Other,,,bob,,,\n\
             ann@example.com,12345,Ann,Other,,,,2021-01-02,,\n\
             new@example.com,12345,New,,,,,,,\n"
        ),
    );
    let done = place.import(&second, &["--on-duplicate", "update"]);
    assert!(done.stdout.contains("1 imported, 2 updated, 0 duplicates skipped, 2 rejected"), "{done:?}");
    assert_eq!(
        fs::read_to_string(place.path("second.csv.rejects.csv")).unwrap(),
        "line,field,reason\n4,id,id must be that of the client who has this email\n\
         5,createdDate,createdDate must be that of the client who has this email\n"
    );
    let now = stack.client("ann@example.com");
    assert_eq!(
        (&now["lastName"], &now["status"], &now["id"]),
        (&json!("Fourth"), &json!("contacted"), &json!("ann"))
    );
    assert_eq!((&now["bucketId"], &now["sourceId"]), (&ann["bucketId"], &ann["sourceId"]));

    // What changes nothing is no change: partners who poll by updatedDate do not see it again.
    let again = place.import(&second, &["--on-duplicate", "update", "--restart"]);
    assert!(again.stdout.contains("0 imported, 3 updated, 0 duplicates skipped, 2 rejected"), "{again:?}");
    let moved = format!("{header}\nann@example.com,12345,Ann,,,{AFFILIATE},,,,{DIRECT}\n");
    let moved = place.write("moved.csv", &moved);
    let before = stack.client("new@example.com");
    assert!(place.import(&moved, &["--on-duplicate", "update"]).success);
    assert_eq!(stack.client("ann@example.com")["bucketId"], DIRECT);
    assert_eq!(stack.client("new@example.com"), before);
    let other =
        place.write("other.csv", &format!("{header}\nann@example.com,12345,Ann,,,AFF-123,,,facebook_ads,\n"));
    assert!(place.import(&other, &["--on-duplicate", "update"]).success);
    assert_eq!(stack.client("ann@example.com")["bucketId"], "69ce5200741e8f2238320003");
    place.check();
}

#[test]
fn mistakes_are_found_before_anything_is_written() {
    let place = Place::new();
    let stack = place.serve();
    let row = "a@example.com,12345,A";
    for (name, text, expected) in [
        (
            "a.csv",
            "email,phone,firstName,lastnam\na@example.com,12345,A,\n".into(),
            "column 4 of the header row, \"lastnam\", is not a known field",
        ),
        ("b.csv", format!("email,phone,firstName,email\n{row},\n"), "the header row has email twice"),
        ("c.csv", "email,phone\na@example.com,1\n".into(), "the header row has no column firstName"),
        ("d.csv", String::new(), "the header row has no column email"),
        ("e.txt", row.into(), "e.txt ends with neither .csv nor .jsonl: give --format"),
    ] {
        let done = place.import(&place.write(name, &text), &[]);
        assert!(!done.success && done.stderr.contains(expected), "{name}: {done:?}");
        assert_eq!(done.code, Some(1));
    }
    let done = place.import("/nowhere/a.csv", &[]);
    assert!(done.stderr.starts_with("error: can't read /nowhere/a.csv"), "{done:?}");
    // A quote that is never closed does not take the whole file into memory.
    let open = format!(
        "email,phone,firstName\nfirst@example.com,12345,A\nb@example.com,12345,\"{}",
        "x".repeat(3 << 20)
    );
    let done = place.import(&place.write("open.csv", &open), &[]);
    assert!(
        !done.success
            && done.stderr.contains("can't read on from line 3")
            && done.stderr.contains("is a quote not closed?"),
        "{done:?}"
    );
    stack.client("first@example.com");
    assert_eq!(stack.total(CAMPAIGNS), DEMO[0]);
}

#[test]
fn an_import_is_done_once_and_goes_on_with_the_same_only() {
    let place = Place::new();
    let stack = place.serve();
    let csv = place.write("clients.csv", "email,phone,firstName\na@example.com,12345,A\n");
    assert!(place.import(&csv, &[]).success);
    let again = place.import(&csv, &[]);
    assert!(again.success && again.stdout.contains("is complete: 1 imported"), "{again:?}");
    let other = place.import(&csv, &["--on-duplicate", "update"]);
    assert!(
        !other.success && other.stderr.contains("its --format or --on-duplicate was another"),
        "{other:?}"
    );
    let running: Value = serde_json::from_slice(&fs::read(place.data().join("stack.json")).unwrap()).unwrap();
    let endpoint = running["dynamodbEndpoint"].as_str().unwrap();
    let elsewhere = output(crate::program::plain(&["import", &csv, "--dynamodb-endpoint", endpoint]));
    assert!(
        !elsewhere.success && elsewhere.stderr.contains("it was going to another system"),
        "{elsewhere:?}"
    );
    fs::write(place.path("clients.csv"), "email,phone,firstName\nb@example.com,12345,B\n").unwrap();
    let changed = place.import(&csv, &[]);
    assert!(!changed.success && changed.stderr.contains("the input has changed since"), "{changed:?}");
    let anew = place.import(&csv, &["--restart"]);
    assert!(anew.success && anew.stdout.starts_with("1 imported"), "{anew:?}");
    stack.client("b@example.com");
    let bad = place.write("bad.checkpoint", "{}");
    let bad = place.import(&csv, &["--checkpoint", &bad]);
    assert!(!bad.success && bad.stderr.contains("is not a checkpoint of an import"), "{bad:?}");
}

/// Rows of both buckets, with a rejected and a duplicate one in each hundred.
fn many(rows: u64) -> String {
    let mut csv = "email,phone,firstName,affiliateID,sourceId,status,createdDate\n".to_owned();
    for row in 0..rows {
        let (source, status) =
            (["facebook_ads", "google_ads", ""][row as usize % 3], ["new", "active"][row as usize % 2]);
        let date = 1_500_000_000_000 + row / 3 * 1000;
        match row % 100 {
            98 => writeln!(csv, "nonsense,12345,A,{AFFILIATE},{source},{status},{date}").unwrap(),
            99 => writeln!(csv, "row{}@example.com,12345,A,{AFFILIATE},,,", row - 99).unwrap(),
            _ => writeln!(csv, "row{row}@example.com,12345,A,{AFFILIATE},{source},{status},{date}").unwrap(),
        }
    }
    csv
}

/// What [`many`] leaves behind, by the buckets' counters and lists.
fn assert_complete(place: &Place, rows: u64, done: &Output) {
    let hundredth = rows / 100;
    let counts = format!(
        "{} imported, 0 updated, {hundredth} duplicates skipped, {hundredth} rejected",
        rows - 2 * hundredth
    );
    assert!(done.stdout.contains(&counts), "{done:?}");
    let report = fs::read_to_string(place.path("clients.csv.rejects.csv")).unwrap();
    let lines: Vec<_> =
        report.lines().skip(1).map(|line| line.split(',').next().unwrap().parse::<u64>().unwrap()).collect();
    assert_eq!(lines, (0..hundredth).map(|number| number * 100 + 98 + 2).collect::<Vec<_>>());
    place.check();
    let imported = |bucket: usize| {
        (0..rows).filter(|row| row % 100 < 98 && (row % 3 == 2) == (bucket == 1)).count() as u64
            + DEMO[bucket]
    };
    let stack = place.serve();
    for (at, bucket) in [CAMPAIGNS, DIRECT].iter().enumerate() {
        assert_eq!(stack.total(bucket), imported(at), "{bucket}");
        let exported = place.export(bucket, &[]);
        let mut emails: Vec<_> =
            exported.stdout.lines().skip(1).map(|line| line.split(',').nth(1).unwrap()).collect();
        emails.sort_unstable();
        emails.dedup();
        assert_eq!(emails.len() as u64, imported(at), "{bucket}");
    }
}

/// Starts an import and sends it a signal once `is_time`. Nothing where it ended before.
fn interrupt(
    place: &Place,
    file: &str,
    signal: &str,
    is_time: impl Fn() -> bool,
) -> Option<std::process::ExitStatus> {
    let mut child = command(&place.data(), &["import", file, "--parallel", "2"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    while !is_time() {
        if child.try_wait().unwrap().is_some() {
            return None;
        }
        std::thread::sleep(Duration::from_millis(2));
    }
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    let ended = child.wait().unwrap();
    let signalled = ended.signal().is_some() || ended.code() == Some(130);
    signalled.then_some(ended)
}

/// Begins anew where an import ended before it was interrupted, as it may on a machine that stalls.
fn until_interrupted<T>(begin: impl Fn() -> Option<T>) -> T {
    (0..10).find_map(|_| begin()).unwrap_or_else(|| panic!("imports end before they are interrupted"))
}

fn records(place: &Place) -> u64 {
    let text = fs::read(place.path("clients.csv.checkpoint")).unwrap_or_default();
    serde_json::from_slice::<Value>(&text).ok().and_then(|found| found["record"].as_u64()).unwrap_or_default()
}

/// How many rows the tests of interruptions import.
fn rows() -> u64 {
    std::env::var("IMPORT_ROWS").map_or(6000, |rows| rows.parse().unwrap())
}

#[test]
fn killed_in_the_middle_of_chunks_it_loses_nothing_and_repeats_nothing() {
    let (place, stack, csv) = until_interrupted(|| {
        let place = Place::new();
        let stack = place.serve();
        let csv = place.write("clients.csv", &many(rows()));
        // The bucket's counters tell how far it is: neither kill is at the end of a chunk.
        interrupt(&place, &csv, "-KILL", || stack.total(CAMPAIGNS) > DEMO[0] + rows() / 10)?;
        interrupt(&place, &csv, "-KILL", || stack.total(CAMPAIGNS) > DEMO[0] + rows() / 4)?;
        Some((place, stack, csv))
    });
    assert!(records(&place) < rows());
    // Its report is needed to go on.
    let report = place.path("clients.csv.rejects.csv");
    let bytes = fs::read(&report).unwrap();
    fs::write(&report, "line,field,reason\n").unwrap();
    let refused = place.import(&csv, &[]);
    assert!(
        !refused.success && refused.stderr.contains("is not the report that this import began"),
        "{refused:?}"
    );
    fs::write(&report, bytes).unwrap();
    let done = place.import(&csv, &[]);
    assert!(done.stderr.starts_with("Goes on importing into "), "{done:?}");
    drop(stack);
    assert_complete(&place, rows(), &done);
}

#[test]
fn killed_with_the_embedded_engine_it_goes_on() {
    let (place, csv) = until_interrupted(|| {
        let place = Place::new();
        drop(place.serve());
        let csv = place.write("clients.csv", &many(rows()));
        interrupt(&place, &csv, "-KILL", || records(&place) > 0)?;
        interrupt(&place, &csv, "-KILL", || records(&place) > 2000)?;
        Some((place, csv))
    });
    let done = place.import(&csv, &[]);
    assert_complete(&place, rows(), &done);
}

#[test]
fn an_interrupt_finishes_what_is_under_way() {
    let (place, csv, ended) = until_interrupted(|| {
        let place = Place::new();
        drop(place.serve());
        let csv = place.write("clients.csv", &many(rows()));
        let ended = interrupt(&place, &csv, "-INT", || records(&place) > 0)?;
        Some((place, csv, ended))
    });
    assert_eq!((ended.code(), ended.signal()), (Some(130), None));
    let at = records(&place);
    assert!(at > 0 && at < rows(), "{at}");
    let done = place.import(&csv, &[]);
    assert_complete(&place, rows(), &done);
}

#[test]
fn an_export_is_imported_again_as_it_was() {
    let (place, other) = (Place::new(), Place::new());
    drop(place.serve());
    drop(other.serve());
    let meta = "x".repeat(5000);
    let given = [
        json!({ "email": "A@example.com", "phone": "12345", "firstName": "A, \"B\"\n", "affiliateID": AFFILIATE, "sourceId": "google_ads",
            "meta": meta, "agreements": [{ "label": "T", "signedAt": "2026-01-01" }], "processed": false, "type": "x" }),
        json!({ "email": "b@example.com", "phone": "12345", "firstName": "B", "affiliateID": AFFILIATE, "sourceId": "facebook_ads",
            "ftd": "2024-01-01T00:00:00Z", "billing": { "address": "x" }, "createdDate": 0, "status": "a b" }),
    ];
    let lines = given.map(|line| line.to_string()).join("\n");
    assert!(place.import(&place.write("clients.jsonl", &lines), &[]).success);
    for format in ["csv", "jsonl"] {
        let file = other.path(&format!("bucket.{format}"));
        let done = place.export(CAMPAIGNS, &["--full", "--output", file.to_str().unwrap()]);
        assert!(done.success, "{done:?}");
        let file = file.to_str().unwrap();
        let done = other.import(file, &["--on-duplicate", "update"]);
        assert_eq!(done.code, Some(0), "{done:?}");
        // The demo data's own leads are the same already, and so is everything the second time.
        let line = |text: &str| {
            let mut record: Value = serde_json::from_str(text).unwrap();
            record.as_object_mut().unwrap().remove("updatedDate").unwrap();
            record
        };
        let records = |place: &Place| -> Vec<Value> {
            let exported = place.export(CAMPAIGNS, &["--full", "--format", "jsonl"]);
            exported.stdout.lines().map(line).collect()
        };
        assert_eq!(records(&place), records(&other), "{format}");
        assert_eq!(records(&place).len() as u64, DEMO[0] + 2);
    }

    let leads = place.export(CAMPAIGNS, &["--status", "a b", "--source", "facebook_ads"]);
    let lines: Vec<_> = leads.stdout.lines().collect();
    assert_eq!(lines[0], "id,email,affiliateID,status,createdDate,updatedDate,ftd");
    assert!(
        lines[1].contains(",b@example.com,1234567890,a b,1970-01-01T00:00:00.000Z,") && lines.len() == 2,
        "{leads:?}"
    );
    assert!(lines[1].ends_with(",2024-01-01T00:00:00.000Z"), "{leads:?}");
    let formula = json!({ "email": "=1+1@example.com", "phone": "+12345", "firstName": "=HYPERLINK(1)", "affiliateID": AFFILIATE, "sourceId": "google_ads",
        "status": "=x" });
    assert!(place.import(&place.write("formula.jsonl", &formula.to_string()), &[]).success);
    let plain = place.export(CAMPAIGNS, &["--status", "=x", "--full"]);
    assert!(plain.stdout.contains(",=1+1@example.com,+12345,=HYPERLINK(1),"), "{plain:?}");
    let guarded = place.export(CAMPAIGNS, &["--status", "=x", "--full", "--spreadsheet"]);
    assert!(guarded.stdout.contains(",'=1+1@example.com,'+12345,'=HYPERLINK(1),"), "{guarded:?}");
    let unknown = place.export("nowhere", &["--output", place.path("none.csv").to_str().unwrap()]);
    assert!(!unknown.success && unknown.stderr == "error: there is no bucket nowhere\n", "{unknown:?}");
    assert!(!place.path("none.csv").exists());
}

#[test]
fn a_reader_that_had_enough_is_no_error() {
    let place = Place::new();
    drop(place.serve());
    assert!(place.import(&place.write("clients.csv", &many(6000)), &[]).code == Some(3));
    let program = Path::new(crate::program::PROGRAM).display();
    let pipe = format!(
        "'{program}' export {CAMPAIGNS} --data-dir '{}' | head -1; echo ${{PIPESTATUS[0]}}",
        place.data().display()
    );
    let done = std::process::Command::new("bash").args(["-c", &pipe]).output().unwrap();
    let text = String::from_utf8(done.stdout).unwrap();
    assert_eq!(text, "id,email,affiliateID,status,createdDate,updatedDate,ftd\n0\n");
}

/// Figures for docs/performance.md: `IMPORT_ROWS=25000 cargo test --release -p local --test commands
/// memory -- --nocapture`.
#[test]
fn memory_does_not_grow_with_the_file() {
    let peak = |rows: u64| {
        let place = Place::new();
        let stack = place.serve();
        let csv = place.write("clients.csv", &many(rows));
        let mut import = command(&place.data(), &["import", &csv])
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let (of_import, of_stack) =
            (format!("/proc/{}/status", import.id()), format!("/proc/{}/status", stack.id()));
        let high_water = |path: &str| {
            let status = fs::read_to_string(path).unwrap_or_default();
            let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
            line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok()).unwrap_or_default()
        };
        let mut peak = 0;
        while import.try_wait().unwrap().is_none() {
            peak = peak.max(high_water(&of_import));
            std::thread::sleep(Duration::from_millis(5));
        }
        let output = import.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(3));
        let size = fs::metadata(place.path("clients.csv")).unwrap().len();
        let engine = high_water(&of_stack);
        println!(
            "{rows} rows, {size} bytes: import {peak} KB, stack {engine} KB. {}",
            String::from_utf8(output.stdout).unwrap()
        );
        peak
    };
    // What the allocator gives back, and when, differs from run to run.
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (few, many) = (peak(rows()), peak(4 * rows()));
        if many < few + few / 4 {
            return;
        }
        seen.push((few, many));
    }
    panic!("KB for {} rows, and for four times as many: {seen:?}", rows());
}
