//! The program `attestlog` as a user calls it: what it prints, and the exit code of each good and bad call.
//!
//! It drives the real binary, each test on a store of its own. No PostgreSQL is needed.

#![expect(clippy::unwrap_used, clippy::expect_used, reason = "the code of tests fails by panicking")]

use std::fs;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Child, Command, Output, Stdio};

use attestlog_tests::program::command;
use serde_json::Value;
use tempfile::TempDir;

/// A folder of its own, with a store in it once a command makes one.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    /// With a store that has the logs `default` and `other`.
    fn with_store() -> Self {
        let place = Self::new();
        place.ok(&["log", "create", "other", "--origin", "example.com/other"]);
        place
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) -> &Self {
        fs::write(self.path(name), bytes).unwrap();
        self
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = command(arguments);
        command.current_dir(self.0.path());
        command
    }

    fn run(&self, arguments: &[&str]) -> Outcome {
        Outcome::of(arguments, self.command(arguments).output().unwrap())
    }

    /// Runs a command that must succeed; its stdout.
    #[track_caller]
    fn ok(&self, arguments: &[&str]) -> String {
        self.run(arguments).exits(0).stdout
    }

    #[track_caller]
    fn json(&self, arguments: &[&str]) -> Value {
        serde_json::from_str(&self.ok(arguments)).unwrap()
    }

    #[track_caller]
    fn append(&self, name: &str, text: impl AsRef<[u8]>) -> Value {
        self.write(name, text).json(&["append", "default", name, "--json"])
    }

    fn size(&self, log: &str) -> u64 {
        let logs = self.json(&["log", "list", "--json"]);
        let log = logs.as_array().unwrap().iter().find(|other| other["name"] == log).unwrap();
        log["size"].as_u64().unwrap()
    }

    /// A log of three lines, its policy, and the receipt of the second.
    fn with_receipt() -> Self {
        let place = Self::with_store();
        place.append("lines", "one\ntwo\nthree\n");
        place.write("log.policy", place.ok(&["log", "policy", "default"]));
        place.ok(&["receipt", "default", "1", "-o", "two.tlog-proof"]);
        place.write("two", "two");
        place
    }

    fn verify(&self, entry: &str, receipt: &str) -> Outcome {
        self.run(&["verify", "--policy", "log.policy", "--entry", entry, receipt])
    }
}

