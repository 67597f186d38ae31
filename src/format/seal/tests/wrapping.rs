//! Wrapped keys.

use bytes::Bytes;

use super::*;
use crate::model::ServerName;

fn wrapping() -> WrappingKey {
    WrappingKey::new([5; 32])
}

fn server() -> ServerName {
    "prod".parse().unwrap()
}

fn wrapped() -> WrappedKey {
    wrap(&wrapping(), salt(), &server(), &key())
}

fn reunwrapped(record: &[u8]) -> Result<ServerKey, UnwrapError> {
    unwrap(&wrapping(), &server(), &WrappedKey::parse(record)?)
}

/// The record with its checksum made right again, as one would who wants the change to pass.
fn forged(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut record = wrapped().to_bytes().to_vec();
    record.truncate(record.len() - 4);
    change(&mut record);
    let checksum = crc32c::crc32c(&record).to_be_bytes();
    [record, checksum.to_vec()].concat()
}

#[test]
fn what_is_wrapped_unwraps() {
    let record = wrapped().to_bytes();
    assert_eq!(WrappedKey::parse(&record), Ok(wrapped()));
    assert_eq!(reunwrapped(&record).unwrap().expose(), key().expose());
    assert!(!record.windows(32).any(|window| window == key().expose()));
}

#[test]
fn every_changed_byte_and_every_length() {
    let record = wrapped().to_bytes().to_vec();
    for (at, change) in (0..record.len()).flat_map(|at| (1..=255).map(move |change| (at, change))) {
        let mut changed = record.clone();
        changed[at] ^= change;
        let error = reunwrapped(&changed).unwrap_err();
        let told = match at {
            0..8 => error == UnwrapError::NotWrapped,
            8..10 => matches!(error, UnwrapError::FutureVersion { .. } | UnwrapError::Corrupt),
            _ => error == UnwrapError::Corrupt,
        };
        assert!(told, "byte {at} changed by {change:#x}: {error}");
    }
    assert!((0..record.len()).all(|length| reunwrapped(&record[..length]).is_err()));
    assert_eq!(reunwrapped(&[&record[..], &[0]].concat()).unwrap_err(), UnwrapError::Corrupt);
}

#[test]
fn every_forged_byte() {
    for at in 10..wrapped().to_bytes().len() - 4 {
        assert!(reunwrapped(&forged(|record| record[at] ^= 1)).is_err(), "byte {at}");
    }
    assert_eq!(reunwrapped(&forged(|record| record.push(0))).unwrap_err(), UnwrapError::Corrupt);
}

#[test]
fn who_must_unwrap_it_is_told() {
    let other = WrappingKey::new([6; 32]);
    let expected = UnwrapError::WrongWrappingKey { found: wrapping().id().to_string(), given: other.id() };
    assert_eq!(unwrap(&other, &server(), &wrapped()).unwrap_err(), expected);

    let foreign: ServerName = "test".parse().unwrap();
    let expected = UnwrapError::ForeignServer { found: server(), given: foreign.clone() };
    assert_eq!(unwrap(&wrapping(), &foreign, &wrapped()).unwrap_err(), expected);

    let newer = forged(|record| record[9] = 2);
    assert_eq!(WrappedKey::parse(&newer), Err(UnwrapError::FutureVersion { found: 2, supported: 1 }));
}

#[test]
fn a_key_passed_off_as_another_servers_is_corrupt() {
    let own = wrapped();
    let foreign: ServerName = "test".parse().unwrap();
    let forged = WrappedKey::new(
        WrappedKey::SCHEME,
        own.wrapping_key(),
        foreign.clone(),
        own.server_key_id(),
        own.ciphertext().clone(),
    );
    assert_eq!(unwrap(&wrapping(), &foreign, &forged.unwrap()).unwrap_err(), UnwrapError::Corrupt);
}

#[test]
fn a_key_management_service_brings_its_own_ciphertext() {
    let made = |scheme: &str, wrapping_key: &str, ciphertext: &[u8]| {
        WrappedKey::new(scheme, wrapping_key, server(), key().id(), Bytes::copy_from_slice(ciphertext))
    };
    let record = made("aws-kms", "arn:aws:kms:eu-west-1:1:key/ü", b"opaque").unwrap();
    assert_eq!(WrappedKey::parse(&record.to_bytes()), Ok(record.clone()));
    let expected = UnwrapError::ForeignScheme { found: "aws-kms".to_owned() };
    assert_eq!(unwrap(&wrapping(), &server(), &record).unwrap_err(), expected);
    assert_eq!(record.accept(key().expose()).unwrap().id(), key().id());
    assert_eq!(record.accept(&[0; 32]).unwrap_err(), UnwrapError::Corrupt);
    for (scheme, wrapping_key, ciphertext) in [("", "k", 1), ("s", "", 1), ("s", "k", 0), ("s", "k", 16_385)] {
        assert!(made(scheme, wrapping_key, &vec![0; ciphertext]).is_err());
    }
    assert!(made(&"s".repeat(65), "k", b"c").is_err() && made("s", &"k".repeat(2049), b"c").is_err());
}
