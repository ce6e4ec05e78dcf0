//! Pages of a list: finding the place where a page begins, and reading on from there.

use super::cursor::Cursor;
use super::{Found, Search};
use crate::App;
use crate::model::Timestamp;
use crate::store::counters::{self, CELL_MS, Groups};
use crate::store::{Order, PlacedLead, Store, StoreError, keys};
use futures_util::future::{OptionFuture, join, join3, try_join_all};
use std::collections::{HashMap, VecDeque};
use std::ops::RangeInclusive;
use std::sync::{Mutex, PoisonError};

/// Reading and dropping this many leads is cheaper than another look at counters.
const SKIP_MAX: u64 = 300;
/// Most leads asked for in one call; about a megabyte, which is what DynamoDB gives at once.
const CHUNK_MAX: u64 = 5001;
/// By how much calls grow after one that did not suffice, because leads of it were dropped or lists are of
/// very different lengths.
const GROWTH: u64 = 4;
/// Fewest leads of each of several lists that are asked for in one call.
const CHUNK_MIN: u64 = 100;
/// Leads that one request reads where filters drop most of them, or an offset has no counters: some 20 calls, one
/// after the other, of a megabyte each. Its page then ends with what was found, and a cursor.
pub(super) const READ_MAX: usize = 100_000;

/// Where an offset of a list lies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    /// The cell that it is in.
    cell: i64,
    /// Whether the cell's seconds were asked, because it holds many leads.
    by_seconds: bool,
    /// The moment to read from.
    start: i64,
    /// How many leads to drop from there.
    skip: u64,
}

/// What counters say of an offset.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Lies {
    At(Place),
    /// In this cell; its seconds have to be asked.
    Within(i64),
    PastTheEnd,
}

/// Where offsets lay that this instance was asked for, and those that follow them. A page that is asked
/// for again, or that comes next, is read from there beside the counters that decide whether it is there
/// still: whoever pages by offset then waits for one round a page. Where it is not, it is read again.
#[derive(Debug, Default)]
pub struct Places(Mutex<HashMap<([u8; 32], u64), Place>>);

impl Places {
    const MAX: usize = 1000;

    fn get(&self, search: &Search<'_>) -> Option<Place> {
        let key = (*search.fingerprint(), search.query.offset);
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&key).copied()
    }

    fn note(&self, search: &Search<'_>, offset: u64, lies: Lies) {
        let Lies::At(place) = lies else { return };
        let mut places = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if places.len() >= Self::MAX {
            places.clear();
        }
        places.insert((*search.fingerprint(), offset), place);
    }
}

/// Counts of a list within a range of moments.
#[derive(Debug)]
struct Counted {
    /// Leads of the range in each cell.
    cells: Groups,
    /// Leads of the range's first cell that lie before the range.
    before: u64,
}

