//! Pages of relations: their checksums, and what they are of.
//!
//! As in `src/include/storage/checksum_impl.h`, `src/include/storage/bufpage.h` and `src/backend/backup/basebackup.c`.

use bytes::Buf;

use crate::model::Lsn;

/// How many checksums are computed side by side.
const LANES: usize = 32;
/// What each begins with (`checksumBaseOffsets`).
const OFFSETS: [u32; LANES] = [
    0x5B1F_36E9,
    0xB852_5960,
    0x02AB_50AA,
    0x1DE6_6D2A,
    0x79FF_467A,
    0x9BB9_F8A3,
    0x217E_7CD2,
    0x83E1_3D2C,
    0xF8D4_474F,
    0xE39E_B970,
    0x42C6_AE16,
    0x9932_16FA,
    0x7B09_3B5D,
    0x98DA_FF3C,
    0xF718_902A,
    0x0B1C_9CDB,
    0xE58F_764B,
    0x1876_36BC,
    0x5D7B_3BB1,
    0xE73D_E7DE,
    0x92BE_C979,
    0xCCA6_C0B2,
    0x304A_0979,
    0x85AA_43D4,
    0x7831_25BB,
    0x6CA8_EAA2,
    0xE407_EAC6,
    0x4B5C_FC3E,
    0x9FBF_8C76,
    0x15CA_20BE,
    0xF2CA_9FD3,
    0x959B_D756,
];
/// The prime of the Fowler–Noll–Vo hash.
const PRIME: u32 = 16_777_619;
/// What a round takes in.
const ROW_BYTES: usize = LANES * 4;

/// Where the checksum stands in a page (`pd_checksum`), and where the free space ends (`pd_upper`).
const CHECKSUM_OFFSET: usize = 8;
const UPPER_OFFSET: usize = 14;
/// Where the line pointers end (`pd_lower`), which follow the header.
const LOWER_OFFSET: usize = 12;
/// Of fewer tuples it is not said that they are alike.
const TUPLES_MIN: usize = 16;
/// Where its special space begins (`pd_special`), and behind that its length, with its version in the lower byte (`pd_pagesize_version`).
const SPECIAL_OFFSET: usize = 16;
const HEADER_BYTES: usize = 24;

/// The checksum that the page `page` has as block `block` of its relation, whatever it says itself. The length of a page is a power
/// of 2 from 1 KiB to 32 KiB; what is left of another is not taken into account.
#[must_use]
pub fn checksum(page: &[u8], block: u32) -> u16 {
    let mut lanes = OFFSETS;
    let (rows, _) = page.as_chunks::<ROW_BYTES>();
    for (number, row) in rows.iter().enumerate() {
        let mut row = *row;
        if number == 0 {
            row[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].fill(0);
        }
        mix(&mut lanes, &row);
    }
    // Two rounds of zeros, so that the last words are mixed as well.
    mix(&mut lanes, &[0; ROW_BYTES]);
    mix(&mut lanes, &[0; ROW_BYTES]);
    let folded = lanes.iter().fold(0, |folded, lane| folded ^ lane) ^ block;
    u16::try_from(folded % 65_535 + 1).expect("a remainder of a division by 65535 is less than that")
}

#[inline]
fn mix(lanes: &mut [u32; LANES], row: &[u8; ROW_BYTES]) {
    let (words, _) = row.as_chunks::<4>();
    for (lane, word) in lanes.iter_mut().zip(words) {
        let mixed = *lane ^ u32::from_le_bytes(*word);
        *lane = mixed.wrapping_mul(PRIME) ^ (mixed >> 17);
    }
}

/// Whether `page`, block `block` of its relation, has a wrong checksum, though nothing was written to it since `begin`: what is
/// newer may have been read while it was written, and is in the log.
///
/// A page without content has no checksum, and must consist of zeros (`PageIsVerified`).
#[must_use]
pub fn is_damaged(page: &[u8], block: u32, begin: Lsn) -> bool {
    let Some(header) = page.get(..HEADER_BYTES) else { return false };
    if (&header[UPPER_OFFSET..]).get_u16_le() == 0 {
        return page.iter().any(|byte| *byte != 0);
    }
    lsn(header) < begin && (&header[CHECKSUM_OFFSET..]).get_u16_le() != checksum(page, block)
}

/// The end of the record that changed a page last: two halves, each in the byte order of the machine.
fn lsn(mut header: &[u8]) -> Lsn {
    let (high, low) = (header.get_u32_le(), header.get_u32_le());
    Lsn::new(u64::from(high) << 32 | u64::from(low))
}

/// Whether `page` looks like one of a table: nothing stands behind its rows, where every kind of index has something.
#[must_use]
pub fn is_of_table(page: &[u8]) -> bool {
    let Some(mut header) = page.get(SPECIAL_OFFSET..HEADER_BYTES) else { return false };
    let (special, length) = (header.get_u16_le(), header.get_u16_le() & 0xFF00);
    length > 0 && special == length
}

