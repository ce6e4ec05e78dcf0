//! Lambda entry point of `leads`.

fn main() -> Result<(), lambda_http::Error> {
    shared::serve("leads", leads::handle)
}
