//! Finds events: reads the postings of the rarest condition in order, and keeps those that the others have too.
//!
//! Whichever condition's first postings reach furthest is the rarest where the page begins. For its next postings the
//! other conditions' blocks are asked, the neighbouring ones at once and then those in which single places would be. So
//! a page costs about the same for a rare word, a common one, or both, wherever it is.

use std::cmp::Ordering;
use std::collections::HashSet;

use attestlog_core::{LeafIndex, TreeSize};

use super::block::{BadBlock, Place};
use super::fields::Fields;
use super::filter::{Condition, Filter};
use super::lists::Lists;
use super::term::Term;
use crate::store::search::{Direction, EVENTS_AT_ONCE, SearchStore, Seek};
use crate::store::{LogId, Store, StoreError};

/// The most terms that one beginning may stand for.
pub const MAX_EXPANSION: u32 = 256;

/// The postings that are looked at together: at first, at most, and at most where their entries are read as well.
const LOOK_AT: (usize, usize, usize) = (128, 2048, EVENTS_AT_ONCE);

/// After so many postings a page is given as it is, and says where to go on. An entry that is read counts as many.
const MOST_LOOKED_AT: usize = 20_000;

/// What reading an entry counts, or a block of a condition that is not the rarest, in postings.
const READING: usize = 16;

/// After so many postings nothing more is counted: of a single term, and of several, which take more work.
const MOST_COUNTED: (usize, usize) = (2_000, 1_000);

/// Why nothing is found.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SearchError {
    /// A beginning stands for too many different words or actions.
    #[error(
        "more than {MAX_EXPANSION} different words or actions begin like this: give more of it before the *"
    )]
    TooBroad,
    /// The index cannot be read.
    #[error(transparent)]
    BadBlock(#[from] BadBlock),
    /// The database.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// An event that was searched for, read from its entry.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hit {
    /// Its index.
    pub index: LeafIndex,
    /// Its time: what it says, or else when it was appended.
    pub time: i64,
    /// What it says.
    pub fields: Fields,
    /// Its bytes.
    pub data: Vec<u8>,
}

/// Some of the events that were searched for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Found {
    /// In the direction's order.
    pub hits: Vec<Hit>,
    /// Where the rest of them begins, if there may be a rest. There may be fewer hits than were asked for and a rest.
    pub rest: Option<Place>,
    /// The hits that there are, counted up to the number that was asked for.
    pub counted: u64,
    /// Whether there are, or may be, more than were counted.
    pub more: bool,
}

/// What is searched for, and where.
#[derive(Clone, Debug)]
pub struct Search<'a> {
    /// The database.
    pub store: &'a dyn Store,
    /// The log.
    pub log: LogId,
    /// Entries from this index on are not shown.
    pub size: TreeSize,
    /// What the events must be.
    pub filter: &'a Filter,
}

/// What a walk has found so far.
#[derive(Default)]
struct Walk {
    places: Vec<Place>,
    looked_at: usize,
    last: Option<Place>,
    exhausted: bool,
}

