#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| support::bad_input::template::holds(data));
