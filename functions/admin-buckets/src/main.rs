//! Lambda entry point of `admin-buckets`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("admin-buckets", admin_buckets::handle)
}
