//! Whatever is done to a sealed object, it is noticed and told by name.

use hmac::Mac;

use super::*;

const HEADER: usize = 62 + "servers/prod/log/1".len() + 32;

/// Where the frame of this index stands, in an object of full frames.
fn place(index: usize) -> std::ops::Range<usize> {
    HEADER + index * SEALED_FRAME..HEADER + (index + 1) * SEALED_FRAME
}

fn with<T>(mut sealed: Vec<u8>, change: impl FnOnce(&mut Vec<u8>) -> T) -> Vec<u8> {
    change(&mut sealed);
    sealed
}

/// A header whose fields were changed by someone who has the key.
fn authenticated(change: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut header = sealed(0)[..HEADER - 32].to_vec();
    change(&mut header);
    let mac = header::authenticator(&key(), &header).finalize().into_bytes();
    [header, mac.to_vec()].concat()
}

fn corrupt(index: u32) -> Result<Vec<u8>, OpenError> {
    Err(OpenError::CorruptFrame { index })
}

fn reordered(expected: u32, found: u32) -> Result<Vec<u8>, OpenError> {
    Err(OpenError::ReorderedFrame { expected, found })
}

#[test]
fn every_changed_byte_of_a_small_object() {
    let sealed = sealed(40);
    for (at, change) in (0..sealed.len()).flat_map(|at| (1..=255).map(move |change| (at, change))) {
        let error = reopened(&with(sealed.clone(), |sealed| sealed[at] ^= change)).unwrap_err();
        let told = match at {
            0..8 => error == OpenError::NotSealed,
            8..10 => matches!(error, OpenError::FutureVersion { .. } | OpenError::CorruptHeader),
            12..28 => matches!(error, OpenError::WrongKey { .. }),
            // A name of another length moves the end of the header.
            60..62 => matches!(error, OpenError::CorruptHeader | OpenError::Truncated { cut: Cut::WithinHeader, .. }),
            10..HEADER => error == OpenError::CorruptHeader,
            // A longer frame ends later, a shorter one earlier.
            _ => matches!(error, OpenError::CorruptFrame { index: 0 } | OpenError::Truncated { .. }),
        };
        assert!(told, "byte {at} changed by {change:#x}: {error}");
    }
}

#[test]
fn every_flipped_byte_of_several_frames() {
    let sealed = sealed(2 * FRAME + 100);
    for at in 0..sealed.len() {
        let error = reopened(&with(sealed.clone(), |sealed| sealed[at] ^= 0x55)).unwrap_err();
        let index = at.saturating_sub(HEADER) / SEALED_FRAME;
        let told = error == OpenError::CorruptFrame { index: index as u32 };
        let in_last_length = place(2).start + 4..place(2).start + 8;
        assert!(told || at < HEADER || in_last_length.contains(&at), "byte {at}: {error}");
    }
}

#[test]
fn every_truncation() {
    let sealed = sealed(2 * FRAME + 100);
    for at in 0..sealed.len() {
        let (index, within) = (at.saturating_sub(HEADER) / SEALED_FRAME, at.saturating_sub(HEADER) % SEALED_FRAME);
        let cut = match (at < HEADER, within) {
            (true, _) => Cut::WithinHeader,
            (_, 0) => Cut::BeforeFrame(index as u32),
            _ => Cut::WithinFrame(index as u32),
        };
        assert_eq!(reopened(&sealed[..at]), Err(OpenError::Truncated { at: at as u64, cut }));
    }
}

#[test]
fn anything_appended() {
    for length in [0, 40, FRAME, 2 * FRAME + 100] {
        let sealed = sealed(length);
        let expected = OpenError::Extended { at: sealed.len() as u64 };
        let (one, last) = (&[0][..], &sealed[sealed.len().saturating_sub(length % FRAME + 24)..]);
        for extra in [one, &[0; 24], last, &sealed] {
            assert_eq!(reopened(&[&sealed[..], extra].concat()), Err(expected.clone()));
        }
        let mut opener = Opener::new(key(), &name());
        opener.open(&sealed).unwrap();
        assert_eq!(opener.open(one), Err(expected.clone()));
        assert_eq!(opener.open(&[]), Ok(bytes::Bytes::new()));
        assert_eq!(opener.finish(), Err(expected));
    }
}

#[test]
fn frames_swapped_duplicated_or_dropped() {
    let sealed = sealed(4 * FRAME);
    let frame = |index| sealed[place(index)].to_vec();
    for (a, b) in (0..4).flat_map(|a| (0..a).map(move |b| (b, a))) {
        let swapped = with(sealed.clone(), |sealed| {
            sealed[place(a)].copy_from_slice(&frame(b));
            sealed[place(b)].copy_from_slice(&frame(a));
        });
        assert_eq!(reopened(&swapped), reordered(a as u32, b as u32), "{a} and {b}");
    }
    for index in 0..4 {
        let duplicated = [&sealed[..place(index).end], &sealed[place(index).start..]].concat();
        let dropped = [&sealed[..place(index).start], &sealed[place(index).end..]].concat();
        if index < 3 {
            assert_eq!(reopened(&duplicated), reordered(index as u32 + 1, index as u32));
            assert_eq!(reopened(&dropped), reordered(index as u32, index as u32 + 1));
        } else {
            assert_eq!(reopened(&duplicated), Err(OpenError::Extended { at: sealed.len() as u64 }));
            let at = place(3).start as u64;
            assert_eq!(reopened(&dropped), Err(OpenError::Truncated { at, cut: Cut::BeforeFrame(3) }));
        }
    }
}

