#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| entrapool_protocol_fuzz::console::check(data));
