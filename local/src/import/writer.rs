//! Writing records: routing, batches, duplicates.

use super::OnDuplicate;
use super::input::Record;
use super::pace::Pace;
use super::row::{Rejection, Row};
use anyhow::{Context, Result, anyhow, bail};
use sha2::{Digest, Sha256};
use shared::model::{BucketId, Client, ClientId};
use shared::store::{ChangeClient, Registered, Store};
use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::task::JoinSet;

/// Clients sent in one call; the store makes as many transactions of them as it needs.
const BATCH: usize = 25;
/// How often a record is tried that others keep changing.
const ATTEMPTS: usize = 20;

/// What became of a record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It is a new client.
    Imported,
    /// A client with its email has its fields now.
    Updated,
    /// A client with its email exists.
    Duplicate,
    /// It cannot be imported.
    Rejected(Rejection),
}

/// What a record's fate is decided by.
enum Fate {
    Decided(Outcome),
    /// Others changed what it depends on.
    Again,
}

/// Writes the records of one import.
#[derive(Debug)]
pub(super) struct Writer {
    store: Store,
    /// The store in each lane.
    lanes: Vec<Store>,
    import_id: String,
    on_duplicate: OnDuplicate,
    pub(super) pace: Pace,
}

/// An affiliate and one of its sources, or none.
type Source = (String, Option<String>);

/// A record that has its place in the chunk, its number and what it says.
type Waiting = (usize, u64, Row);

/// Where clients go, as it was read for this chunk: each is read once, and soon read anew.
#[derive(Debug, Default)]
struct Routes {
    /// The bucket of an affiliate's source.
    by_source: Mutex<HashMap<Source, Option<BucketId>>>,
    /// The affiliate of a bucket.
    owners: Mutex<HashMap<BucketId, Option<String>>>,
}

impl Routes {
    fn forget(&self) {
        lock(&self.by_source).clear();
        lock(&self.owners).clear();
    }
}

impl Writer {
    /// Writes for the import of this id, at most `parallel` batches at once.
    pub(super) fn new(
        store: Store,
        import_id: &str,
        on_duplicate: OnDuplicate,
        parallel: u8,
        give_up_after: Duration,
    ) -> Self {
        Self {
            lanes: (0..parallel).map(|lane| store.in_lane(lane)).collect(),
            store,
            import_id: import_id.to_owned(),
            on_duplicate,
            pace: Pace::new(parallel, give_up_after),
        }
    }

    fn in_lane(&self, lane: u8) -> &Store {
        self.lanes.get(usize::from(lane)).unwrap_or(&self.store)
    }

    /// Writes records; their outcomes, in their order. Records that were written by this import
    /// before have the outcome that they had then.
    ///
    /// # Errors
    /// DynamoDB can't be reached for long, or refuses. Then some of the records are written.
    pub(super) async fn write(
        self: &Arc<Self>,
        records: Vec<Record>,
        progress: &(impl Fn(u64) + Send + Sync),
    ) -> Result<Vec<Outcome>> {
        let mut outcomes: Vec<Option<Outcome>> = vec![None; records.len()];
        let (mut waiting, mut lengths) = (Vec::new(), Vec::with_capacity(records.len()));
        for (at, record) in records.into_iter().enumerate() {
            lengths.push(record.bytes);
            match record.row {
                Ok(row) => waiting.push((at, record.number, row)),
                Err(rejection) => {
                    outcomes[at] = Some(Outcome::Rejected(rejection));
                    progress(record.bytes);
                }
            }
        }
        let routes = Arc::new(Routes::default());
        while !waiting.is_empty() {
            let (pass, later) = independent(waiting);
            waiting = later;
            let mut tasks = JoinSet::new();
            let mut rest = pass.into_iter().peekable();
            while rest.peek().is_some() {
                let batch: Vec<_> = rest.by_ref().take(BATCH).collect();
                let (writer, routes) = (self.clone(), routes.clone());
                tasks.spawn(async move { writer.batch(batch, &routes).await });
            }
            while let Some(done) = tasks.join_next().await {
                for (at, outcome) in done?? {
                    outcomes[at] = Some(outcome);
                    progress(lengths[at]);
                }
            }
        }
        outcomes.into_iter().collect::<Option<_>>().context("a record has no outcome")
    }

