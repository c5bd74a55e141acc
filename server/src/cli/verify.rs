//! `attestlog verify`: checks a receipt, or an exported bundle, without network and store.

use std::path::{Path, PathBuf};

use attestlog_core::{Checkpoint, Error, ParseError, Policy, Receipt, VerifierKey};
use attestlog_server::bundle::{self, BundleError, BundleReport};
use clap::Args;
use serde_json::{Value, json};

use super::failure::Failure;
use super::{Verdict, output};

/// The most bytes that a policy or a receipt may have; a larger file is neither.
const MAX_TEXT_BYTES: u64 = 2 * 1024 * 1024;

/// Check that an entry is in the log, by its receipt; or check a whole exported bundle. Works offline
///
/// What is checked: the log of the policy has signed a head, enough witnesses have cosigned it, and the exact bytes of
/// the entry lead to that head. What is not: that what the entry says is true, and that the head is the newest one.
#[derive(Debug, Args)]
#[command(after_long_help = examples!(
    "attestlog verify --policy log.policy --entry line.txt x.tlog-proof",
    "attestlog verify --vkey 'log.example.com/a+33d7b496+AeHT…' --entry line.txt x.tlog-proof",
    "attestlog verify --policy log.policy bundle.tar",
))]
pub(crate) struct Verify {
    /// Whom to trust: a tlog-policy file, as "attestlog log policy" prints it
    #[arg(long, value_name = "FILE", required_unless_present = "vkey")]
    policy: Option<PathBuf>,
    /// Trust the log with this vkey, and ask for no witness, instead of a policy
    #[arg(long, conflicts_with = "policy")]
    vkey: Option<String>,
    /// The file with the entry's bytes; without it, an exported bundle is checked
    #[arg(long, value_name = "FILE")]
    entry: Option<PathBuf>,
    /// Do not try the file without its final newline
    #[arg(long, requires = "entry")]
    exact: bool,
    /// Print the verdict as JSON
    #[arg(long)]
    json: bool,
    /// The receipt (.tlog-proof), or the exported bundle
    #[arg(value_name = "RECEIPT|BUNDLE")]
    file: PathBuf,
}

/// What was verified.
struct Proven {
    index: u64,
    checkpoint: Checkpoint,
    without_newline: bool,
}

impl Verify {
    pub(crate) fn run(&self) -> Result<Verdict, Failure> {
        let policy = self.read_policy()?;
        match &self.entry {
            Some(entry) => self.verify_receipt(&policy, entry),
            None => self.verify_bundle(&policy),
        }
    }

    fn read_policy(&self) -> Result<Policy, Failure> {
        if let Some(vkey) = &self.vkey {
            let policy = VerifierKey::parse(vkey).and_then(Policy::for_log);
            return policy
                .map_err(|error| Failure::new(format!("--vkey {vkey}: {error} ({})", error.code())));
        }
        let Some(path) = &self.policy else { return Err(Failure::new("--policy or --vkey is missing")) };
        Policy::parse(read(path, MAX_TEXT_BYTES)?).map_err(|error| {
            Failure::new(format!("{}: {error} ({})", path.display(), ParseError::Policy.code()))
        })
    }

    fn verify_receipt(&self, policy: &Policy, entry: &Path) -> Result<Verdict, Failure> {
        // One byte more than an entry and its newline: enough to tell that nothing of it can be proven.
        let bytes = read(entry, attestlog_core::MAX_ENTRY_SIZE as u64 + 2)?;
        let receipt = read(&self.file, MAX_TEXT_BYTES)?;
        let proven = Receipt::parse(&receipt).map_err(Error::from).and_then(|receipt| {
            let (checkpoint, without_newline) = self.prove(&receipt, &bytes, policy)?;
            Ok(Proven { index: receipt.index().0, checkpoint, without_newline })
        });
        match proven {
            Ok(proven) => self.report_proven(entry, &proven),
            Err(error) => self.report_failed(entry, &error),
        }
    }

