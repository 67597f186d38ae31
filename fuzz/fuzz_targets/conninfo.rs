//! Connection strings: what parses prints and parses to the same, without its password.
#![no_main]

use libfuzzer_sys::fuzz_target;
use pitr::adapter::postgres::{Config, ConnInfo};

fuzz_target!(|text: &str| {
    let Ok(conninfo) = text.parse::<ConnInfo>() else { return };
    let without_password = conninfo.clone().with("password", "").expect("password is a key");
    assert_eq!(conninfo.to_string().parse(), Ok(without_password));
    let _ = Config::try_from(conninfo);
});
