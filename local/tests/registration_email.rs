//! Registration emails of the program as a process: killed, restarted, and what was given up.

use crate::program::{Running, run};
use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

fn start(directory: &Path) -> Running {
    Running::start(directory, &["--port", "0", "--log", "error"])
}

/// Signs a client up that asks for the email, and gives its id.
fn sign_up(stack: &Running, number: usize) -> String {
    let body = format!(
        r#"{{"email":"c{number}@example.com","phone":"+1234567890","firstName":"Jane","sendEmail":true}}"#
    );
    let (status, answer) = stack.sign_up(&body);
    assert_eq!(status, 200, "{answer}");
    answer["id"].as_str().unwrap().to_owned()
}

/// The clients whose emails are in the outbox.
fn outbox(directory: &Path) -> BTreeSet<String> {
    let files = std::fs::read_dir(directory.join("outbox")).unwrap();
    let names = files.map(|file| file.unwrap().file_name().into_string().unwrap());
    names.filter_map(|name| name.strip_suffix(".eml").map(str::to_owned)).collect()
}

fn until_outbox_has(directory: &Path, ids: &BTreeSet<String>) {
    let begin = Instant::now();
    while !ids.is_subset(&outbox(directory)) {
        // A claim of a killed process ends after half a minute.
        assert!(begin.elapsed() < Duration::from_secs(300), "{ids:?} {:?}", outbox(directory));
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Waits for the notes that the emails were sent, which come after them.
fn until_noted(stack: &Running, ids: &BTreeSet<String>) {
    let begin = Instant::now();
    for id in ids {
        while !stack.has_attribute("ExpiringTable", &format!("M#{id}"), "sentAt") {
            assert!(begin.elapsed() < Duration::from_secs(300), "{id} is not noted");
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

fn forget(directory: &Path, id: &str) {
    std::fs::remove_file(directory.join("outbox").join(format!("{id}.eml"))).unwrap();
}

#[test]
fn an_email_that_was_asked_for_is_sent_once_whenever_the_process_is_killed() {
    let directory = tempfile::tempdir().unwrap();
    let mut ids = BTreeSet::new();
    let mut cut_off = 0;
    for round in 0..60 {
        if round >= 12 && cut_off > 0 {
            break;
        }
        let stack = start(directory.path());
        let new: BTreeSet<String> = (0..3).map(|client| sign_up(&stack, round * 3 + client)).collect();
        // At another moment each time, from before the email to behind it.
        std::thread::sleep(Duration::from_millis(round as u64 % 12 * 30));
        assert!(!stack.end("-KILL").0.success());
        cut_off += usize::from(!new.is_subset(&outbox(directory.path())));
        ids.extend(new);
    }
    assert!(cut_off > 0, "no kill came between the answer and the email");
    let stack = start(directory.path());
    until_outbox_has(directory.path(), &ids);
    assert_eq!(outbox(directory.path()), ids);
    // A kill may have come between an email and its note: then it is sent once more.
    until_noted(&stack, &ids);

    // What was sent is not sent again, neither by this process nor by the next.
    let first = ids.pop_first().unwrap();
    forget(directory.path(), &first);
    assert!(stack.end("-TERM").0.success());
    let stack = start(directory.path());
    ids.insert(sign_up(&stack, 100));
    until_outbox_has(directory.path(), &ids);
    assert_eq!(outbox(directory.path()), ids);
    assert!(stack.end("-TERM").0.success());
    // Nor where it is forgotten how far the stream was read.
    std::fs::remove_file(directory.path().join("streams.json")).unwrap();
    let stack = start(directory.path());
    ids.insert(sign_up(&stack, 101));
    until_outbox_has(directory.path(), &ids);
    assert_eq!(outbox(directory.path()), ids);

    assert!(stack.end("-TERM").0.success());
    let checked = run(directory.path(), &["check"]);
    assert!(checked.success && checked.stdout.ends_with("Consistent.\n"), "{checked:?}");
}

/// How far the stream was read is kept behind the emails, however long they take.
#[test]
fn an_email_that_fails_until_the_process_is_killed_is_sent_by_the_next() {
    let directory = tempfile::tempdir().unwrap();
    let stack = start(directory.path());
    let mut ids = BTreeSet::from([sign_up(&stack, 0)]);
    until_outbox_has(directory.path(), &ids);
    until_noted(&stack, &ids);
    let (outbox, aside) = (directory.path().join("outbox"), directory.path().join("aside"));
    std::fs::rename(&outbox, &aside).unwrap();
    std::fs::write(&outbox, "no directory").unwrap();
    let id = sign_up(&stack, 1);
    let begin = Instant::now();
    while !stack.has_attribute("ExpiringTable", &format!("M#{id}"), "claim") {
        assert!(begin.elapsed() < Duration::from_secs(300), "nobody tries to send it");
        std::thread::sleep(Duration::from_millis(20));
    }
    assert!(!stack.end("-KILL").0.success());
    std::fs::remove_file(&outbox).unwrap();
    std::fs::rename(&aside, &outbox).unwrap();
    ids.insert(id);
    let stack = start(directory.path());
    until_outbox_has(directory.path(), &ids);
    until_noted(&stack, &ids);
}

#[test]
fn emails_that_were_given_up_are_sent_by_a_command_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let stack = start(directory.path());
    let ids: BTreeSet<String> = (0..5).map(|client| sign_up(&stack, client)).collect();
    let silent = r#"{"email":"silent@example.com","phone":"+1234567890","firstName":"Jane"}"#;
    assert_eq!(stack.sign_up(silent).0, 200);
    until_outbox_has(directory.path(), &ids);
    until_noted(&stack, &ids);

    // Two of them were never told of, and nothing is in the outbox of any.
    let given_up: BTreeSet<String> = ids.iter().take(2).cloned().collect();
    for id in &ids {
        forget(directory.path(), id);
    }
    for id in &given_up {
        stack.delete_item("ExpiringTable", &format!("M#{id}"));
    }
    for (days, expected) in [("29", "2 sent, 3 had been"), ("1", "0 sent, 5 had been")] {
        let resent = run(directory.path(), &["resend-emails", "--days", days]);
        assert!(resent.success, "{resent:?}");
        assert_eq!(resent.stdout, format!("{expected} sent or refused before, 0 refused\n"));
        assert_eq!(outbox(directory.path()), given_up);
    }
    // The same where the stack does not run.
    let one = given_up.first().unwrap();
    stack.delete_item("ExpiringTable", &format!("M#{one}"));
    assert!(stack.end("-TERM").0.success());
    let resent = run(directory.path(), &["resend-emails"]);
    assert_eq!(resent.stdout, "1 sent, 4 had been sent or refused before, 0 refused\n", "{resent:?}");

    for days in ["0", "30"] {
        assert!(!run(directory.path(), &["resend-emails", "--days", days]).success);
    }
    let unknown = crate::program::output(crate::program::plain(&[
        "resend-emails",
        "--dynamodb-endpoint",
        "http://127.0.0.1:9",
    ]));
    assert!(!unknown.success, "{unknown:?}");
}
