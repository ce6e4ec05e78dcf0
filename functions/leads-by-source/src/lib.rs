//! `POST /api/public/buckets/{bucketId}/{affiliateID}/leads/{sourceId}` (CONTRACT.md, section 2).

use lambda_http::{Request, RequestExt};
use shared::App;
use shared::http::Response;
use shared::leads::Path;
use std::sync::Arc;

/// Answers one request.
pub async fn handle(app: Arc<App>, request: Request) -> Response {
    let parameters = request.path_parameters();
    let path = Path {
        bucket_id: parameters.first("bucketId").unwrap_or_default(),
        affiliate_id: parameters.first("affiliateID").unwrap_or_default(),
        // A missing parameter must not widen the answer to the whole bucket: no source is blank.
        source_id: Some(parameters.first("sourceId").unwrap_or_default()),
    };
    shared::leads::respond(&app, &request, path).await
}
