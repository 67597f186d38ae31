//! Ranges of plaintext, read by one ranged read of the sealed object.

use bytes::Bytes;
use proptest::prelude::*;

use super::*;

fn opener(sealed: &[u8]) -> ObjectOpener {
    ObjectOpener::from_header(key(), &name(), sealed).unwrap()
}

/// Reads as an engine would.
fn read(sealed: &[u8], range: std::ops::Range<u64>) -> Result<Bytes, OpenError> {
    let opener = opener(sealed);
    let span = opener.layout(sealed.len() as u64)?.frames_for(range)?;
    let bytes = span.sealed_bytes();
    opener.open_span(&span, &Bytes::copy_from_slice(&sealed[bytes.start as usize..bytes.end as usize]))
}

#[test]
fn lengths_follow_from_each_other() {
    for length in (0..3 * FRAME as u64 + 2).chain([1 << 40, (1 << 44) - 4096]) {
        let layout = SealedLayout::of_plaintext(&name(), FRAME_SIZE, length).unwrap();
        assert_eq!(SealedLayout::of_sealed(&name(), FRAME_SIZE, layout.sealed_len()), Ok(layout));
        assert_eq!(layout.plain_len(), length);
    }
    assert_eq!(opener(&sealed(10_000)).layout(sealed(10_000).len() as u64).unwrap().plain_len(), 10_000);
}

#[test]
fn impossible_lengths_are_refused() {
    let header = SealedLayout::header_len(&name()) as u64;
    let full = SEALED_FRAME as u64;
    let layout = |sealed_len| SealedLayout::of_sealed(&name(), FRAME_SIZE, sealed_len);
    let truncated = |at, cut| Err(OpenError::Truncated { at, cut });
    assert_eq!(layout(0), truncated(0, Cut::WithinHeader));
    assert_eq!(layout(header - 1), truncated(header - 1, Cut::WithinHeader));
    assert_eq!(layout(header), truncated(header, Cut::BeforeFrame(0)));
    assert_eq!(layout(header + 23), truncated(header + 23, Cut::WithinFrame(0)));
    for within in [1, 23, 24] {
        let at = header + 2 * full + within;
        assert_eq!(layout(at), truncated(at, Cut::WithinFrame(2)));
    }
    let most = header + full * u64::from(u32::MAX);
    assert_eq!(layout(most).unwrap().frame_count(), u32::MAX);
    assert_eq!(layout(most + 25), Err(OpenError::Extended { at: most }));
    assert_eq!(layout(u64::MAX), Err(OpenError::Extended { at: most }));
    let too_long = SealedLayout::of_plaintext(&name(), FRAME_SIZE, FRAME as u64 * u64::from(u32::MAX) + 1);
    assert_eq!(too_long, Err(SealError::TooLong));
}

#[test]
fn ranges_at_the_edges() {
    let (plain, sealed) = (plaintext(3 * FRAME), sealed(3 * FRAME));
    let edges = [0, 1, FRAME - 1, FRAME, FRAME + 1, 2 * FRAME, 3 * FRAME - 1, 3 * FRAME];
    for (start, end) in edges.iter().flat_map(|&start| edges.iter().map(move |&end| (start, end))) {
        let range = start as u64..end as u64;
        let expected = OpenError::OutOfRange { start: range.start, end: range.end, plain_len: 3 * FRAME as u64 };
        assert_eq!(read(&sealed, range), plain.get(start..end).map(Bytes::copy_from_slice).ok_or(expected));
    }
    let beyond = 3 * FRAME as u64 + 1;
    assert!(matches!(read(&sealed, beyond..beyond), Err(OpenError::OutOfRange { .. })));
    assert_eq!(read(&super::sealed(0), 0..0), Ok(Bytes::new()));
}

#[test]
fn a_span_fetches_no_more_than_it_needs() {
    let layout = SealedLayout::of_plaintext(&name(), FRAME_SIZE, 3 * FRAME as u64 + 5).unwrap();
    let header = SealedLayout::header_len(&name()) as u64;
    let span = layout.frames_for(FRAME as u64 + 7..2 * FRAME as u64).unwrap();
    assert_eq!((span.frames(), span.skip(), span.plain_len()), (1..2, 7, FRAME as u64 - 7));
    assert_eq!(span.sealed_bytes(), header + SEALED_FRAME as u64..header + 2 * SEALED_FRAME as u64);
    let tail = layout.frames_for(3 * FRAME as u64..3 * FRAME as u64 + 5).unwrap();
    assert_eq!(tail.sealed_bytes(), header + 3 * SEALED_FRAME as u64..layout.sealed_len());
    assert!(layout.frames_for(9..9).unwrap().sealed_bytes().is_empty());
}

#[test]
fn an_object_of_another_length_is_noticed_where_it_ends() {
    let whole = sealed(3 * FRAME);
    let end = |sealed: &[u8]| {
        let plain_len = opener(sealed).layout(sealed.len() as u64)?.plain_len();
        read(sealed, plain_len - 1..plain_len)
    };
    let at = whole.len() - SEALED_FRAME;
    assert_eq!(end(&whole[..at]), Err(OpenError::Truncated { at: at as u64, cut: Cut::BeforeFrame(2) }));
    assert_eq!(end(&whole[..at + 30]), Err(OpenError::Truncated { at: at as u64 + 30, cut: Cut::WithinFrame(2) }));
    let short = sealed(3 * FRAME - 100);
    let extended = |extra: usize| [&short[..], &vec![0; extra]].concat();
    let expected = OpenError::Extended { at: short.len() as u64 };
    assert_eq!(end(&extended(7)), Err(expected.clone()));
    let longer = extended(100 + SEALED_FRAME);
    assert_eq!(read(&longer, 3 * FRAME as u64 - 200..3 * FRAME as u64 - 100), Err(expected));
}

#[test]
fn a_read_that_returns_too_little_or_too_much_is_noticed() {
    let sealed = sealed(3 * FRAME);
    let opener = opener(&sealed);
    let span = opener.layout(sealed.len() as u64).unwrap().frames_for(10..FRAME as u64 + 10).unwrap();
    let start = span.sealed_bytes().start as usize;
    for length in (0..2 * SEALED_FRAME).step_by(97) {
        let fetched = Bytes::copy_from_slice(&sealed[start..start + length]);
        assert!(matches!(opener.open_span(&span, &fetched), Err(OpenError::Truncated { .. })), "{length}");
    }
    let fetched = Bytes::copy_from_slice(&sealed[start..=start + 2 * SEALED_FRAME]);
    assert_eq!(opener.open_span(&span, &fetched), Err(OpenError::CorruptFrame { index: 1 }));
}

proptest! {
    #[test]
    fn any_range(length in 0..40_000_usize, edges in any::<(prop::sample::Index, prop::sample::Index)>()) {
        let (a, b) = (edges.0.index(length + 1), edges.1.index(length + 1));
        let range = a.min(b)..a.max(b);
        let found = read(&sealed(length), range.start as u64..range.end as u64);
        prop_assert_eq!(found.unwrap(), &plaintext(length)[range]);
    }
}
