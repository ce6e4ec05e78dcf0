//! A DynamoDB in front of a stack's own, which answers otherwise where a test wants it.

use aws_sdk_dynamodb::config::{Credentials, SharedCredentialsProvider};
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::{Request, Response};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioIo};
use local::Stack;
use shared::store::Store;
use std::convert::Infallible;

/// The stack's own DynamoDB.
#[derive(Clone)]
pub(crate) struct Dynamodb {
    endpoint: String,
    client: Client<HttpConnector, Full<Bytes>>,
}

impl Dynamodb {
    /// Its answer to a call.
    pub(crate) async fn answer(&self, call: Request<Bytes>) -> Response<Bytes> {
        let (mut head, body) = call.into_parts();
        head.uri = format!("{}/", self.endpoint).parse().unwrap();
        let answer = self.client.request(Request::from_parts(head, Full::new(body))).await.unwrap();
        let (head, body) = answer.into_parts();
        Response::from_parts(head, body.collect().await.unwrap().to_bytes())
    }
}

/// A store whose calls are answered by this.
pub(crate) async fn store<A, F>(stack: &Stack, answer: A) -> Store
where
    A: Fn(Request<Bytes>, Dynamodb) -> F + Clone + Send + 'static,
    F: Future<Output = Response<Bytes>> + Send + 'static,
{
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let dynamodb = Dynamodb {
        endpoint: stack.dynamodb_endpoint.clone(),
        client: Client::builder(TokioExecutor::new()).build_http(),
    };
    let answers = hyper::service::service_fn(move |call: Request<Incoming>| {
        let (answer, dynamodb) = (answer.clone(), dynamodb.clone());
        async move {
            let (head, body) = call.into_parts();
            let call = Request::from_parts(head, body.collect().await.unwrap().to_bytes());
            Ok::<_, Infallible>(answer(call, dynamodb).await.map(Full::new))
        }
    });
    tokio::spawn(async move {
        loop {
            let (socket, _) = listener.accept().await.unwrap();
            let connection = hyper::server::conn::http1::Builder::new();
            tokio::spawn(connection.serve_connection(TokioIo::new(socket), answers.clone()));
        }
    });
    let credentials = SharedCredentialsProvider::new(Credentials::new("local", "local", None, None, "test"));
    Store::connect("eu-west-1", credentials, Some(&endpoint), stack.store.tables())
}