impl Search<'_> {
    /// The index that the page is ordered by.
    pub(super) fn order(&self) -> Order {
        match (&self.query.filters.updated, &self.source_list) {
            (None, None) => Order::BucketCreated,
            (None, Some(_)) => Order::SourceCreated,
            (Some(_), None) => Order::BucketUpdated,
            (Some(_), Some(_)) => Order::SourceUpdated,
        }
    }

    /// Key of the list that the endpoint answers from.
    fn own_list(&self) -> &str {
        self.source_list.as_ref().unwrap_or(&self.list)
    }

    pub(super) async fn by_list(&self, app: &App) -> Result<Found, StoreError> {
        let filters = &self.query.filters;
        let (Some(created), Some(updated)) =
            (filters.created.bounds(), filters.updated.unwrap_or_default().bounds())
        else {
            return Ok(Found { total: Some(0), ..Found::default() });
        };
        match (&filters.updated, &filters.statuses) {
            (None, None) => self.by_created(app, created).await,
            (None, Some(statuses)) => {
                let lists = statuses.iter().map(|status| keys::status_list(&self.list, status));
                let streams = lists.map(|list| self.stream(Order::StatusCreated, list, &created)).collect();
                self.read_on(&app.store, streams).await
            }
            (Some(_), _) => {
                let stream = self.stream(self.order(), self.own_list().to_owned(), &updated);
                self.read_on(&app.store, vec![stream]).await
            }
        }
    }

    /// Pages by creation: counters tell the total, and where an offset lies.
    async fn by_created(&self, app: &App, range: RangeInclusive<i64>) -> Result<Found, StoreError> {
        let (store, want) = (&app.store, self.query.limit + 1);
        let stream = self.stream(self.order(), self.own_list().to_owned(), &range);
        let read_at = |place: Place| {
            let first = keys::before_moment(place.start);
            read(store, Stream { first, ..stream.clone() }, place.skip, want)
        };
        let from_start = self.after.is_some() || self.query.offset == 0;
        let guess = if from_start { None } else { app.places.get(self) };
        let early: OptionFuture<_> = match guess {
            _ if from_start => Some(read(store, stream.clone(), 0, want)),
            guess => guess.map(read_at),
        }
        .into();
        let seconds: OptionFuture<_> =
            guess.filter(|place| place.by_seconds).map(|place| self.seconds(store, place.cell)).into();
        let (counted, early, seconds) = join3(self.counted(store, &range), early, seconds).await;
        let counted = counted?;
        let total: u64 = counted.cells.total();
        let mut leads = if from_start {
            early.transpose()?.unwrap_or_default()
        } else {
            let mut seconds = seconds.transpose()?;
            let mut lies = self.lies(&counted, &range, self.query.offset, seconds.as_ref());
            if let Lies::Within(cell) = lies {
                seconds = Some(self.seconds(store, cell).await?);
                lies = self.lies(&counted, &range, self.query.offset, seconds.as_ref());
            }
            let leads = match (lies, early) {
                (Lies::At(place), Some(early)) if guess == Some(place) => early?,
                (Lies::At(place), _) => read_at(place).await?,
                (Lies::Within(_) | Lies::PastTheEnd, _) => Vec::new(),
            };
            app.places.note(self, self.query.offset, lies);
            if leads.len() > self.query.limit {
                let next = self.query.offset + self.query.limit as u64;
                app.places.note(self, next, self.lies(&counted, &range, next, seconds.as_ref()));
            }
            leads
        };
        let more = leads.len() > self.query.limit;
        leads.truncate(self.query.limit);
        // Counters and index are read at slightly different moments; what was seen counts.
        let seen = if leads.is_empty() { 0 } else { self.skipped() + leads.len() as u64 + u64::from(more) };
        Ok(Found { leads, more, total: Some(total.max(seen)), ..Found::default() })
    }

    /// Where an offset lies, as far as the counters tell that were read.
    fn lies(
        &self,
        counted: &Counted,
        range: &RangeInclusive<i64>,
        offset: u64,
        seconds: Option<&(i64, Groups)>,
    ) -> Lies {
        let Some((cell, skip)) = counted.cells.locate(offset) else { return Lies::PastTheEnd };
        let first = cell == counters::cell_of(*range.start());
        if skip > SKIP_MAX {
            let Some((_, seconds)) = seconds.filter(|(of, _)| *of == cell) else { return Lies::Within(cell) };
            let rank = if first { skip + counted.before } else { skip };
            if let Some((second, skip)) = seconds.locate(rank) {
                return Lies::At(Place { cell, by_seconds: true, start: second * 1000, skip });
            }
        }
        let start = if first { *range.start() } else { counters::cell_start(cell) };
        Lies::At(Place { cell, by_seconds: false, start, skip })
    }

    /// The seconds of a whole cell.
    async fn seconds(&self, store: &Store, cell: i64) -> Result<(i64, Groups), StoreError> {
        let end = counters::cell_start(cell + 1) - 1;
        Ok((cell, store.seconds(self.own_list(), cell, end).await?))
    }

    /// Counts the range: whole cells from the months' counters, the ends from those of seconds,
    /// and parts of a second from the index. All at once.
    async fn counted(&self, store: &Store, range: &RangeInclusive<i64>) -> Result<Counted, StoreError> {
        let (from, to) = (*range.start(), *range.end());
        let whole_start = from % CELL_MS == 0;
        let whole_end = to == Timestamp::MAX.millis() || (to + 1) % CELL_MS == 0;
        let before: OptionFuture<_> = (!whole_start).then(|| self.within_cell(store, from)).into();
        let until: OptionFuture<_> = (!whole_end).then(|| self.within_cell(store, to + 1)).into();
        let (cells, before, until) = join3(store.cells(self.own_list(), range), before, until).await;
        let mut cells = cells?;
        let before = before.transpose()?.unwrap_or(0);
        if let Some(until) = until.transpose()? {
            cells.change(counters::cell_of(to), |_| until);
        }
        cells.change(counters::cell_of(from), |count| count.saturating_sub(before));
        Ok(Counted { cells, before })
    }

    /// How many leads the moment's cell holds before the moment. Of the moment's own second the
    /// shorter side is counted in the index.
    async fn within_cell(&self, store: &Store, moment: i64) -> Result<u64, StoreError> {
        let second = moment.div_euclid(1000);
        let (start, end) = (second * 1000, second * 1000 + 999);
        let late = moment - start > 500;
        let range = if late {
            keys::before_moment(moment)..=keys::after_moment(end)
        } else {
            keys::before_moment(start)..=keys::before_moment(moment)
        };
        let part: OptionFuture<_> =
            (moment != start).then(|| store.count(self.order(), self.own_list(), range)).into();
        let cell = counters::cell_of(moment);
        let (seconds, part) = join(store.seconds(self.own_list(), cell, moment), part).await;
        let seconds = seconds?;
        let part = match part.transpose()? {
            Some(after) if late => seconds.within(second).saturating_sub(after),
            part => part.unwrap_or(0),
        };
        Ok(seconds.before(second) + part)
    }

    /// Pages of what has no counters: reads on from the start, or from the cursor.
    async fn read_on(&self, store: &Store, streams: Vec<Stream>) -> Result<Found, StoreError> {
        let skip = self.after.as_ref().map_or(self.query.offset, |cursor| cursor.skip);
        let want = self.query.limit + 1;
        let accept = |placed: &PlacedLead| {
            self.query.filters.accept(&placed.lead)
                && (self.source_list.is_none() || placed.source_list == self.source_list)
        };
        let merged = merge(store, streams, skip, want, self.read_max, accept).await?;
        let mut leads = merged.leads;
        let more = leads.len() > self.query.limit;
        leads.truncate(self.query.limit);
        let before = self.after.as_ref().map_or(0, |cursor| cursor.position);
        let stopped = merged.stopped_at.filter(|_| !more).map(|key| Cursor {
            position: before + merged.skipped + leads.len() as u64,
            skip: skip - merged.skipped,
            key,
        });
        let total = (!more && stopped.is_none()).then(|| before + merged.skipped + leads.len() as u64);
        Ok(Found { leads, more, total, missing: None, stopped })
    }

    fn stream(&self, order: Order, list: String, range: &RangeInclusive<i64>) -> Stream {
        let start = keys::before_moment(*range.start());
        let first = match &self.after {
            // The least text behind the last lead's place.
            Some(cursor) => start.max(format!("{}\u{1}", cursor.key)),
            None => start,
        };
        let last = keys::after_moment(*range.end());
        Stream { order, list, first, last, buffer: VecDeque::new(), exhausted: false }
    }
}

