#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| support::bad_input::watch::holds(data));
