//! What the gateway takes on at once, and what it refuses beyond: as API Gateway and Lambda do, and so
//! that no crowd of callers takes all descriptors, all memory or all of the time that a call to the tables
//! is given.

use crate::template::{Route, Template, Throttle};
use anyhow::Result;
use bytes::Bytes;
use hyper::body::{Body, Frame};
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use std::collections::HashMap;
use std::fmt;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Instant;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinError;

/// Connections that are being told that they are too many; further ones wait to be accepted.
const REFUSALS: usize = 64;
/// Memory of bodies is given out in parts of this size.
const PART: usize = 16 * 1024;
/// Descriptors besides callers' connections: the connections to the engine, both ends of each, and files.
const DESCRIPTORS: u64 = 2048;

/// How much a stack takes on.
#[derive(Clone, Debug, PartialEq)]
pub struct Limits {
    /// Invocations at once; beyond them requests are answered 503, as Lambda's concurrency has it.
    pub concurrency: usize,
    /// Open connections; beyond them one is answered 503 and closed.
    pub connections: usize,
    /// Invocations that run at once where the tables are in the embedded engine; the others wait for their
    /// turn. `None`: all of them.
    pub at_once: Option<usize>,
    /// Bytes of the bodies that are being read or worked on, in whole parts of 16 KiB; beyond them requests are
    /// answered 503. The work holds a few copies of each body.
    pub bodies: usize,
    /// Requests per second.
    pub throttling: Throttling,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            concurrency: 256,
            connections: 1024,
            at_once: None,
            bodies: 64 * 1024 * 1024,
            throttling: Throttling::Off,
        }
    }
}

impl Limits {
    /// Invocations that run at once in a process of its own. The engine makes one call after the other: more of
    /// them at once are not faster, and would wait for each other until their calls time out.
    pub fn few_at_once() -> Option<usize> {
        Some(std::thread::available_parallelism().map_or(4, |cores| 2 * cores.get()).clamp(4, 16))
    }

    /// Has this process allow itself the descriptors that the connections need; where the system does not
    /// let it have that many, there are fewer connections.
    #[must_use]
    pub fn within_descriptors(mut self) -> Self {
        let Ok((now, most)) = getrlimit(Resource::RLIMIT_NOFILE) else { return self };
        let wanted = (self.connections as u64).saturating_mul(2).saturating_add(DESCRIPTORS);
        let allowed = wanted.min(most);
        let allowed = match now < allowed {
            true if setrlimit(Resource::RLIMIT_NOFILE, allowed, most).is_ok() => allowed,
            _ => now,
        };
        if allowed < wanted {
            let quarter = usize::try_from(allowed / 4).unwrap_or(usize::MAX);
            self.connections = self.connections.min(quarter).max(1);
        }
        self
    }
}

/// Requests per second of each route, beyond which they are answered 429.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Throttling {
    /// As many as there come: a developer's script is not held up.
    #[default]
    Off,
    /// What the template's parameters have by default.
    Template,
    /// The same for each route.
    Each(Throttle),
}

/// What is taken on at present.
#[derive(Debug)]
pub(crate) struct Admission {
    connections: Arc<Semaphore>,
    refusals: Arc<Semaphore>,
    invocations: Arc<Semaphore>,
    running: Option<Arc<Semaphore>>,
    bodies: Arc<Semaphore>,
    throttles: HashMap<Route, Mutex<TokenBucket>>,
}

