#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| laioncele_web::fuzzing::head(bytes));