impl Search<'_> {
    /// Finds the next events beyond `from`, at most `limit`, and counts at most `count` of them.
    ///
    /// To get all of them, the newest first, begin with [`Place::LAST`] and go on from [`Found::rest`] while there is
    /// one.
    ///
    /// # Errors
    /// [`SearchError`].
    pub async fn find(
        &self,
        direction: Direction,
        from: Place,
        limit: usize,
        count: usize,
    ) -> Result<Found, SearchError> {
        // One more than is shown, to know whether there is a rest.
        let walk = self.walk(direction, from, limit.saturating_add(1), count.saturating_add(1)).await?;
        let rest = match (walk.places.get(limit.saturating_sub(1)), walk.places.len() > limit) {
            (Some(last_shown), true) => Some(*last_shown),
            _ if walk.exhausted => None,
            _ => walk.last,
        };
        let shown: Vec<Place> = walk.places.iter().take(limit).copied().collect();
        let hits = self.hits(&shown).await?;
        let counted = walk.places.len().min(count);
        let more = walk.places.len() > counted || !walk.exhausted;
        Ok(Found { hits, rest, counted: counted as u64, more })
    }

    /// Finds at least `needed` places unless that takes too long, and up to `wanted` where that takes little.
    async fn walk(
        &self,
        direction: Direction,
        from: Place,
        needed: usize,
        wanted: usize,
    ) -> Result<Walk, SearchError> {
        let mut walk = Walk::default();
        let Some((mut rarest, others)) = self.open(direction, from).await? else {
            walk.exhausted = true;
            return Ok(walk);
        };
        // Of a condition with several terms it is the entry that says whether it holds.
        let must_have: Vec<&Term> = others.iter().filter_map(Lists::single_term).collect();
        let is_simple = others.is_empty() && rarest.single_term().is_some();
        let most_counted = if is_simple { MOST_COUNTED.0 } else { MOST_COUNTED.1 };
        let check = must_have.len() < others.len() || self.filter.is_more_than_conditions();
        let mut look_at = LOOK_AT.0;
        while walk.places.len() < needed.max(wanted) {
            let enough = walk.places.len() >= needed;
            if walk.looked_at >= if enough { most_counted } else { MOST_LOOKED_AT } || (enough && check) {
                return Ok(walk);
            }
            let mut places = rarest.next(self.store.search(), self.log, look_at).await?;
            let Some(last) = places.last().copied() else {
                walk.exhausted = true;
                return Ok(walk);
            };
            walk.looked_at += places.len();
            walk.last = Some(last);
            places.retain(|place| place.index < self.size.0);
            for term in &must_have {
                let blocks;
                (places, blocks) = self.keep(term, places).await?;
                walk.looked_at += blocks * READING;
            }
            if check {
                walk.looked_at += places.len() * READING;
                places = self.checked(places).await?;
            }
            walk.places.extend(places);
            look_at = if check { LOOK_AT.2 } else { LOOK_AT.1 }.min(look_at * 2);
        }
        Ok(walk)
    }

    /// The rarest condition's postings, and the others', the rarer first; `None` if there can be no hit.
    async fn open(
        &self,
        direction: Direction,
        from: Place,
    ) -> Result<Option<(Lists, Vec<Lists>)>, SearchError> {
        let (from, end) = self.span(direction, from);
        let mut all = Vec::new();
        for condition in self.filter.conditions() {
            let terms = self.terms(condition).await?;
            let mut lists = Lists::new(terms, direction, from, end);
            lists.read(self.store.search(), self.log).await?;
            if lists.at_hand() == 0 && lists.reach().is_none() {
                return Ok(None);
            }
            all.push(lists);
        }
        all.sort_by(|a, b| match (a.reach(), b.reach()) {
            (None, None) => a.at_hand().cmp(&b.at_hand()),
            (None, Some(_)) => Ordering::Less,
            (Some(_), None) => Ordering::Greater,
            // The one that reaches further comes first.
            (Some(a), Some(b)) => direction.order(b, a),
        });
        let others = all.split_off(1.min(all.len()));
        Ok(all.pop().map(|rarest| (rarest, others)))
    }

    /// From where to where to look, both within the filter's times: beyond the first, up to the second.
    fn span(&self, direction: Direction, from: Place) -> (Place, Place) {
        let (since, until) = self.filter.times();
        let first = since.map_or(Place::FIRST, |time| Place { time, index: 0 });
        let until = until.map_or(Place::LAST, |time| Place { time, index: 0 });
        match direction {
            Direction::Older => (from.min(until), first),
            Direction::Newer => {
                let before_until = until.time.checked_sub(1).filter(|_| until != Place::LAST);
                let last = before_until.map_or(until, |time| Place { time, ..Place::LAST });
                let before_first = Place { time: first.time.saturating_sub(1), ..Place::LAST };
                (from.max(before_first), last)
            }
        }
    }

    async fn terms(&self, condition: Condition) -> Result<Vec<Term>, SearchError> {
        match condition {
            Condition::Has(term) => Ok(vec![term]),
            Condition::HasOneOf(low, high) => {
                let terms = self.store.search().terms(self.log, &low, &high, MAX_EXPANSION + 1).await?;
                if terms.len() > usize::try_from(MAX_EXPANSION).unwrap_or(usize::MAX) {
                    return Err(SearchError::TooBroad);
                }
                Ok(terms)
            }
        }
    }

    /// Those of the places that a term has too, and how many of its blocks were read for it.
    async fn keep(&self, term: &Term, mut places: Vec<Place>) -> Result<(Vec<Place>, usize), SearchError> {
        let (Some(lowest), Some(highest)) = (places.iter().min().copied(), places.iter().max().copied())
        else {
            return Ok((places, 0));
        };
        // Where the term is not much more common, its blocks side by side; then the places that these do not reach.
        let most = u32::try_from(places.len() / 4).unwrap_or(u32::MAX).max(4);
        let seek = Seek { term: term.clone(), from: highest.successor() };
        let store: &dyn SearchStore = self.store.search();
        let found = store.blocks(self.log, &[seek], Direction::Older, lowest, most).await?;
        let mut blocks = found.into_iter().next().unwrap_or_default();
        let reached = match blocks.last() {
            Some(last) if blocks.len() >= usize::try_from(most).unwrap_or(usize::MAX) => last.first,
            _ => Place::FIRST,
        };
        let mut beyond: Vec<Place> = places.iter().copied().filter(|place| *place < reached).collect();
        if !beyond.is_empty() {
            beyond.sort_unstable();
            blocks.extend(store.blocks_at(self.log, term, &beyond).await?);
        }
        let (mut has, read) = (Vec::new(), blocks.len());
        for block in blocks {
            has.extend(block.unpack()?);
        }
        has.sort_unstable();
        places.retain(|place| has.binary_search(place).is_ok());
        Ok((places, read))
    }

    /// Those of the places whose entries match.
    async fn checked(&self, places: Vec<Place>) -> Result<Vec<Place>, SearchError> {
        let matching: HashSet<u64> = self.hits(&places).await?.iter().map(|hit| hit.index.0).collect();
        Ok(places.into_iter().filter(|place| matching.contains(&place.index)).collect())
    }

    /// The events at these places, in their order, without those that do not match: an index that is wrong finds less,
    /// and nothing else.
    async fn hits(&self, places: &[Place]) -> Result<Vec<Hit>, SearchError> {
        if places.is_empty() {
            return Ok(Vec::new());
        }
        let indexes: Vec<u64> = places.iter().map(|place| place.index).collect();
        let events = self.store.search().events(self.log, &indexes).await?;
        let mut by_index = std::collections::HashMap::with_capacity(events.len());
        for event in events {
            let (fields, time) = event.read();
            if self.filter.matches(&fields, time) {
                by_index.insert(event.index.0, Hit { index: event.index, time, fields, data: event.data });
            }
        }
        Ok(places.iter().filter_map(|place| by_index.remove(&place.index)).collect())
    }
}
