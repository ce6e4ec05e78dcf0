//! Properties of what is read at the edge, tried on many made-up inputs: each is compared with a model that takes
//! the contract's words one by one. The same inputs every time.

mod addresses;
mod bodies;
mod texts;

use proptest::test_runner::{Config, RngSeed};

/// So many cases, the same every time, and no file to remember failures by: a failure comes again by itself.
pub(crate) fn cases(cases: u32) -> Config {
    Config { cases, rng_seed: RngSeed::Fixed(0x5eed), failure_persistence: None, ..Config::default() }
}