    /// The entry is the file's bytes; or, since editors and `grep` add it, those without one final newline.
    fn prove(&self, receipt: &Receipt, bytes: &[u8], policy: &Policy) -> Result<(Checkpoint, bool), Error> {
        let error = match receipt.verify(bytes, policy) {
            Ok(checkpoint) => return Ok((checkpoint, false)),
            Err(error) => error,
        };
        match bytes.strip_suffix(b"\n").filter(|_| !self.exact) {
            Some(shorter) => receipt.verify(shorter, policy).map(|checkpoint| (checkpoint, true)),
            None => Err(error),
        }
        .map_err(|_| error)
    }

    fn verify_bundle(&self, policy: &Policy) -> Result<Verdict, Failure> {
        let file = self.file.display();
        let error = match bundle::verify_bundle(&self.file, policy) {
            Ok(report) if self.json => {
                let mut value = json!(report);
                if let Value::Object(fields) = &mut value {
                    fields.insert("verdict".into(), "holds".into());
                }
                return output::json(&value).map(|()| Verdict::Holds);
            }
            Ok(BundleReport { origin, tree_size, first_index, count, filter, .. }) => {
                let found = if filter.is_some() {
                    "; they were chosen by a search, which proves nothing of others"
                } else {
                    ""
                };
                let text = format!(
                    "holds: the {count} entries of {file}, from index {first_index}, are those of {origin}, under its \
                     signed head of size {tree_size}{found}"
                );
                return output::line(&text).map(|()| Verdict::Holds);
            }
            Err(error) => error,
        };
        let code = error.code();
        let evidence = matches!(error, BundleError::NotProven { .. });
        self.report_verdict(evidence, code, &error.to_string())?;
        if evidence {
            let text = format!("does not hold: {file}: {error} ({code})");
            if self.json {
                eprintln!("{text}")
            } else {
                output::line(&text)?
            }
            return Ok(Verdict::DoesNotHold);
        }
        Err(Failure::new(format!("{file}: {error} ({code})")))
    }

    /// What JSON says when nothing was proven.
    fn report_verdict(&self, evidence: bool, code: &str, detail: &str) -> Result<(), Failure> {
        if !self.json {
            return Ok(());
        }
        let verdict = if evidence { "does_not_hold" } else { "not_checked" };
        output::json(&json!({ "verdict": verdict, "code": code, "detail": detail }))
    }

    fn report_proven(&self, entry: &Path, proven: &Proven) -> Result<Verdict, Failure> {
        let Proven { index, checkpoint, without_newline } = proven;
        let (origin, size) = (checkpoint.origin(), checkpoint.size().0);
        if self.json {
            output::json(&json!({
                "verdict": "holds", "origin": origin, "index": index, "size": size,
                "root": checkpoint.root().to_string(), "final_newline_left_out": without_newline,
            }))?;
        } else {
            let file = entry.display();
            output::line(&format!(
                "holds: {file} is entry {index} of {origin}, under its signed head of size {size}"
            ))?;
            if *without_newline {
                output::line("note: the file's final newline is not part of the entry")?;
            }
        }
        Ok(Verdict::Holds)
    }

    fn report_failed(&self, entry: &Path, error: &Error) -> Result<Verdict, Failure> {
        self.report_verdict(matches!(error, Error::Verify(_)), error.code(), &error.to_string())?;
        let (entry, receipt, code) = (entry.display(), self.file.display(), error.code());
        match error {
            Error::Verify(_) => {
                let text = format!("does not hold: {receipt} does not prove {entry}: {error} ({code})");
                if self.json {
                    eprintln!("{text}")
                } else {
                    output::line(&text)?
                }
                Ok(Verdict::DoesNotHold)
            }
            Error::Parse(_) => Err(Failure::new(format!(
                "{receipt}: {error} ({code})\nGet the receipt again: it may have been cut or changed on its way"
            ))),
            Error::Unchecked(_) => Err(Failure::new(format!(
                "not checked: {receipt}: {error} ({code})\nUse the policy of the log that the receipt is from"
            ))),
        }
    }
}

/// Reads a file, at most `limit` bytes of it.
fn read(path: &Path, limit: u64) -> Result<Vec<u8>, Failure> {
    use std::io::Read;
    let mut bytes = Vec::new();
    let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
    read.map_err(|error| Failure::io(path, &error))?;
    Ok(bytes)
}
