//! How much the local stack serves, and what its engine serves to the same calls without gateway and
//! functions.

use crate::data::Data;
use crate::measure::quantile;
use crate::works;
use anyhow::{Context, Result, bail};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::Request;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use shared::model::{BucketId, Client, Keys, SignUp};
use shared::secret::{Token, TokenDigest};
use shared::store::{Order, Store, keys};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::Mutex;

const CONNECTIONS: [usize; 3] = [1, 8, 64];

/// A work at a number of connections.
#[derive(Debug)]
pub(crate) struct Row {
    pub(crate) work: &'static str,
    pub(crate) connections: usize,
    pub(crate) gateway: Rate,
    pub(crate) engine: Rate,
}

/// Requests a second, and the latency that 99 of 100 do not exceed, in ms.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Rate {
    pub(crate) per_second: f64,
    pub(crate) p99: f64,
}

type Future<T> = Pin<Box<dyn std::future::Future<Output = Result<T>> + Send>>;
/// Makes the request of a number, and waits for its answer.
type Call = Box<dyn Fn(usize) -> Future<()> + Send>;
/// Opens a connection.
type Connect = Arc<dyn Fn() -> Future<Call>>;

/// Measures each work for this long, at the gateway and at the engine in turns.
pub(crate) async fn measure(data: &Data, span: Duration) -> Result<Vec<Row>> {
    let numbers = Arc::new(AtomicUsize::new(0));
    let mut rows = Vec::new();
    for (work, gateway, engine) in works(data)? {
        for connections in CONNECTIONS {
            let mut best = [None::<Rate>; 2];
            // Twice, in both orders; whatever else the machine did, the better one had less of it.
            for order in [[0, 1], [1, 0]] {
                for at in order {
                    let connect = if at == 0 { &gateway } else { &engine };
                    let rate = rate(connect, connections, span, &numbers).await.with_context(|| work)?;
                    if best[at].is_none_or(|best| best.per_second < rate.per_second) {
                        best[at] = Some(rate);
                    }
                }
            }
            let [Some(gateway), Some(engine)] = best else { bail!("{work} was not measured") };
            rows.push(Row { work, connections, gateway, engine });
        }
    }
    Ok(rows)
}

async fn rate(
    connect: &Connect,
    connections: usize,
    span: Duration,
    numbers: &Arc<AtomicUsize>,
) -> Result<Rate> {
    let mut calls = Vec::new();
    for _ in 0..connections {
        let call = connect().await?;
        call(numbers.fetch_add(1, Ordering::Relaxed)).await?;
        calls.push(call);
    }
    let started = Instant::now();
    let tasks: Vec<_> = calls
        .into_iter()
        .map(|call| {
            let numbers = numbers.clone();
            tokio::spawn(async move {
                let mut took = Vec::new();
                while started.elapsed() < span {
                    let begun = Instant::now();
                    call(numbers.fetch_add(1, Ordering::Relaxed)).await?;
                    took.push(begun.elapsed().as_secs_f64() * 1000.0);
                }
                anyhow::Ok(took)
            })
        })
        .collect();
    let mut all = Vec::new();
    for task in tasks {
        all.extend(task.await??);
    }
    let per_second = all.len() as f64 / started.elapsed().as_secs_f64();
    Ok(Rate { per_second, p99: quantile(&all, 0.99) })
}

