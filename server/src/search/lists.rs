//! Reads the postings of one condition in order: those of one term, or of several merged.

use std::collections::VecDeque;

use super::SearchError;
use super::block::Place;
use super::term::Term;
use crate::store::LogId;
use crate::store::search::{Direction, SearchStore, Seek};

/// The blocks of a term that are read the first time, and the most later.
const READ_AHEAD: (u32, u32) = (2, 16);

/// The ordered postings of some terms.
#[derive(Debug)]
pub(super) struct Lists {
    lists: Vec<List>,
    direction: Direction,
    /// Nothing beyond it counts.
    end: Place,
    blocks_at_once: u32,
}

#[derive(Debug)]
struct List {
    term: Term,
    ahead: VecDeque<Place>,
    /// What was read reaches up to here.
    from: Place,
    exhausted: bool,
}

impl Lists {
    /// The postings of these terms beyond `from`, up to and with `end`.
    pub(super) fn new(terms: Vec<Term>, direction: Direction, from: Place, end: Place) -> Self {
        let list = |term| List { term, ahead: VecDeque::new(), from, exhausted: false };
        let lists = terms.into_iter().map(list).collect();
        Self { lists, direction, end, blocks_at_once: READ_AHEAD.0 }
    }

    /// The only term, if there is one only.
    pub(super) fn single_term(&self) -> Option<&Term> {
        match self.lists.as_slice() {
            [list] => Some(&list.term),
            _ => None,
        }
    }

    /// How far the postings that are at hand reach; `None`: to the end. The condition that reaches furthest is the
    /// rarest one here.
    pub(super) fn reach(&self) -> Option<Place> {
        let open = self.lists.iter().filter(|list| !list.exhausted).map(|list| list.from);
        open.min_by(|a, b| self.direction.order(*a, *b))
    }

    /// The number of postings at hand.
    pub(super) fn at_hand(&self) -> usize {
        self.lists.iter().map(|list| list.ahead.len()).sum()
    }

    /// Reads on where nothing is at hand.
    pub(super) async fn read(&mut self, store: &dyn SearchStore, log: LogId) -> Result<(), SearchError> {
        let seeks: Vec<Seek> = self
            .lists
            .iter()
            .filter(|list| list.needs_more())
            .map(|list| Seek { term: list.term.clone(), from: list.from })
            .collect();
        if seeks.is_empty() {
            return Ok(());
        }
        let most = self.blocks_at_once;
        let found = store.blocks(log, &seeks, self.direction, self.end, most).await?;
        let (direction, end) = (self.direction, self.end);
        for (list, blocks) in self.lists.iter_mut().filter(|list| list.needs_more()).zip(found) {
            list.exhausted = blocks.len() < usize::try_from(most).unwrap_or(usize::MAX);
            for block in blocks {
                list.take(&block.unpack()?, direction, end);
            }
        }
        self.blocks_at_once = READ_AHEAD.1.min(most * 4);
        Ok(())
    }

    /// The next postings, at most `count`, each once; none at the end.
    pub(super) async fn next(
        &mut self,
        store: &dyn SearchStore,
        log: LogId,
        count: usize,
    ) -> Result<Vec<Place>, SearchError> {
        let mut places: Vec<Place> = Vec::with_capacity(count);
        while places.len() < count {
            if self.lists.iter().any(List::needs_more) {
                self.read(store, log).await?;
                continue;
            }
            let heads = self.lists.iter().filter_map(|list| list.ahead.front().copied());
            let Some(next) = heads.min_by(|a, b| self.direction.order(*a, *b)) else { break };
            for list in &mut self.lists {
                if list.ahead.front() == Some(&next) {
                    list.ahead.pop_front();
                }
            }
            places.push(next);
        }
        Ok(places)
    }
}

impl List {
    fn needs_more(&self) -> bool {
        self.ahead.is_empty() && !self.exhausted
    }

    /// Adds what counts of a block, whose places are ascending.
    fn take(&mut self, places: &[Place], direction: Direction, end: Place) {
        let from = self.from;
        match direction {
            Direction::Older => {
                self.ahead
                    .extend(places.iter().rev().copied().filter(|place| *place < from && *place >= end));
                self.from = places.first().copied().unwrap_or(from).min(from);
            }
            Direction::Newer => {
                self.ahead.extend(places.iter().copied().filter(|place| *place > from && *place <= end));
                self.from = places.last().copied().unwrap_or(from).max(from);
            }
        }
        // Past the end nothing counts, however many blocks there are.
        self.exhausted |= direction.order(self.from, end).is_ge();
    }
}