    async fn batch(&self, mut rows: Vec<Waiting>, routes: &Routes) -> Result<Vec<(usize, Outcome)>> {
        let mut outcomes = Vec::with_capacity(rows.len());
        for _ in 0..ATTEMPTS {
            let (mut placed, mut clients) = (Vec::new(), Vec::new());
            for (at, number, row) in rows {
                match self.client(number, &row, routes).await? {
                    Ok(client) => {
                        placed.push((at, number, row));
                        clients.push(client);
                    }
                    Err(rejection) => outcomes.push((at, Outcome::Rejected(rejection))),
                }
            }
            let registered = self.pace.call(|lane| self.in_lane(lane).register_all(&clients)).await?;
            rows = Vec::new();
            for ((at, number, row), registered) in placed.into_iter().zip(registered) {
                let fate = match registered {
                    Registered::Created => Fate::Decided(Outcome::Imported),
                    Registered::EmailTaken => match self.on_duplicate {
                        OnDuplicate::Skip => Fate::Decided(Outcome::Duplicate),
                        OnDuplicate::Update => self.update(&row, routes).await?,
                    },
                    Registered::IdTaken => {
                        Fate::Decided(Outcome::Rejected(Rejection::new("id", "another client has this id")))
                    }
                    Registered::BucketGone => Fate::Again,
                    Registered::Replayed(_) | Registered::KeyReused => {
                        bail!("an import has no idempotency keys")
                    }
                };
                match fate {
                    Fate::Decided(outcome) => outcomes.push((at, outcome)),
                    Fate::Again => rows.push((at, number, row)),
                }
            }
            if rows.is_empty() {
                return Ok(outcomes);
            }
            routes.forget();
        }
        Err(anyhow!("{} records could not be written: their buckets or clients keep changing", rows.len()))
    }

    /// The client that a record makes, under an id that the same record gets again.
    async fn client(&self, number: u64, row: &Row, routes: &Routes) -> Result<Result<Client, Rejection>> {
        let given = row.given.clone();
        let affiliate = given.affiliate_id.clone();
        let bucket = match &row.change.bucket_id {
            Some(Some(bucket)) => match self.own_bucket(bucket, affiliate.as_deref(), routes).await? {
                Ok(()) => Some(bucket.clone()),
                Err(rejection) => return Ok(Err(rejection)),
            },
            _ => self.route(affiliate.as_deref(), given.source_id.as_deref(), routes).await?,
        };
        let mut client = Client::register(given, affiliate, bucket);
        let mark = format!("{}/{number}", self.import_id);
        client.id = row.id.clone().unwrap_or_else(|| generated(&mark));
        client.import_id = Some(mark);
        client.ftd = row.ftd;
        client.created_date = row.created_date.unwrap_or(client.created_date);
        Ok(Ok(client))
    }

    async fn own_bucket(
        &self,
        bucket: &BucketId,
        affiliate: Option<&str>,
        routes: &Routes,
    ) -> Result<Result<(), Rejection>> {
        let known = lock(&routes.owners).get(bucket).cloned();
        let owner = match known {
            Some(owner) => owner,
            None => {
                let found = self.pace.call(|_| self.store.bucket(bucket)).await?;
                let owner = found.map(|found| found.affiliate_id);
                lock(&routes.owners).insert(bucket.clone(), owner.clone());
                owner
            }
        };
        let reason = match owner {
            Some(owner) if Some(owner.as_str()) == affiliate => return Ok(Ok(())),
            Some(_) => "bucketId must be the id of a bucket of the client's affiliate",
            None => "bucketId must be the id of a bucket",
        };
        Ok(Err(Rejection::new("bucketId", reason)))
    }

    async fn route(
        &self,
        affiliate: Option<&str>,
        source: Option<&str>,
        routes: &Routes,
    ) -> Result<Option<BucketId>> {
        let Some(affiliate) = affiliate else { return Ok(None) };
        let key = (affiliate.to_owned(), source.map(str::to_owned));
        if let Some(known) = lock(&routes.by_source).get(&key) {
            return Ok(known.clone());
        }
        let found = self.pace.call(|_| self.store.route(affiliate, source)).await?;
        lock(&routes.by_source).insert(key, found.clone());
        Ok(found)
    }

