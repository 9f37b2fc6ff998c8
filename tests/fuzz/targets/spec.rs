#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| support::bad_input::spec::holds(data));
