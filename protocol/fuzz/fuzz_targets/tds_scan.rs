#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entrapool_protocol_fuzz::tds::scan::check(data));
