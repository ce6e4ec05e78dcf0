//! Lambda entry point of `leads-by-source`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("leads-by-source", leads_by_source::handle)
}