/// How long most tuples of `page` are, in bytes; `None` if it has few, or they are not alike. Line pointers are as in
/// `src/include/storage/itemid.h`.
#[must_use]
pub fn tuple_bytes(page: &[u8]) -> Option<usize> {
    let lower = usize::from(page.get(LOWER_OFFSET..)?.try_get_u16_le().ok()?);
    let (pointers, _) = page.get(HEADER_BYTES..lower)?.as_chunks::<4>();
    let length = |pointer: &[u8; 4]| u32::from_le_bytes(*pointer) >> 17;
    let usual = pointers.get(pointers.len() / 2).map(length)?;
    let alike = pointers.iter().filter(|pointer| length(pointer) == usual).count();
    (pointers.len() >= TUPLES_MIN && alike * 4 >= pointers.len() * 3).then_some(usual as usize)
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    const PAGE_BYTES: usize = 8192;
    const BEGIN: Lsn = Lsn::new(0x2_0000_0000);

    /// A page of an index, full of tuples of `bytes` bytes, whose keys count; each is longer than it should be by what `longer` says.
    pub(in crate::format) fn of_tuples(bytes: usize, longer: impl Fn(usize) -> usize) -> Vec<u8> {
        let count = (PAGE_BYTES - 40) / (bytes + 4);
        let mut page = vec![0; PAGE_BYTES];
        page[LOWER_OFFSET..][..2].copy_from_slice(&u16::try_from(HEADER_BYTES + count * 4).unwrap().to_le_bytes());
        page[SPECIAL_OFFSET..][..4].copy_from_slice(&[0xF0, 0x1F, 4, 0x20]);
        for number in 0..count {
            let at = PAGE_BYTES - 16 - (number + 1) * bytes;
            let pointer = u32::try_from(at | 1 << 15 | (bytes + longer(number)) << 17).unwrap();
            page[HEADER_BYTES + number * 4..][..4].copy_from_slice(&pointer.to_le_bytes());
            page[at + 8..][..8].copy_from_slice(&(number as u64 * 3 + 70_000).to_le_bytes());
        }
        page
    }

    #[test]
    fn three_of_four_tuples_are_alike() {
        assert_eq!(tuple_bytes(&of_tuples(16, |_| 0)), Some(16));
        assert_eq!(tuple_bytes(&of_tuples(40, |number| usize::from(number % 5 == 0) * 8)), Some(40));
        assert_eq!(tuple_bytes(&of_tuples(40, |number| number % 3 * 8)), None);
        assert_eq!(tuple_bytes(&of_tuples(800, |_| 0)), None, "few");
        for page in [&[][..], &[0; 12], &[0xFF; 100], &[0; PAGE_BYTES]] {
            assert_eq!(tuple_bytes(page), None);
        }
    }

    /// A page with content that was written at `lsn`, and has the right checksum.
    fn page(block: u32, lsn: u64) -> Vec<u8> {
        let mut page: Vec<u8> = (0..=250).cycle().take(PAGE_BYTES).collect();
        page[..8].copy_from_slice(&lsn.rotate_left(32).to_le_bytes());
        let sum = checksum(&page, block);
        page[CHECKSUM_OFFSET..CHECKSUM_OFFSET + 2].copy_from_slice(&sum.to_le_bytes());
        page
    }

    #[test]
    fn every_changed_byte_is_noticed() {
        let sound = page(5, 0x1_2345_6789);
        assert!(!is_damaged(&sound, 5, BEGIN));
        assert!(is_damaged(&sound, 6, BEGIN), "it stands in another place");
        for byte in [9, 12, 24, 127, 128, 4096, PAGE_BYTES - 1] {
            let mut page = sound.clone();
            page[byte] ^= 1;
            assert!(is_damaged(&page, 5, BEGIN), "byte {byte}");
        }
    }

    #[test]
    fn what_was_written_since_is_in_the_log() {
        let mut torn = page(5, BEGIN.as_u64());
        torn[5000] ^= 1;
        assert!(!is_damaged(&torn, 5, BEGIN));
        assert!(is_damaged(&torn, 5, Lsn::new(BEGIN.as_u64() + 1)));
    }

    #[test]
    fn a_page_without_content_is_zeros() {
        let mut page = vec![0; PAGE_BYTES];
        assert!(!is_damaged(&page, 5, BEGIN));
        page[PAGE_BYTES - 1] = 1;
        assert!(is_damaged(&page, 5, BEGIN));
        assert!(!is_damaged(&[1; 23], 5, BEGIN), "there is no such page");
    }

    #[test]
    fn a_table_has_no_special_space() {
        let page = |special: u16, length: u16| {
            let mut page = vec![0; usize::from(length).max(HEADER_BYTES)];
            page[16..18].copy_from_slice(&special.to_le_bytes());
            page[18..20].copy_from_slice(&(length | 4).to_le_bytes());
            page
        };
        assert!(is_of_table(&page(8192, 8192)) && is_of_table(&page(0x8000, 0x8000)));
        assert!(!is_of_table(&page(8176, 8192)) && !is_of_table(&page(0, 0)));
        assert!(!is_of_table(&page(8192, 8192)[..23]) && !is_of_table(b""));
    }
}