/// One list on its way through an index.
#[derive(Clone, Debug)]
struct Stream {
    order: Order,
    list: String,
    first: String,
    last: String,
    buffer: VecDeque<PlacedLead>,
    exhausted: bool,
}

impl Stream {
    async fn refill(&mut self, store: &Store, limit: usize) -> Result<(), StoreError> {
        if self.exhausted || !self.buffer.is_empty() {
            return Ok(());
        }
        if self.first > self.last {
            self.exhausted = true;
            return Ok(());
        }
        let page = store.page(self.order, &self.list, self.first.clone()..=self.last.clone(), limit).await?;
        self.exhausted = page.exhausted;
        if let Some(last) = page.leads.last() {
            self.first = format!("{}\u{1}", self.order.sort_key(&last.lead));
        }
        self.buffer = page.leads.into();
        Ok(())
    }
}

struct Merged {
    leads: Vec<PlacedLead>,
    skipped: u64,
    /// Place of the last lead that was looked at, where enough was read before enough was found.
    stopped_at: Option<String>,
}

/// Reads one list on, without a filter.
async fn read(store: &Store, stream: Stream, skip: u64, want: usize) -> Result<Vec<PlacedLead>, StoreError> {
    Ok(merge(store, vec![stream], skip, want, usize::MAX, |_| true).await?.leads)
}

