//! Lambda entry point of `admin-clients`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("admin-clients", admin_clients::handle)
}