/// The works: at the gateway, and at the engine.
fn works(data: &Data) -> Result<[(&'static str, Connect, Connect); 3]> {
    let path = works::leads_path();
    let partner = |body: Value| {
        over_http(data, "authorization", &data.partner, path.clone(), move |_| body.to_string())
    };
    let key = &data.sign_up_key;
    let sign_up = |number| works::sign_up_body(&format!("load{number}")).to_string();
    let sign_ups = over_http(data, "x-api-key", key, works::SIGN_UP.to_owned(), sign_up);

    let digest = |token: &str| Token::parse(token).map(|token| token.digest()).context("a token");
    let (reader, writer) = (digest(&data.partner)?, digest(key)?);
    let bucket = BucketId::parse(crate::data::BUCKET).context("a bucket's id")?;
    let list = keys::bucket_list(&bucket);
    let emails: Vec<String> = works::emails(data, 100);
    let by_keys = at_the_engine(data, reader, move |store, reader, _| {
        let keys = Keys { emails: emails.clone(), ids: Vec::new() };
        Box::pin(async move {
            let (token, found) = tokio::try_join!(store.token(&reader), store.leads_by_keys(&keys))?;
            expect(token.is_some() && found.len() == 100)
        })
    });
    let pages = at_the_engine(data, reader, move |store, reader, _| {
        let list = list.clone();
        Box::pin(async move {
            let range = keys::before_moment(0)..=keys::LAST.to_owned();
            let all = 0..=shared::model::Timestamp::MAX.millis();
            let (token, page, cells) = tokio::try_join!(
                store.token(&reader),
                store.page(Order::BucketCreated, &list, range, 101),
                store.cells(&list, &all),
            )?;
            expect(token.is_some() && page.leads.len() == 101 && cells.total() > 0)
        })
    });
    let written = at_the_engine(data, writer, move |store, writer, number| {
        Box::pin(async move {
            let body = works::sign_up_body(&format!("direct{number}")).to_string();
            let given = SignUp::parse(body.as_bytes()).map_err(|error| anyhow::anyhow!("{error}"))?;
            let (affiliate, source) = (crate::data::REGISTERING, crate::data::SOURCES[0]);
            let (token, bucket) = store.token_and_source(&writer, affiliate, source).await?;
            let client = Client::register(given, Some(affiliate.to_owned()), bucket);
            let registered = store.sign_up(client, None, None).await?;
            expect(token.is_some() && registered == shared::store::Registered::Created)
        })
    });
    let everything = serde_json::json!({"emails": works::emails(data, 100), "limit": 5000});
    Ok([
        ("leads by 100 emails", partner(everything), by_keys),
        ("a page of 100", partner(serde_json::json!({"limit": 100})), pages),
        ("sign-up", sign_ups, written),
    ])
}

fn expect(right: bool) -> Result<()> {
    if right { Ok(()) } else { bail!("a wrong answer") }
}

fn over_http(
    data: &Data,
    header: &'static str,
    token: &str,
    path: String,
    body: impl Fn(usize) -> String + Send + Sync + 'static,
) -> Connect {
    let (address, token, body) = (data.gateway().to_owned(), token.to_owned(), Arc::new(body));
    Arc::new(move || {
        let (address, token, path, body) = (address.clone(), token.clone(), path.clone(), body.clone());
        Box::pin(async move {
            let stream = TcpStream::connect(&address).await?;
            stream.set_nodelay(true)?;
            let (sender, connection) = handshake::<_, Full<Bytes>>(TokioIo::new(stream)).await?;
            tokio::spawn(connection);
            let sender = Arc::new(Mutex::new(sender));
            Ok(Box::new(move |number| {
                let request = Request::post(&path)
                    .header("host", &address)
                    .header("content-type", "application/json")
                    .header(header, &token)
                    .body(Full::new(Bytes::from(body(number))));
                let sender = sender.clone();
                Box::pin(async move { exchange(&mut *sender.lock().await, request?).await }) as Future<()>
            }) as Call)
        })
    })
}

async fn exchange(sender: &mut SendRequest<Full<Bytes>>, request: Request<Full<Bytes>>) -> Result<()> {
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if status.as_u16() != 200 || !body.starts_with(b"{\"") {
        bail!("{status}: {}", String::from_utf8_lossy(&body[..body.len().min(300)]));
    }
    Ok(())
}

fn at_the_engine(
    data: &Data,
    token: TokenDigest,
    work: impl Fn(Store, TokenDigest, usize) -> Future<()> + Send + Sync + 'static,
) -> Connect {
    let (store, work) = (data.store().clone(), Arc::new(work));
    Arc::new(move || {
        let (store, work) = (store.clone(), work.clone());
        Box::pin(async move { Ok(Box::new(move |number| work(store.clone(), token, number)) as Call) })
    })
}
