//! Pages of a list: finding the place where a page begins, and reading on from there.

use super::{Found, Search};
use crate::model::Timestamp;
use crate::store::counters::{self, CELL_MS};
use crate::store::{Order, PlacedLead, Store, StoreError, keys};
use futures_util::future::{OptionFuture, join, join3, try_join_all};
use std::collections::{BTreeMap, VecDeque};
use std::ops::RangeInclusive;

/// Reading and dropping this many leads is cheaper than another look at counters.
const SKIP_MAX: u64 = 300;
/// Most leads asked for in one call; about a megabyte, which is what DynamoDB gives at once.
const CHUNK_MAX: u64 = 5001;
/// By how much calls grow after one that did not suffice, because leads of it were dropped.
const GROWTH: u64 = 4;

/// Counts of a list within a range of moments.
#[derive(Debug)]
struct Counted {
    /// Leads of the range in each cell.
    cells: BTreeMap<i64, u64>,
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

    pub(super) async fn by_list(&self, store: &Store) -> Result<Found, StoreError> {
        let filters = &self.query.filters;
        let (Some(created), Some(updated)) =
            (filters.created.bounds(), filters.updated.unwrap_or_default().bounds())
        else {
            return Ok(Found { total: Some(0), ..Found::default() });
        };
        match (&filters.updated, &filters.statuses) {
            (None, None) => self.by_created(store, created).await,
            (None, Some(statuses)) => {
                let lists = statuses.iter().map(|status| keys::status_list(&self.list, status));
                let streams = lists.map(|list| self.stream(Order::StatusCreated, list, &created)).collect();
                self.read_on(store, streams).await
            }
            (Some(_), _) => {
                let stream = self.stream(self.order(), self.own_list().to_owned(), &updated);
                self.read_on(store, vec![stream]).await
            }
        }
    }

    /// Pages by creation: counters tell the total, and where an offset lies.
    async fn by_created(&self, store: &Store, range: RangeInclusive<i64>) -> Result<Found, StoreError> {
        let mut stream = self.stream(self.order(), self.own_list().to_owned(), &range);
        let want = self.query.limit + 1;
        let from_start = self.after.is_some() || self.query.offset == 0;
        let early: OptionFuture<_> = from_start.then(|| read(store, stream.clone(), 0, want)).into();
        let (counted, early) = join(self.counted(store, &range), early).await;
        let counted = counted?;
        let total: u64 = counted.cells.values().sum();
        let mut leads = match early {
            Some(leads) => leads?,
            None => match self.place(store, &counted, &range).await? {
                None => Vec::new(),
                Some((start, skip)) => {
                    stream.first = keys::before_moment(start);
                    read(store, stream, skip, want).await?
                }
            },
        };
        let more = leads.len() > self.query.limit;
        leads.truncate(self.query.limit);
        // Counters and index are read at slightly different moments; what was seen counts.
        let seen = if leads.is_empty() { 0 } else { self.skipped() + leads.len() as u64 + u64::from(more) };
        Ok(Found { leads, more, total: Some(total.max(seen)), missing: None })
    }

    /// The moment to read from for the query's offset, and how many leads to drop from there;
    /// `None` past the end.
    async fn place(
        &self,
        store: &Store,
        counted: &Counted,
        range: &RangeInclusive<i64>,
    ) -> Result<Option<(i64, u64)>, StoreError> {
        let Some((cell, skip)) = counters::locate(&counted.cells, self.query.offset) else { return Ok(None) };
        let first = cell == counters::cell_of(*range.start());
        if skip > SKIP_MAX {
            let rank = if first { skip + counted.before } else { skip };
            let seconds = store.seconds(self.own_list(), cell, counters::cell_start(cell + 1) - 1).await?;
            if let Some((second, skip)) = counters::locate(&seconds.0, rank) {
                return Ok(Some((second * 1000, skip)));
            }
        }
        Ok(Some((if first { *range.start() } else { counters::cell_start(cell) }, skip)))
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
        let mut cells = cells?.0;
        let before = before.transpose()?.unwrap_or(0);
        if let (Some(until), Some(count)) = (until.transpose()?, cells.get_mut(&counters::cell_of(to))) {
            *count = until;
        }
        if let Some(count) = cells.get_mut(&counters::cell_of(from)) {
            *count = count.saturating_sub(before);
        }
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
        let skip = if self.after.is_some() { 0 } else { self.query.offset };
        let want = self.query.limit + 1;
        let accept = |placed: &PlacedLead| {
            self.query.filters.accept(&placed.lead)
                && (self.source_list.is_none() || placed.source_list == self.source_list)
        };
        let merged = merge(store, streams, skip, want, accept).await?;
        let mut leads = merged.leads;
        let more = leads.len() > self.query.limit;
        leads.truncate(self.query.limit);
        let before = self.after.as_ref().map_or(0, |cursor| cursor.position);
        let total = (!more).then(|| before + merged.skipped + leads.len() as u64);
        Ok(Found { leads, more, total, missing: None })
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
}

/// Reads one list on, without a filter.
async fn read(store: &Store, stream: Stream, skip: u64, want: usize) -> Result<Vec<PlacedLead>, StoreError> {
    Ok(merge(store, vec![stream], skip, want, |_| true).await?.leads)
}

/// Merges lists in the order they share, drops what is not accepted, skips, and takes.
async fn merge(
    store: &Store,
    mut streams: Vec<Stream>,
    skip: u64,
    want: usize,
    accept: impl Fn(&PlacedLead) -> bool,
) -> Result<Merged, StoreError> {
    let mut merged = Merged { leads: Vec::new(), skipped: 0 };
    // Where leads are dropped, asking for what is left only would take ever more calls.
    let (mut floor, mut dropped) = (0, false);
    loop {
        let left = (skip - merged.skipped) + (want - merged.leads.len()) as u64;
        if dropped {
            floor = (floor.max(left) * GROWTH).min(CHUNK_MAX);
        }
        dropped = false;
        let chunk = left.max(floor).min(CHUNK_MAX);
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
            match stream.buffer.pop_front().filter(&accept) {
                None => dropped = true,
                Some(_) if merged.skipped < skip => merged.skipped += 1,
                Some(placed) => merged.leads.push(placed),
            }
            if stream.buffer.is_empty() && !stream.exhausted {
                break;
            }
        }
        if merged.leads.len() >= want {
            return Ok(merged);
        }
    }
}