impl Admission {
    /// `is_embedded`: the tables are in the embedded engine.
    pub(crate) fn new<'a>(
        limits: &Limits,
        template: &Template,
        routes: impl Iterator<Item = &'a Route>,
        is_embedded: bool,
    ) -> Result<Self> {
        let now = Instant::now();
        let mut throttles = HashMap::new();
        for route in routes {
            let throttle = match &limits.throttling {
                Throttling::Off => break,
                Throttling::Template => template.throttle(route)?,
                Throttling::Each(throttle) => *throttle,
            };
            throttles.insert(route.clone(), Mutex::new(TokenBucket::full(throttle, now)));
        }
        let places = |number: usize| Arc::new(Semaphore::new(number.min(Semaphore::MAX_PERMITS)));
        Ok(Self {
            connections: places(limits.connections),
            refusals: places(REFUSALS),
            invocations: places(limits.concurrency),
            running: limits.at_once.filter(|_| is_embedded).map(places),
            bodies: places(limits.bodies / PART),
            throttles,
        })
    }

    /// A place for a connection that was accepted. Waits where even those that are refused are many.
    pub(crate) async fn connection(&self) -> ConnectionPlace {
        if let Ok(place) = self.connections.clone().try_acquire_owned() {
            return ConnectionPlace { is_admitted: true, _place: Some(place) };
        }
        // The semaphore is never closed.
        ConnectionPlace { is_admitted: false, _place: self.refusals.clone().acquire_owned().await.ok() }
    }

    /// What a request's body is going to take, nothing yet.
    pub(crate) fn held(&self) -> Held {
        Held { bodies: self.bodies.clone(), parts: None, left: 0 }
    }

    /// The seconds after which a route takes a request again; `None` where it takes this one.
    pub(crate) fn throttled(&self, route: &Route) -> Option<u64> {
        let bucket = self.throttles.get(route)?;
        bucket.lock().unwrap_or_else(PoisonError::into_inner).take(Instant::now())
    }

    /// A place for an invocation, where there is one.
    pub(crate) fn invocation(&self, held: Held) -> Option<InvocationPlace> {
        let place = self.invocations.clone().try_acquire_owned().ok()?;
        Some(InvocationPlace { running: self.running.clone(), place, held })
    }
}

/// A connection's place, for as long as it is open.
#[derive(Debug)]
pub(crate) struct ConnectionPlace {
    /// Whether it is one of those that are served.
    pub(crate) is_admitted: bool,
    _place: Option<OwnedSemaphorePermit>,
}

/// An invocation's place.
#[derive(Debug)]
pub(crate) struct InvocationPlace {
    running: Option<Arc<Semaphore>>,
    place: OwnedSemaphorePermit,
    held: Held,
}

impl InvocationPlace {
    /// Runs an invocation once it is its turn; one whose caller hangs up before is not begun.
    pub(crate) async fn run<T: Send + 'static>(
        self,
        invocation: impl Future<Output = T> + Send + 'static,
    ) -> Result<T, JoinError> {
        let turn = match self.running {
            Some(running) => running.acquire_owned().await.ok(),
            None => None,
        };
        let kept = (self.place, self.held, turn);
        // Its own task: like a Lambda function, it runs to its end when the caller hangs up, and
        // a panic in it is one failed answer.
        tokio::spawn(async move {
            let _kept = kept;
            invocation.await
        })
        .await
    }
}

/// Memory for a body.
#[derive(Debug)]
pub(crate) struct Held {
    bodies: Arc<Semaphore>,
    parts: Option<OwnedSemaphorePermit>,
    /// Bytes of the parts that are not used.
    left: usize,
}

impl Held {
    /// The body, for as far as there is memory for it.
    pub(crate) fn metered<B>(&mut self, body: B) -> Metered<'_, B> {
        Metered { body, held: self }
    }

    fn take(&mut self, bytes: usize) -> Result<(), Exhausted> {
        let missing = bytes.saturating_sub(self.left).div_ceil(PART);
        if missing > 0 {
            let parts = u32::try_from(missing).map_err(|_| Exhausted)?;
            let more = self.bodies.clone().try_acquire_many_owned(parts).map_err(|_| Exhausted)?;
            match &mut self.parts {
                Some(parts) => parts.merge(more),
                none => *none = Some(more),
            }
        }
        self.left = self.left + missing * PART - bytes;
        Ok(())
    }
}

/// The bodies under way take all the memory that there is for them.
#[derive(Debug)]
pub(crate) struct Exhausted;

impl fmt::Display for Exhausted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("no memory for bodies is left")
    }
}

impl std::error::Error for Exhausted {}

/// A body that takes memory as it arrives.
#[derive(Debug)]
pub(crate) struct Metered<'a, B> {
    body: B,
    held: &'a mut Held,
}