/// Merges lists in the order they share, drops what is not accepted, skips, and takes; until enough was found, or
/// more than `read_max` was looked at.
async fn merge(
    store: &Store,
    mut streams: Vec<Stream>,
    skip: u64,
    want: usize,
    read_max: usize,
    accept: impl Fn(&PlacedLead) -> bool,
) -> Result<Merged, StoreError> {
    let mut merged = Merged { leads: Vec::new(), skipped: 0, stopped_at: None };
    // Where leads are dropped, asking for what is left only would take ever more calls.
    let (mut floor, mut dropped) = (0, false);
    // Each of several lists holds a part of the page only; or one of them all of it.
    let lists = streams.len() as u64;
    let mut share = if lists > 1 { CHUNK_MIN } else { CHUNK_MAX };
    // And all of them together no more than one would.
    let most = CHUNK_MAX.min((read_max as u64 / lists.max(1)).max(CHUNK_MIN));
    let mut seen = 0;
    // The place of the last one that was taken.
    let mut last: Option<String> = None;
    loop {
        let left = (skip - merged.skipped) + (want - merged.leads.len()) as u64;
        if dropped {
            floor = (floor.max(left) * GROWTH).min(most);
        }
        dropped = false;
        share = share.max((2 * left).div_ceil(lists.max(1)));
        let chunk = left.min(share).max(floor).min(most);
        share = (share * GROWTH).min(CHUNK_MAX);
        let chunk = usize::try_from(chunk).unwrap_or(usize::MAX);
        try_join_all(streams.iter_mut().map(|stream| stream.refill(store, chunk))).await?;
        // Until one that may hold more runs dry, the least of all heads is the next.
        while merged.leads.len() < want {
            let heads = streams.iter().enumerate().filter_map(|(at, stream)| {
                stream.buffer.front().map(|placed| (stream.order.sort_key(&placed.lead), at))
            });
            let least = if streams.len() == 1 {
                streams[0].buffer.front().map(|_| 0)
            } else {
                heads.min().map(|(_, at)| at)
            };
            let Some(stream) = least.and_then(|at| streams.get_mut(at)) else { return Ok(merged) };
            let Some(placed) = stream.buffer.pop_front() else { return Ok(merged) };
            let is_dry = stream.buffer.is_empty() && !stream.exhausted;
            seen += 1;
            // Costs, so not for each lead of a single list.
            let key = (lists > 1 || seen > read_max).then(|| stream.order.sort_key(&placed.lead));
            // One whose status changes meanwhile may be in the list that it left and in the one that it came to.
            let is_again = key.is_some() && last == key;
            let accepted = Some(placed).filter(&accept);
            last = key.clone().filter(|_| accepted.is_some());
            match accepted {
                None => dropped = true,
                Some(placed) if is_again => {
                    let same = merged.leads.last_mut().filter(|known| known.lead.id == placed.lead.id);
                    if let Some(known) =
                        same.filter(|known| known.lead.updated_date < placed.lead.updated_date)
                    {
                        *known = placed;
                    }
                }
                Some(_) if merged.skipped < skip => merged.skipped += 1,
                Some(placed) => merged.leads.push(placed),
            }
            if seen > read_max && merged.leads.len() < want {
                merged.stopped_at = key;
                return Ok(merged);
            }
            if is_dry {
                break;
            }
        }
        if merged.leads.len() >= want {
            return Ok(merged);
        }
    }
}