    /// Gives the client with a record's email the fields that the record has.
    async fn update(&self, row: &Row, routes: &Routes) -> Result<Fate> {
        let rejected = |field: &str| {
            let reason = format!("{field} must be that of the client who has this email");
            Ok(Fate::Decided(Outcome::Rejected(Rejection::new(field, reason))))
        };
        let found = self.pace.call(|_| self.store.client_by_email(&row.given.email)).await?;
        let Some(found) = found else { return Ok(Fate::Again) };
        let stored = &found.value;
        if row.id.as_ref().is_some_and(|id| *id != stored.id) {
            return rejected("id");
        }
        if row.created_date.is_some_and(|created| created != stored.created_date) {
            return rejected("createdDate");
        }
        let mut changed = row.change.apply(stored);
        let affiliate = changed.affiliate_id.clone();
        match &row.change.bucket_id {
            Some(Some(bucket)) => {
                if let Err(rejection) = self.own_bucket(bucket, affiliate.as_deref(), routes).await? {
                    return Ok(Fate::Decided(Outcome::Rejected(rejection)));
                }
            }
            None if affiliate != stored.affiliate_id => {
                let source = changed.given.source_id.clone();
                changed.bucket_id = self.route(affiliate.as_deref(), source.as_deref(), routes).await?;
            }
            _ => {}
        }
        if changed == *stored {
            return Ok(Fate::Decided(Outcome::Updated));
        }
        let done = self.pace.call(|lane| self.in_lane(lane).change_client(&found, &changed)).await?;
        Ok(match done {
            ChangeClient::Changed(_) => Fate::Decided(Outcome::Updated),
            ChangeClient::Conflict | ChangeClient::EmailTaken | ChangeClient::BucketGone => Fate::Again,
        })
    }
}

/// Records that do not depend on one another, and those that come after one of them: records of
/// one email or one id are written in their order.
fn independent(rows: Vec<Waiting>) -> (Vec<Waiting>, Vec<Waiting>) {
    let (mut emails, mut ids) = (HashSet::new(), HashSet::<ClientId>::new());
    rows.into_iter().partition(|(_, _, row)| {
        let is_first = emails.insert(row.given.email.key().to_owned());
        let has_own = row.id.as_ref().is_none_or(|id| ids.insert(id.clone()));
        is_first && has_own
    })
}

/// A UUID that this record of this import gets each time.
fn generated(mark: &str) -> ClientId {
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&Sha256::digest(mark)[..16]);
    ClientId::new(uuid::Builder::from_random_bytes(bytes).into_uuid().to_string())
}

fn lock<T>(shared: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    shared.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(email: &str, id: Option<&str>) -> Row {
        let body = serde_json::json!({ "email": email, "phone": "12345", "firstName": "A", "id": id });
        Row::from_json(body.to_string().as_bytes()).unwrap()
    }

    #[test]
    fn records_of_one_email_or_id_come_one_after_the_other() {
        let rows = [
            ("a@x.org", None),
            ("A@x.org", Some("1")),
            ("b@x.org", Some("1")),
            ("c@x.org", None),
            ("b@x.org", None),
        ];
        let rows = rows.iter().enumerate().map(|(at, (email, id))| (at, 0, row(email, *id))).collect();
        let mut passes = Vec::new();
        let mut waiting: Vec<_> = rows;
        while !waiting.is_empty() {
            let (pass, later) = independent(waiting);
            passes.push(pass.iter().map(|(at, ..)| *at).collect::<Vec<_>>());
            waiting = later;
        }
        assert_eq!(passes, [vec![0, 3], vec![1], vec![2], vec![4]]);
    }

    #[test]
    fn a_generated_id_is_a_uuid_and_the_records_own() {
        let id = generated("import/7");
        assert_eq!(id, generated("import/7"));
        assert_ne!(id, generated("import/8"));
        assert_eq!(uuid::Uuid::parse_str(id.as_str()).unwrap().get_version_num(), 4);
    }
}
