//! The floor: a function that reads its event and answers the same always.

use lambda_http::{Body, Error, Request, Response, service_fn};

async fn hello(_: Request) -> Result<Response<Body>, Error> {
    let body = serde_json::json!({"message": "hello"}).to_string();
    Ok(Response::builder().header("content-type", "application/json").body(body.into())?)
}

fn main() -> Result<(), Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(lambda_http::run(service_fn(hello)))
}
