//! The head that was kept of a log, and how one that the log shows now is compared with it.

use std::io;

use attestlog_core::{Checkpoint, LogRead};

use super::Evidence;
use super::answers::Answers;
use super::heads::Heads;
use super::trust::Trust;
use crate::read_error::ReadError;

/// Each failure to replace it means that another process did; so many in a row mean that the store is broken.
const MOST_TRIES: u32 = 20;

/// How a head stands to the one that was kept when the log was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Age {
    Newest,
    Older,
}

#[derive(Debug)]
pub(super) struct KeptHead {
    heads: Heads,
}

impl KeptHead {
    pub(super) const fn new(heads: Heads) -> Self {
        Self { heads }
    }

    /// The signed note that is kept.
    pub(super) async fn get(&self) -> Result<Option<String>, ReadError> {
        self.ask(Heads::get).await
    }

    pub(super) async fn evidence(&self) -> Result<Vec<Evidence>, ReadError> {
        self.ask(Heads::evidence).await
    }

    /// Compares `shown` with what is kept, and keeps it if it is newer. `before` is the note that was kept when the log
    /// was asked: a head that another process kept since then does not make this one old.
    pub(super) async fn accept(
        &self,
        answers: &Answers,
        trust: &Trust,
        shown: &Checkpoint,
        before: Option<String>,
    ) -> Result<Age, ReadError> {
        let mut note = before;
        for tries in 0..MOST_TRIES {
            if let Some(note) = &note {
                let kept = trust.open_kept(note.as_bytes()).map_err(unavailable)?;
                self.compare(answers, &kept, shown).await?;
                if shown.size() < kept.size() {
                    return Ok(if tries > 0 { Age::Newest } else { Age::Older });
                }
                if shown.size() == kept.size() {
                    return Ok(Age::Newest);
                }
            }
            let (expected, next) = (note, shown.format());
            if self.ask(move |heads| heads.replace(expected.as_deref(), &next)).await? {
                return Ok(Age::Newest);
            }
            note = self.get().await?;
        }
        Err(unavailable("not replaced"))
    }

    /// Proves that the larger of the two trees begins with the smaller one. The verdict stands, and carries the
    /// evidence, also where that cannot be kept.
    pub(super) async fn compare(
        &self,
        answers: &Answers,
        kept: &Checkpoint,
        shown: &Checkpoint,
    ) -> Result<(), ReadError> {
        let (old, new) = if shown.size() < kept.size() { (shown, kept) } else { (kept, shown) };
        let read = LogRead::consistency(old.size(), new.size())
            .map_err(|error| ReadError::of(error.into(), "checkpoint", Some(shown)))?;
        let (old, new) = (old.head(), new.head());
        let compared = answers.proven(&read, Some(shown), |parts| read.verify_consistency(parts, &old, &new));
        match compared.await {
            Err(error) if error.is_rewritten() => {
                let evidence = Evidence { kept: kept.format(), shown: shown.format() };
                let added = evidence.clone();
                let _ = self.ask(move |heads| heads.add_evidence(added)).await;
                Err(ReadError::rewritten(evidence.kept, evidence.shown))
            }
            // Any other failure only says that an answer was wrong, and proves nothing about the two heads.
            compared => compared,
        }
    }

    async fn ask<T: Send + 'static>(
        &self,
        question: impl FnOnce(&Heads) -> io::Result<T> + Send + 'static,
    ) -> Result<T, ReadError> {
        let heads = self.heads.clone();
        let asked = tokio::task::spawn_blocking(move || question(&heads)).await;
        asked.map_err(unavailable)?.map_err(unavailable)
    }
}

fn unavailable(why: impl std::fmt::Display) -> ReadError {
    ReadError::unchecked("heads_unavailable", format!("the head that was kept: {why}"))
}