impl<B> Body for Metered<'_, B>
where
    B: Body<Data = Bytes> + Unpin,
    B::Error: std::error::Error + Send + Sync + 'static,
{
    type Data = Bytes;
    type Error = Box<dyn std::error::Error + Send + Sync>;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Some(frame) = ready!(Pin::new(&mut self.body).poll_frame(context)) else {
            return Poll::Ready(None);
        };
        let frame = frame?;
        if let Some(data) = frame.data_ref() {
            self.held.take(data.len())?;
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}

/// API Gateway's algorithm: a request takes a token, and tokens come at a rate, up to the burst.
#[derive(Debug)]
struct TokenBucket {
    throttle: Throttle,
    tokens: f64,
    filled: Instant,
}

impl TokenBucket {
    fn full(throttle: Throttle, now: Instant) -> Self {
        Self { throttle, tokens: throttle.burst, filled: now }
    }

    /// Takes a token; or tells the seconds, rounded up, until there is one.
    fn take(&mut self, now: Instant) -> Option<u64> {
        let Throttle { rate, burst } = self.throttle;
        let came = now.saturating_duration_since(self.filled).as_secs_f64() * rate;
        self.tokens = (self.tokens + came).min(burst);
        self.filled = self.filled.max(now);
        if self.tokens >= 1.0 {
            self.tokens -= 1.0;
            return None;
        }
        Some((((1.0 - self.tokens) / rate).ceil() as u64).max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, Full, Limited};
    use std::time::Duration;

    #[test]
    fn a_burst_passes_and_then_the_rate() {
        let begin = Instant::now();
        let mut bucket = TokenBucket::full(Throttle { rate: 2.0, burst: 3.0 }, begin);
        let mut at = |millis| bucket.take(begin + Duration::from_millis(millis));
        assert_eq!([at(0), at(0), at(0), at(0)], [None, None, None, Some(1)]);
        assert_eq!([at(400), at(500), at(500), at(1000)], [Some(1), None, Some(1), None]);
        // No more than the burst is saved up, and a clock that stands still gives nothing.
        assert_eq!([0; 4].map(|_| at(60_000)), [None, None, None, Some(1)]);
        let mut slow = TokenBucket::full(Throttle { rate: 0.1, burst: 1.0 }, begin);
        assert_eq!((slow.take(begin), slow.take(begin)), (None, Some(10)));
    }

    #[tokio::test]
    async fn bodies_take_memory_while_there_is_some_and_give_it_back() {
        let bodies = Arc::new(Semaphore::new(4));
        let held = || Held { bodies: bodies.clone(), parts: None, left: 0 };
        let body = |size: usize| Full::new(Bytes::from(vec![0; size]));
        let mut first = held();
        first.metered(body(2 * PART + 1)).collect().await.unwrap();
        assert_eq!(bodies.available_permits(), 1);
        // What is left of a part is used before another one is taken.
        first.metered(body(PART - 1)).collect().await.unwrap();
        assert_eq!(bodies.available_permits(), 1);
        let mut second = held();
        second.metered(body(PART)).collect().await.unwrap();
        let mut third = held();
        let refused = Limited::new(third.metered(body(1)), PART).collect().await.unwrap_err();
        assert!(refused.is::<Exhausted>(), "{refused}");
        drop(first);
        third.metered(body(3 * PART)).collect().await.unwrap();
        drop((second, third));
        assert_eq!(bodies.available_permits(), 4);
    }

    #[tokio::test]
    async fn an_invocation_keeps_its_place_when_its_caller_hangs_up() {
        let limits = Limits { concurrency: 1, at_once: Some(1), ..Limits::default() };
        let template = Template::built_in().unwrap();
        let admission = Admission::new(&limits, &template, std::iter::empty(), true).unwrap();
        let (release, released) = tokio::sync::oneshot::channel::<()>();
        let place = admission.invocation(admission.held()).unwrap();
        let caller = tokio::spawn(place.run(released));
        while admission.running.as_ref().unwrap().available_permits() > 0 {
            tokio::task::yield_now().await;
        }
        caller.abort();
        assert!(caller.await.unwrap_err().is_cancelled());
        assert!(admission.invocation(admission.held()).is_none());
        release.send(()).unwrap();
        while admission.invocation(admission.held()).is_none() {
            tokio::task::yield_now().await;
        }
    }

    #[test]
    fn the_templates_throttling_is_by_route() {
        let template = Template::built_in().unwrap();
        let routes: Vec<&Route> = template.functions.iter().flat_map(|function| &function.routes).collect();
        let limits = Limits { throttling: Throttling::Template, ..Limits::default() };
        let admission = Admission::new(&limits, &template, routes.iter().copied(), false).unwrap();
        assert_eq!(admission.throttles.len(), routes.len());
        for (route, bucket) in admission.throttles {
            let bucket = bucket.into_inner().unwrap();
            let rate = if route.path.ends_with("/signup") { 500.0 } else { 1000.0 };
            assert_eq!(bucket.throttle, Throttle { rate, burst: 2.0 * rate }, "{route:?}");
            assert_eq!(bucket.tokens, bucket.throttle.burst, "{route:?}");
        }
    }
}