/// What a command printed, and how it ended.
struct Outcome {
    call: String,
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Outcome {
    fn of(arguments: &[&str], output: Output) -> Self {
        Self {
            call: arguments.join(" "),
            code: output.status.code(),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    #[track_caller]
    fn exits(self, code: i32) -> Self {
        let Self { call, stdout, stderr, .. } = &self;
        assert_eq!(self.code, Some(code), "attestlog {call}\n{stdout}\n{stderr}");
        self
    }

    /// The call failed with exit code 2, and says each of `parts` on stderr.
    #[track_caller]
    fn cannot(self, parts: &[&str]) -> Self {
        let outcome = self.exits(2);
        for part in parts {
            assert!(outcome.stderr.contains(part), "\"{part}\" is not in: {}", outcome.stderr);
        }
        outcome
    }
}

/// A server, killed in the end.
struct Server {
    process: Child,
    address: String,
}

impl Server {
    fn start(place: &Place, more: &[&str]) -> Self {
        let mut command = place.command(&["serve", "--listen", "127.0.0.1:0", "--interval", "20ms"]);
        let mut process = command.args(more).stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
        let mut lines = BufReader::new(process.stdout.take().unwrap()).lines();
        let ready = lines.find(|line| line.as_ref().unwrap().starts_with("attestlog is ready on "));
        let ready = ready.expect("the server gets ready").unwrap();
        let address = ready.split_whitespace().nth(4).unwrap().to_owned();
        // Keep reading, so that the server never writes to a closed pipe.
        std::thread::spawn(move || lines.for_each(drop));
        Self { process, address }
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.process.id().to_string()]).status().unwrap();
        assert!(sent.success());
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended by itself.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn parsed(stdout: &str) -> Value {
    serde_json::from_str(stdout).unwrap()
}

#[test]
fn each_command_teaches_itself_with_an_example_and_its_exit_codes() {
    let place = Place::new();
    for command in [
        "serve",
        "log create",
        "log list",
        "log policy",
        "append",
        "receipt",
        "verify",
        "fsck",
        "search",
        "reindex",
        "export",
        "key generate",
        "key show",
        "migrate",
    ] {
        let mut call: Vec<&str> = command.split(' ').collect();
        call.push("--help");
        let help = place.ok(&call);
        for part in ["Examples:", "Exit codes:", &format!("attestlog {command}")] {
            assert!(help.contains(part), "\"{part}\" is not in the help of {command}: {help}");
        }
    }
}

#[test]
fn lines_are_appended_proven_and_verified_without_a_server() {
    let place = Place::with_store();
    let result = place.append("lines", "one\n\ntwo\nthree");
    assert_eq!((&result["entries"], &result["empty_lines"]), (&3.into(), &1.into()));
    assert_eq!((&result["first_index"], &result["last_index"]), (&0.into(), &2.into()));
    assert_eq!(place.size("default"), 3);
    place.write("log.policy", place.ok(&["log", "policy", "default"]));
    for (index, entry) in ["one", "two", "three"].iter().enumerate() {
        place.write("receipt", place.ok(&["receipt", "default", &index.to_string()]));
        place.write("entry", entry);
        place.verify("entry", "receipt").exits(0);
    }
    assert!(place.ok(&["fsck"]).contains("default: holds"));
}

#[test]
fn a_ticket_leads_to_a_receipt() {
    let place = Place::with_store();
    place.write("lines", "one\ntwo\n");
    let result = place.json(&["append", "default", "lines", "--json", "--no-wait"]);
    assert!(result["first_index"].is_null());
    let ticket = result["last_ticket"].as_i64().unwrap().to_string();
    let receipt = place.ok(&["receipt", "default", "--ticket", &ticket]);
    assert!(receipt.contains("\nindex 1\n"), "{receipt}");
    place.run(&["receipt", "default", "--ticket", "4711"]).cannot(&["ticket 4711"]);
    place.run(&["receipt", "other", "--ticket", &ticket]).cannot(&["ticket"]);
}

#[test]
fn stdin_raw_files_and_lines_from_a_number_on_are_appended() {
    let place = Place::with_store();
    let mut child = place.command(&["append", "default", "-", "--format", "ndjson", "--json"]);
    let mut child = child.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"{\"a\":1}\n{\"a\":2}\n").unwrap();
    let outcome = Outcome::of(&["append -"], child.wait_with_output().unwrap()).exits(0);
    assert_eq!(parsed(&outcome.stdout)["entries"], 2);

    place.write("raw", "one\ntwo\n").ok(&["append", "default", "raw", "--format", "raw"]);
    place.ok(&["append", "default", "raw", "--from-line", "2"]);
    assert_eq!(place.size("default"), 4);
}

#[test]
fn a_retry_with_the_same_prefix_adds_nothing() {
    let place = Place::with_store();
    place.write("lines", "one\ntwo\n");
    let call = ["append", "default", "lines", "--idempotency-prefix", "import-7", "--json"];
    let (first, second) = (place.json(&call), place.json(&call));
    assert_eq!(first["last_ticket"], second["last_ticket"]);
    assert_eq!(place.size("default"), 2);
    place.write("lines", "one\nother\n").run(&call).cannot(&["line 2", "idempotency key"]);
    assert_eq!(place.size("default"), 2);
}

#[test]
fn one_bad_line_among_a_thousand_is_named_and_nothing_is_stored() {
    let place = Place::with_store();
    let mut lines: Vec<String> = (0..1000).map(|number| format!("{{\"n\":{number}}}")).collect();
    lines[776] = "{\"n\":".into();
    place.write("lines", lines.join("\n"));
    place.run(&["append", "default", "lines", "--format", "ndjson"]).cannot(&[
        "line 777",
        "not JSON",
        "Nothing was stored",
    ]);
    assert_eq!(place.size("default"), 0);
}

#[test]
fn a_bad_line_of_a_pipe_is_named_with_what_is_stored_and_how_to_go_on() {
    let place = Place::with_store();
    let mut child = place.command(&["append", "default", "-", "--format", "ndjson"]);
    let mut child =
        child.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let lines: String = (0..2500).map(|number| format!("{number}\n")).collect();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(format!("{lines}no\n").as_bytes()).unwrap();
    drop(stdin);
    let outcome = Outcome::of(&["append -"], child.wait_with_output().unwrap());
    let outcome = outcome.cannot(&["line 2501", "are stored", "--from-line"]);
    let stored = outcome.stderr.split_once(" entries, to line").unwrap().0;
    let stored: u64 = stored.rsplit('\n').next().unwrap().parse().unwrap();
    place.write("rest", lines.clone());
    place.ok(&["append", "default", "rest", "--from-line", &(stored + 1).to_string()]);
    assert_eq!(place.size("default"), 2500);
}

#[test]
fn entries_that_are_empty_or_too_long_are_refused_before_anything_is_stored() {
    let place = Place::with_store();
    place.write("empty", "");
    place.run(&["append", "default", "empty", "--format", "raw"]).cannot(&["empty", "entry_size"]);
    assert!(place.ok(&["append", "default", "empty"]).contains("appended 0 entries"));
    let long = [b"one\n".to_vec(), vec![b'x'; 65_536]].concat();
    place.write("long", &long);
    place.run(&["append", "default", "long"]).cannot(&["line 2", "65535", "entry_size"]);
    place.write("long", &long[4..]);
    place.run(&["append", "default", "long", "--format", "raw"]).cannot(&["65535", "entry_size"]);
    assert_eq!(place.size("default"), 0);
    place.write("long", &long[5..]).ok(&["append", "default", "long", "--format", "raw"]);
    assert_eq!(place.size("default"), 1);
}

#[test]
fn a_strict_log_takes_only_events() {
    let place = Place::with_store();
    place.ok(&["log", "create", "audit", "--origin", "example.com/audit", "--events", "strict"]);
    let event = r#"{"action":"a","occurred_at":"2026-11-22T08:00:00Z","actor":{"type":"user","id":"u"}}"#;
    place.write("lines", format!("{event}\n{{}}\n"));
    place.run(&["append", "audit", "lines", "--format", "ndjson"]).cannot(&["line 2", "action"]);
    place.write("lines", event).ok(&["append", "audit", "lines"]);
    assert_eq!(place.size("audit"), 1);
}

#[test]
fn unknown_logs_files_flags_and_indexes_are_named() {
    let place = Place::with_store();
    place.append("lines", "one\n");
    place.run(&["append", "nope", "lines"]).cannot(&["\"nope\"", "default", "log create"]);
    place.run(&["receipt", "nope", "0"]).cannot(&["\"nope\""]);
    place.run(&["fsck", "nope"]).cannot(&["\"nope\""]);
    place.run(&["append", "default", "missing"]).cannot(&["missing", "No such file"]);
    place.run(&["append", "default", "."]).cannot(&["Is a directory"]);
    place.run(&["receipt", "default", "1"]).cannot(&["no entry 1", "0 to 0", "index_beyond_tree"]);
    place.run(&["receipt", "default", &u64::MAX.to_string()]).cannot(&["index_beyond_tree"]);
    place.run(&["receipt", "default", "18446744073709551616"]).cannot(&["invalid value"]);
    place.run(&["receipt", "default", "--frob"]).cannot(&["--frob"]);
    place.run(&["frob"]).cannot(&["frob"]);
    place.run(&["receipt", "default"]).cannot(&["required"]);
}

#[test]
fn names_origins_and_logs_that_exist_are_refused() {
    let place = Place::with_store();
    place.run(&["log", "create", "Nope", "--origin", "example.com/a"]).cannot(&["\"Nope\"", "a-z"]);
    place.run(&["log", "create", "nope", "--origin", "a b"]).cannot(&["\"a b\"", "origin"]);
    place.run(&["log", "create", "other", "--origin", "example.com/b"]).cannot(&["exists already"]);
    place.run(&["log", "create", "more", "--origin", "example.com/other"]).cannot(&["exists already"]);
}

#[test]
fn commands_that_read_make_no_store() {
    let place = Place::new();
    for call in [&["log", "list"][..], &["fsck"], &["append", "other", "x"], &["key", "show"]] {
        place.run(call).cannot(&["no store in attestlog-data", "attestlog serve", "--data"]);
    }
    assert!(!place.path("attestlog-data").exists());
}

#[test]
fn the_first_append_to_default_makes_the_embedded_store() {
    let place = Place::new();
    place.write("x", "one\ntwo\n");
    let outcome = place.run(&["append", "default", "x"]).exits(0);
    assert!(outcome.stdout.contains("signed head of size 2"), "{}", outcome.stdout);
    place.run(&["fsck"]).exits(0);
}

#[test]
fn a_changed_entry_is_proven_not_to_be_in_the_log() {
    let place = Place::with_receipt();
    let outcome = place.verify("two", "two.tlog-proof").exits(0);
    assert!(outcome.stdout.contains("is entry 1"));
    let outcome = place.write("two", "tvo").verify("two", "two.tlog-proof").exits(1);
    assert!(outcome.stdout.contains("root_mismatch"), "{}", outcome.stdout);
    place.write("two", "").verify("two", "two.tlog-proof").exits(1);
    place.write("two", "two\n\n").verify("two", "two.tlog-proof").exits(1);
}

#[test]
fn a_final_newline_is_left_out_and_said_so_unless_exactness_is_asked_for() {
    let place = Place::with_receipt();
    place.write("two", "two\n");
    let outcome = place.verify("two", "two.tlog-proof").exits(0);
    assert!(outcome.stdout.contains("the file's final newline is not part of the entry"));
    let call = ["verify", "--policy", "log.policy", "--entry", "two", "two.tlog-proof", "--json"];
    assert_eq!(place.json(&call)["final_newline_left_out"], true);
    let call = ["verify", "--policy", "log.policy", "--entry", "two", "two.tlog-proof", "--exact", "--json"];
    let outcome = place.run(&call).exits(1);
    let verdict: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!((&verdict["verdict"], &verdict["code"]), (&"does_not_hold".into(), &"root_mismatch".into()));
}

#[test]
fn a_receipt_that_is_cut_anywhere_cannot_be_checked() {
    let place = Place::with_receipt();
    let receipt = fs::read(place.path("two.tlog-proof")).unwrap();
    for end in [0, 1, 22, 30, 60, receipt.len() / 2, receipt.len() - 1] {
        place.write("cut", &receipt[..end]);
        place.verify("two", "cut").cannot(&["cut", "malformed"]);
    }
    place.verify("two", "missing").cannot(&["missing"]);
    place.verify("missing", "two.tlog-proof").cannot(&["missing"]);
}

#[test]
fn a_policy_of_another_log_leaves_it_unchecked() {
    let place = Place::with_receipt();
    place.write("log.policy", place.ok(&["log", "policy", "other"]));
    place.verify("two", "two.tlog-proof").cannot(&["no_trusted_signature"]);
    place
        .write("log.policy", "log\n")
        .verify("two", "two.tlog-proof")
        .cannot(&["line 1", "malformed_policy"]);
    place
        .run(&["verify", "--vkey", "a+b", "--entry", "two", "two.tlog-proof"])
        .cannot(&["malformed_verifier_key"]);
    let keys = place.ok(&["key", "show", "default"]);
    place.run(&["verify", "--vkey", keys.trim(), "--entry", "two", "two.tlog-proof"]).exits(0);
    place.run(&["verify", "--entry", "two", "two.tlog-proof"]).cannot(&["--policy"]);
}

#[test]
fn a_forged_signature_is_proven_not_to_hold() {
    let place = Place::with_receipt();
    let receipt = fs::read_to_string(place.path("two.tlog-proof")).unwrap();
    let (start, blob) = receipt.trim_end().rsplit_once(' ').unwrap();
    let mut bytes = attestlog_core::base64::parse(blob.as_bytes()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    place.write("forged", format!("{start} {}\n", attestlog_core::base64::format(&bytes)));
    let outcome = place.verify("two", "forged").exits(1);
    assert!(outcome.stdout.contains("bad_signature"), "{}", outcome.stdout);
}

#[test]
fn an_exported_bundle_is_verified_and_one_changed_entry_of_it_is_caught() {
    let place = Place::with_receipt();
    let manifest = place.json(&["export", "default", "--out", "all.tar", "--json"]);
    assert_eq!(manifest["count"], 3);
    place.run(&["verify", "--policy", "log.policy", "all.tar"]).exits(0);
    place.ok(&["export", "default", "--out", "part.tar", "--from", "1", "--to", "3"]);
    let outcome = place.run(&["verify", "--policy", "log.policy", "part.tar", "--json"]).exits(0);
    assert_eq!(parsed(&outcome.stdout)["first_index"], 1);
    for bundle in ["all.tar", "part.tar"] {
        let mut bytes = fs::read(place.path(bundle)).unwrap();
        let at = bytes.windows(5).position(|window| window == b"three").unwrap();
        bytes[at] = b'T';
        place.write(bundle, bytes);
        place.run(&["verify", "--policy", "log.policy", bundle]).exits(1);
    }
    place.run(&["verify", "--policy", "log.policy", "lines"]).cannot(&["malformed_bundle"]);
    place.run(&["export", "default", "--out", "x.tar", "--from", "3"]).cannot(&["covers 3 entries"]);
    assert!(!place.path("x.tar").exists());
}

/// A store whose log has four entries: two events of Ada's, one of Bob's, and what is no JSON.
fn with_events() -> Place {
    let place = Place::with_store();
    let event = |action: &str, actor: &str, name: &str, time: &str| {
        format!(
            r#"{{"action":"{action}","occurred_at":"{time}","actor":{{"type":"user","id":"{actor}","name":"{name}"}}}}"#
        )
    };
    let lines = [
        event("invoice.created", "ada", "=HYPERLINK(1)", "2026-11-20T08:00:00Z"),
        "no event, by ada".to_owned(),
        event("invoice.voided", "bob", "Bob", "2026-11-21T08:00:00Z"),
        event("login.failed", "ada", "Ada", "2026-11-22T08:00:00Z"),
    ];
    place.append("lines", lines.join("\n"));
    place.write("log.policy", place.ok(&["log", "policy", "default"]));
    place
}

#[test]
fn rows_are_exported_in_every_format_with_the_filters_of_a_search() {
    let place = with_events();
    let export =
        |more: &[&str]| place.ok(&[&["export", "default", "--out", "-", "--format"][..], more].concat());
    let indexes = |text: &str, name: &str| -> Vec<String> {
        let index =
            |line: &str| serde_json::from_str::<Value>(line).unwrap().pointer(name).unwrap().to_string();
        text.lines().map(index).collect()
    };
    assert_eq!(indexes(&export(&["ndjson"]), "/index"), ["0", "1", "2", "3"]);
    for (filter, expected) in [
        (&["--actor", "ada"][..], &["0", "3"][..]),
        (&["--actor", "user:ada", "--since", "2026-11-21"], &["3"]),
        (&["--action", "invoice.*"], &["0", "2"]),
        (&["--until", "2026-11-21T00:00:00Z"], &["0"]),
        (&["--outcome", "denied"], &[]),
        (&["--from", "1", "--to", "3"], &["1", "2"]),
        (&["--from", "1", "ada"], &["1", "3"]),
    ] {
        let lines = export(&[&["ndjson"], filter].concat());
        assert_eq!(indexes(&lines, "/index"), expected, "{filter:?}");
    }
    assert_eq!(indexes(&export(&["cloudevents", "--actor", "ada"]), "/id"), ["\"0\"", "\"3\""]);
    assert_eq!(indexes(&export(&["ocsf"]), "/class_uid"), ["6003", "0", "6003", "6003"]);
    let result = place.json(&["export", "default", "--out", "log.csv", "--format", "csv", "--json"]);
    assert_eq!((&result["count"], &result["tree_size"]), (&4.into(), &4.into()));
    let table = fs::read_to_string(place.path("log.csv")).unwrap();
    assert_eq!(table.lines().count(), 5);
    assert!(table.contains("\"ada\",\"'=HYPERLINK(1)\""), "{table}");
    assert_eq!(place.run(&["export", "default", "--out", "x", "--format", "csv"]).exits(0).stderr, "");
    let folder: Vec<_> =
        fs::read_dir(place.path("")).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert!(folder.iter().all(|name| !name.to_string_lossy().contains("partial")), "{folder:?}");
}

#[test]
fn what_a_filter_has_chosen_is_a_bundle_that_says_so() {
    let place = with_events();
    let manifest = place.json(&["export", "default", "--out", "ada.tar", "--actor", "ada", "--json"]);
    assert_eq!((&manifest["count"], &manifest["filter"]["actor"]), (&2.into(), &"ada".into()));
    let verified = place.ok(&["verify", "--policy", "log.policy", "ada.tar"]);
    assert!(verified.contains("chosen by a search"), "{verified}");
    place.run(&["export", "default", "--out", "x.tar", "--actor", "eve"]).cannot(&["no entry matches"]);
}

#[test]
fn an_export_that_cannot_be_says_why_and_leaves_what_was_there() {
    let place = with_events();
    place.write("kept", "what was there");
    for (call, reason) in [
        (&["--out", "-"][..], "a bundle needs a file"),
        (&["--out", "kept", "--format", "csv", "--receipts"], "--receipts"),
        (&["--out", "kept", "--format", "csv", "--from", "5"], "covers 4 entries"),
        (&["--out", "kept", "--format", "csv", "--to", "9"], "covers 4 entries"),
        (&["--out", "kept", "--format", "csv", "--since", "yesterday"], "since"),
        (&["--out", "missing/x", "--format", "csv"], "missing/x"),
    ] {
        place.run(&[&["export", "default"], call].concat()).cannot(&[reason]);
    }
    assert_eq!(fs::read_to_string(place.path("kept")).unwrap(), "what was there");
}

#[test]
fn a_reader_of_rows_may_stop_early() {
    let place = Place::with_store();
    place.append("lines", "a line of some length that fills the pipe\n".repeat(20_000));
    let mut command = place.command(&["export", "default", "--out", "-", "--format", "ndjson"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut first = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert_eq!(serde_json::from_str::<Value>(&first).unwrap()["index"], 0);
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[test]
fn a_changed_byte_in_the_database_file_is_named_by_fsck() {
    let place = Place::with_store();
    place.append("lines", "first entry\nsecond entry\nthird entry\n");
    let database = place.path("attestlog-data/attestlog.db");
    let mut bytes = fs::read(&database).unwrap();
    let mut changed = 0;
    for at in 0..bytes.len() - 12 {
        if &bytes[at..at + 12] == b"second entry" {
            bytes[at] ^= 1;
            changed += 1;
        }
    }
    assert!(changed > 0, "the entry is in the database file");
    fs::write(&database, bytes).unwrap();
    let outcome = place.run(&["fsck", "default"]).exits(1);
    assert!(outcome.stdout.contains("index 1:"), "{}", outcome.stdout);
    let outcome = place.run(&["fsck", "--json", "--workers", "2"]).exits(1);
    let reports: Value = serde_json::from_str(&outcome.stdout).unwrap();
    assert_eq!(reports[0]["findings"][0]["index"], 1);
    assert_eq!(reports[1]["findings_total"], 0);
}

#[test]
fn a_secret_that_is_missing_exposed_malformed_or_another_is_refused_before_anything_is_stored() {
    let place = Place::with_store();
    place.write("lines", "one\n");
    let append = ["append", "default", "lines"];
    let with_file = ["append", "default", "lines", "--secret-file", "wrong"];
    let secret = place.path("attestlog-data/secret");

    place.write("wrong", "hunter2");
    fs::set_permissions(place.path("wrong"), fs::Permissions::from_mode(0o600)).unwrap();
    let outcome = place.run(&with_file).cannot(&["wrong", "not an Attestlog secret"]);
    assert!(!outcome.stderr.contains("hunter2"));

    fs::remove_file(place.path("wrong")).unwrap();
    place.ok(&["key", "generate", "--out", "wrong"]);
    place.run(&with_file).cannot(&["not the one", "--secret-file"]);
    place.run(&["key", "show", "--secret-file", "wrong"]).cannot(&["not the one"]);

    fs::set_permissions(&secret, fs::Permissions::from_mode(0o640)).unwrap();
    place.run(&append).cannot(&["chmod 600"]);
    fs::set_permissions(&secret, fs::Permissions::from_mode(0o600)).unwrap();
    assert_eq!(place.size("default"), 0);

    let text = fs::read_to_string(&secret).unwrap();
    fs::remove_file(&secret).unwrap();
    place.run(&["serve", "--listen", "127.0.0.1:0"]).cannot(&["secret is missing", "--secret-file"]);
    let with_environment = place.command(&append).env("ATTESTLOG_SECRET", &text).output().unwrap();
    let outcome = Outcome::of(&append, with_environment).exits(0);
    assert!(!outcome.stderr.contains(text.trim()) && !outcome.stdout.contains(text.trim()));
    let outcome = place.run(&["append", "default", "lines", "--timeout", "0"]);
    outcome.cannot(&["no secret here", "a server has to sign", "do not append them again"]);
}

#[test]
fn a_generated_secret_is_private_never_printed_and_never_overwritten() {
    let place = Place::new();
    let said = place.ok(&["key", "generate", "--out", "mine"]);
    let secret = fs::read_to_string(place.path("mine")).unwrap();
    assert!(!said.contains(secret.split_whitespace().nth(1).unwrap()));
    assert_eq!(fs::metadata(place.path("mine")).unwrap().permissions().mode() & 0o777, 0o600);
    place.run(&["key", "generate", "--out", "mine"]).cannot(&["mine", "exists"]);
    assert_eq!(fs::read_to_string(place.path("mine")).unwrap(), secret);
    let shown = place.ok(&["key", "show", "--origin", "example.com/a", "--secret-file", "mine"]);
    assert!(shown.starts_with("example.com/a+"), "{shown}");
}

#[test]
fn a_database_that_is_down_or_none_at_all_is_said_so_without_its_password() {
    let place = Place::new();
    for call in [&["log", "list"][..], &["migrate"]] {
        let mut call = call.to_vec();
        call.extend(["--database", "postgres://user:hunter2@127.0.0.1:1/app"]);
        let outcome = place.run(&call).cannot(&["database is not available", "--database"]);
        assert!(!outcome.stderr.contains("hunter2"));
    }
    let call = ["log", "list", "--database", "mysql://user:hunter2@127.0.0.1/app"];
    let outcome = place.run(&call).cannot(&["postgres://"]);
    assert!(!outcome.stderr.contains("hunter2"));
}

#[test]
fn a_server_that_others_can_reach_does_not_start_without_a_token() {
    let place = Place::new();
    let outcome = place.run(&["serve", "--listen", "0.0.0.0:0"]);
    outcome.cannot(&["0.0.0.0:0", "--append-token-file", "127.0.0.1"]);
    place.write("token", "t\n");
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o644)).unwrap();
    let call = ["serve", "--listen", "0.0.0.0:0", "--append-token-file", "token"];
    place.run(&call).cannot(&["token", "chmod 600"]);
    place.run(&["serve", "--interval", "100"]).cannot(&["100ms"]);
    assert!(!place.path("attestlog-data").exists());
}

#[test]
fn commands_work_beside_a_running_server_and_after_it_has_stopped() {
    let place = Place::new();
    let mut server = Server::start(&place, &[]);
    assert_eq!(place.append("lines", "one\ntwo\n")["last_index"], 1);
    place.ok(&["receipt", "default", "1"]);
    place.ok(&["log", "create", "late", "--origin", "example.com/late"]);
    place.ok(&["append", "late", "lines"]);
    server.signal("-TERM");
    assert!(server.process.wait().unwrap().success());
    assert_eq!(place.append("lines", "three\n")["last_index"], 2);
    assert_eq!((place.size("default"), place.size("late")), (3, 2));
    place.ok(&["fsck"]);
}

#[test]
fn a_server_signs_for_a_command_that_has_no_secret() {
    let place = Place::with_store();
    fs::rename(place.path("attestlog-data/secret"), place.path("secret")).unwrap();
    let _server = Server::start(&place, &["--secret-file", "secret"]);
    assert_eq!(place.append("lines", "one\n")["size"], 1);
    place.ok(&["receipt", "default", "0"]);
}

#[test]
fn two_commands_append_at_once_and_every_entry_is_there_once() {
    let place = Place::with_store();
    let text = |name: &str| (0..3000).map(|number| format!("{name} {number}\n")).collect::<String>();
    place.write("a", text("a")).write("b", text("b"));
    let start = |file: &str| {
        let mut command = place.command(&["append", "default", file, "--json"]);
        command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
    };
    for child in [start("a"), start("b")] {
        Outcome::of(&["append"], child.wait_with_output().unwrap()).exits(0);
    }
    assert_eq!(place.size("default"), 6000);
    place.ok(&["export", "default", "--out", "all.tar"]);
    let archive = String::from_utf8_lossy(&fs::read(place.path("all.tar")).unwrap()).into_owned();
    for name in ["a", "b"] {
        let starts = format!("\"text\":\"{name} ");
        let numbers = archive.match_indices(&starts).map(|(at, found)| {
            let rest = &archive[at + found.len()..];
            rest[..rest.find('"').unwrap()].parse::<u32>().unwrap()
        });
        assert_eq!(numbers.collect::<Vec<_>>(), (0..3000).collect::<Vec<_>>(), "{name} in its order");
    }
    place.ok(&["fsck"]);
}

#[test]
fn everything_goes_through_a_server_too() {
    let place = Place::new();
    place.write("token", "correct horse\n");
    fs::set_permissions(place.path("token"), fs::Permissions::from_mode(0o600)).unwrap();
    let server = Server::start(&place, &["--append-token-file", "token"]);
    let client = Place::new();
    client.write("lines", "one\ntwo\n").write("events", "{\"a\":1}\n\n{\"a\":2}\n");
    let run = |call: &[&str]| client.run(&[call, &["--server", &server.address]].concat());
    let with_token = |call: &[&str]| {
        let call = [call, &["--server", &server.address]].concat();
        Outcome::of(&call, client.command(&call).env("ATTESTLOG_TOKEN", "correct horse").output().unwrap())
    };
    run(&["append", "default", "lines"]).cannot(&["401", "--token-file"]);
    run(&["log", "create", "mine", "--origin", "example.com/mine"]).cannot(&["401"]);
    with_token(&["log", "create", "mine", "--origin", "example.com/mine"]).exits(0);
    assert!(run(&["log", "list"]).exits(0).stdout.contains("example.com/mine"));

    let outcome = with_token(&["append", "mine", "lines", "--json"]).exits(0);
    assert_eq!(parsed(&outcome.stdout)["last_index"], 1);
    let outcome = with_token(&["append", "mine", "events", "--format", "ndjson", "--json"]).exits(0);
    assert_eq!(parsed(&outcome.stdout)["last_index"], 3);
    for _ in 0..2 {
        let call = ["append", "mine", "events", "--format", "ndjson", "--idempotency-prefix", "p", "--json"];
        let outcome = with_token(&call).exits(0);
        assert_eq!(parsed(&outcome.stdout)["last_index"], 5);
    }

    client.write("log.policy", run(&["log", "policy", "mine"]).exits(0).stdout);
    client.write("receipt", run(&["receipt", "mine", "3"]).exits(0).stdout);
    client.write("entry", "{\"a\":2}").verify("entry", "receipt").exits(0);
    run(&["receipt", "mine", "99"]).cannot(&["99"]);
    run(&["receipt", "nope", "0"]).cannot(&["nope"]);
    let down = ["log", "list", "--server", "http://127.0.0.1:1"];
    client.run(&down).cannot(&["http://127.0.0.1:1", "cannot be reached", "--server"]);
    client.run(&["log", "list", "--server", "127.0.0.1:1"]).cannot(&["http://"]);
}

#[test]
fn a_store_is_migrated_as_often_as_one_likes() {
    let place = Place::new();
    assert_eq!(place.json(&["migrate", "--json"])["changed"], true);
    assert_eq!(place.json(&["migrate", "--json"])["changed"], false);
    place.ok(&["log", "create", "a", "--origin", "example.com/a"]);
    assert_eq!(place.json(&["log", "list", "--json"]).as_array().unwrap().len(), 2);
}
