//! Whatever the chunks and whatever the order: the same object, the same plaintext.

use proptest::prelude::*;

use super::*;

/// Lengths around every edge: none, a byte, a frame and its neighbours, several frames.
const LENGTHS: [usize; 9] = [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME - 1, 2 * FRAME, 2 * FRAME + 1, 10_000];

fn sealed_in_chunks(plaintext: &[u8], chunk: usize) -> Vec<u8> {
    let mut sealer = Sealer::new(&key(), &name(), salt(), FRAME_SIZE);
    let mut sealed = Vec::new();
    for chunk in plaintext.chunks(chunk) {
        sealed.extend(sealer.seal(chunk).unwrap());
    }
    sealed.extend(sealer.finish().unwrap());
    sealed
}

fn opened_in_chunks(sealed: &[u8], chunk: usize) -> Result<Vec<u8>, OpenError> {
    let mut opener = Opener::new(key(), &name());
    let mut plaintext = Vec::new();
    for chunk in sealed.chunks(chunk) {
        plaintext.extend(opener.open(chunk)?);
    }
    opener.finish().map(|()| plaintext)
}

#[test]
fn what_is_sealed_opens() {
    for length in LENGTHS {
        let sealed = sealed(length);
        assert_eq!(reopened(&sealed), Ok(plaintext(length)));
        let frames = length.div_ceil(FRAME).max(1);
        assert_eq!(sealed.len(), SealedLayout::header_len(&name()) + length + frames * frame::FRAME_OVERHEAD);
    }
}

#[test]
fn chunks_do_not_matter() {
    for length in LENGTHS {
        let (plain, whole) = (plaintext(length), sealed(length));
        for chunk in [1, 61, 62, 63, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME, SEALED_FRAME, 20_000] {
            assert!(sealed_in_chunks(&plain, chunk) == whole, "{length} bytes in chunks of {chunk}");
            assert!(opened_in_chunks(&whole, chunk).as_ref() == Ok(&plain), "{length} bytes in chunks of {chunk}");
        }
    }
}

#[test]
fn at_most_a_frame_is_held_back() {
    let mut sealer = Sealer::new(&key(), &name(), salt(), FRAME_SIZE);
    let header = SealedLayout::header_len(&name());
    assert_eq!(sealer.seal(&plaintext(FRAME)).unwrap().len(), header);
    assert_eq!(sealer.seal(&[1]).unwrap().len(), SEALED_FRAME);
    let mut opener = Opener::new(key(), &name());
    let sealed = sealed(10_000);
    assert_eq!(opener.open(&sealed[..header + SEALED_FRAME - 1]).unwrap().len(), 0);
    assert_eq!(opener.open(&sealed[header + SEALED_FRAME - 1..header + SEALED_FRAME]).unwrap().len(), FRAME);
}

#[test]
fn frames_are_sealed_and_opened_in_any_order() {
    let (plain, whole) = (plaintext(10_000), sealed(10_000));
    let sealer = ObjectSealer::new(&key(), &name(), salt(), FRAME_SIZE);
    let opener = ObjectOpener::from_header(key(), &name(), sealer.header()).unwrap();
    let mut at_end = whole.len();
    let positions = [FramePosition::inner(0), FramePosition::inner(1), FramePosition::last(2)];
    for (position, plain) in positions.into_iter().zip(plain.chunks(FRAME)).rev() {
        let frame = sealer.seal_frame(position, plain).unwrap();
        at_end -= frame.len();
        assert!(whole[at_end..].starts_with(&frame));
        assert!(opener.open_frame(position, &frame).unwrap() == plain);
    }
    assert_eq!(whole[..at_end], sealer.header()[..]);
}

#[test]
fn a_plaintext_is_cut_in_one_way_only() {
    let sealer = ObjectSealer::new(&key(), &name(), salt(), FRAME_SIZE);
    let inner = FramePosition::inner(0);
    for (position, length) in [
        (inner, 0),
        (inner, FRAME - 1),
        (inner, FRAME + 1),
        (FramePosition::last(1), 0),
        (FramePosition::last(0), FRAME + 1),
    ] {
        let expected = SealError::FrameLength { position, found: length, frame_size: FRAME };
        assert_eq!(sealer.seal_frame(position, &plaintext(length)), Err(expected));
    }
    assert!(sealer.seal_frame(FramePosition::last(0), &[]).is_ok());
}

#[test]
fn keys_and_salts_are_not_printed() {
    let printed = format!("{:?} {:?}", ServerKey::new([0xAB; 32]), WrappingKey::new([0xAB; 32]));
    assert!(!printed.contains("171, 171") && !printed.to_lowercase().contains("abab"), "{printed}");
    let id = key().id();
    assert_eq!(id.to_string().parse(), Ok(id));
    assert!(id.to_string().to_uppercase().parse::<KeyId>().is_err());
}

#[test]
fn sealers_and_openers_are_shared_by_threads() {
    fn shared<T: Send + Sync + 'static>() {}
    shared::<ObjectSealer>();
    shared::<ObjectOpener>();
    shared::<Sealer>();
    shared::<Opener>();
}

#[test]
fn frame_sizes_are_powers_of_two() {
    for exponent in 12..=20 {
        assert_eq!(FrameSize::new(1 << exponent).unwrap().bytes(), 1 << exponent);
    }
    for bytes in [0, 1, 2048, 4097, 12_288, 1 << 21, usize::MAX] {
        assert!(FrameSize::new(bytes).is_err(), "{bytes}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn any_chunks_of_any_plaintext(length in 0..40_000_usize, cuts in prop::collection::vec(1..9000_usize, 1..20)) {
        let (plain, mut sealer) = (plaintext(length), Sealer::new(&key(), &name(), salt(), FRAME_SIZE));
        let mut opener = Opener::new(key(), &name());
        let (mut rest, mut opened) = (&plain[..], Vec::new());
        for cut in cuts {
            let (chunk, after) = rest.split_at(cut.min(rest.len()));
            opened.extend(opener.open(&sealer.seal(chunk).unwrap()).unwrap());
            rest = after;
        }
        opened.extend(opener.open(&sealer.seal(rest).unwrap()).unwrap());
        opened.extend(opener.open(&sealer.finish().unwrap()).unwrap());
        prop_assert_eq!(opener.finish(), Ok(()));
        prop_assert!(opened == plain);
    }
}