#[test]
fn frames_of_another_object_or_of_the_same_one_before() {
    let ours = sealed(3 * FRAME);
    let other_name = seal(&key(), &"servers/prod/log/2".parse().unwrap(), salt(), FRAME_SIZE, &plaintext(3 * FRAME));
    let other_salt = seal(&key(), &name(), Salt::new([9; 32]), FRAME_SIZE, &plaintext(3 * FRAME));
    for other in [other_name.unwrap(), other_salt.unwrap()] {
        for index in 0..3 {
            let swapped = with(ours.clone(), |ours| ours[place(index)].copy_from_slice(&other[place(index)]));
            assert_eq!(reopened(&swapped), corrupt(index as u32));
        }
        let under_our_header = [&ours[..HEADER], &other[HEADER..]].concat();
        assert_eq!(reopened(&under_our_header), corrupt(0));
    }
}

#[test]
fn an_object_that_is_stored_under_another_name() {
    let other: ObjectKey = "servers/prod/log/22".parse().unwrap();
    let error = OpenError::Misplaced { sealed_as: name(), stored_as: other.clone() };
    assert_eq!(open(key(), &other, &sealed(40)), Err(error.clone()));
    assert_eq!(ObjectOpener::from_header(key(), &other, &sealed(40)).unwrap_err(), error);
}

#[test]
fn another_servers_key() {
    let other = ServerKey::new([9; 32]);
    assert_eq!(open(&other, &name(), &sealed(40)), Err(OpenError::WrongKey { found: key().id(), given: other.id() }));
    let disguised = with(sealed(40), |sealed| sealed[12..28].copy_from_slice(other.id().as_bytes()));
    assert_eq!(open(&other, &name(), &disguised), Err(OpenError::CorruptHeader));
}

#[test]
fn what_is_not_sealed() {
    for foreign in ["x", "\u{89}", "plaintext", "PK\x03\x04 and so on"] {
        assert_eq!(reopened(foreign.as_bytes()), Err(OpenError::NotSealed));
    }
    let as_text = with(sealed(40), |sealed| sealed.remove(5));
    assert_eq!(reopened(&as_text), Err(OpenError::NotSealed));
}

#[test]
fn what_a_newer_pitr_wrote() {
    let newer = with(sealed(40), |sealed| sealed[9] = 2);
    assert_eq!(reopened(&newer), Err(OpenError::FutureVersion { found: 2, supported: 1 }));
    assert_eq!(reopened(&newer[..10]), Err(OpenError::FutureVersion { found: 2, supported: 1 }));
    assert_eq!(reopened(&authenticated(|header| header[10] = 7)), Err(OpenError::UnknownAlgorithm { found: 7 }));
}

#[test]
fn a_header_that_only_the_key_could_have_made_is_still_checked() {
    for exponent in [0, 11, 21, 255] {
        assert_eq!(reopened(&authenticated(|header| header[11] = exponent)), Err(OpenError::CorruptHeader));
    }
    assert_eq!(reopened(&authenticated(|header| header[62] = b'/')), Err(OpenError::CorruptHeader));
    assert_eq!(reopened(&authenticated(|header| header[62] = 0xFF)), Err(OpenError::CorruptHeader));
}

#[test]
fn an_error_is_final() {
    let damaged = with(sealed(2 * FRAME), |sealed| sealed[place(0).start + 20] ^= 1);
    let mut opener = Opener::new(key(), &name());
    assert_eq!(opener.open(&damaged[..HEADER + 30]).unwrap().len(), 0);
    let error = opener.open(&damaged[HEADER + 30..]).unwrap_err();
    assert_eq!(opener.open(&[0]), Err(error.clone()));
    assert_eq!(opener.finish(), Err(error));
}

#[test]
fn single_frames_at_the_wrong_place() {
    let sealed = sealed(2 * FRAME);
    let opener = ObjectOpener::from_header(key(), &name(), &sealed).unwrap();
    let open = |position, index| opener.open_frame(position, &sealed[place(index)]).map(Vec::from);
    assert!(open(FramePosition::inner(0), 0).is_ok());
    assert_eq!(open(FramePosition::inner(1), 0), reordered(1, 0));
    let end = |index: usize| place(index).end as u64;
    let truncated = OpenError::Truncated { at: end(0), cut: Cut::BeforeFrame(1) };
    assert_eq!(open(FramePosition::last(0), 0), Err(truncated));
    assert_eq!(open(FramePosition::inner(1), 1), Err(OpenError::Extended { at: end(1) }));
}

#[test]
fn nothing_is_appended_unless_it_is_right() {
    let sealed = sealed(2 * FRAME);
    let opener = ObjectOpener::from_header(key(), &name(), &sealed).unwrap();
    let damaged = with(sealed[place(0)].to_vec(), |frame| frame[100] ^= 1);
    let mut plaintext = bytes::BytesMut::from("before");
    for (position, frame) in [
        (FramePosition::inner(0), &damaged[..]),
        (FramePosition::inner(1), &sealed[place(0)]),
        (FramePosition::inner(1), &sealed[place(1)]),
        (FramePosition::last(0), &sealed[place(0)]),
        (FramePosition::last(1), &sealed[place(1).start..place(1).end - 1]),
    ] {
        opener.open_frame_into(position, frame, &mut plaintext).unwrap_err();
        assert_eq!(plaintext, "before");
    }
}
