//! The digest that binds a password exchange to a server's certificate.

use rustls::pki_types::CertificateDer;
use sha2::{Digest, Sha256, Sha384, Sha512};

type Hash = fn(&[u8]) -> Vec<u8>;

/// Which digest goes with each signature algorithm, by the DER of its object identifier. MD5 and SHA-1 are replaced by
/// SHA-256 (RFC 5929, section 4.1).
const DIGESTS: [(&[u8], Hash); 9] = [
    // 1.2.840.113549.1.1: RSA with MD5, SHA-1, SHA-256, SHA-384, SHA-512
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x04", digest::<Sha256>),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", digest::<Sha256>),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0b", digest::<Sha256>),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0c", digest::<Sha384>),
    (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x0d", digest::<Sha512>),
    // 1.2.840.10045.4: ECDSA with SHA-1, SHA-256, SHA-384, SHA-512
    (b"\x2a\x86\x48\xce\x3d\x04\x01", digest::<Sha256>),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x02", digest::<Sha256>),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x03", digest::<Sha384>),
    (b"\x2a\x86\x48\xce\x3d\x04\x03\x04", digest::<Sha512>),
];

/// The `tls-server-end-point` of `certificate`; `None` if its signature algorithm has no single digest (Ed25519, RSA-PSS).
pub(super) fn end_point(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let algorithm = signature_algorithm(certificate)?;
    DIGESTS.iter().find(|(known, _)| *known == algorithm).map(|(_, digest)| digest(certificate))
}

fn digest<D: Digest>(bytes: &[u8]) -> Vec<u8> {
    D::digest(bytes).to_vec()
}

const SEQUENCE: u8 = 0x30;
const OBJECT_IDENTIFIER: u8 = 0x06;

/// `Certificate ::= SEQUENCE { tbsCertificate, signatureAlgorithm SEQUENCE { algorithm OBJECT IDENTIFIER, … }, … }`
fn signature_algorithm(certificate: &[u8]) -> Option<&[u8]> {
    let (fields, _) = element(certificate, SEQUENCE)?;
    let (_, fields) = element(fields, SEQUENCE)?;
    let (algorithm, _) = element(fields, SEQUENCE)?;
    let (identifier, _) = element(algorithm, OBJECT_IDENTIFIER)?;
    Some(identifier)
}

/// The content of the DER element with `tag` at the start of `bytes`, and what follows it.
fn element(bytes: &[u8], tag: u8) -> Option<(&[u8], &[u8])> {
    let (_, rest) = bytes.split_first().filter(|(first, _)| **first == tag)?;
    let (&length, rest) = rest.split_first()?;
    let length = usize::from(length);
    if length < 0x80 {
        return rest.split_at_checked(length);
    }
    let (digits, rest) = rest.split_at_checked(length & 0x7f).filter(|(digits, _)| digits.len() <= 4)?;
    let length = digits.iter().fold(0_usize, |length, digit| length << 8 | usize::from(*digit));
    rest.split_at_checked(length)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_algorithm_decides_on_the_digest() {
        let certificate = |identifier: &[u8]| {
            let length = u8::try_from(identifier.len()).unwrap();
            // A long form of a length, an empty part that is signed, and what follows the algorithm.
            let fields = [&[0x30, 0, 0x30, length + 4, 6, length], identifier, &[5, 0, 3, 1, 0]].concat();
            [&[0x30, 0x82, 0, u8::try_from(fields.len()).unwrap()], &fields[..]].concat()
        };
        let digests = [(&b"\x2a\x86\x48\xce\x3d\x04\x03\x03"[..], 48), (b"\x2a\x86\x48\x86\xf7\x0d\x01\x01\x05", 32)];
        for (identifier, length) in digests {
            let certificate = certificate(identifier);
            assert_eq!(end_point(&certificate.as_slice().into()).map(|digest| digest.len()), Some(length));
            for cut in 0..certificate.len() - 5 {
                assert_eq!(end_point(&certificate[..cut].into()), None);
            }
        }
        assert_eq!(end_point(&certificate(b"\x2b\x65\x70").as_slice().into()), None, "Ed25519");
    }
}
