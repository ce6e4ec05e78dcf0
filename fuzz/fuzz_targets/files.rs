#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| wbcs_fuzz::files::run(data));
