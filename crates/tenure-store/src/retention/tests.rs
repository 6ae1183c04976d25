//! Tests of the archive's bytes.

use super::*;
use serde_json::json;

fn content() -> ArchiveContent {
    ArchiveContent {
        metadata: [("team".to_owned(), "blue".to_owned())].into(),
        document: Some(json!({"turn": 9_007_199_254_740_993_u64})),
        previews: vec![PreviewRecord {
            session_id: "exec_20261121_020944_4ad060d9".parse().unwrap(),
            port: 8080,
            created_at: Timestamp::from_ms(1_795_226_984_050),
        }],
        execs: Vec::new(),
    }
}

/// What the first version wrote for [`content`]. Never changed: it stands for those that are out there.
const RELEASED: &str = "0128b52ffd0458cd0400224b231f7027ce011d22b47713fa71b6429d08240302158e48fbbf5596c258aafe0f21d150e03f648817c822094af1266b0624255\
     2220c4d3d1fb2d51ab276c9512289f0a16b0e47df964636a696529b9a2b694a86a6aea40ffafca62ca651deebf7a7c07f06ad14b43b1c4580dd54872a7437\
     1d99cb679c03995e9ca46947f1ed100c9cbfb0867ff80cb2c6602f7f020200872c88ac5ff309f14d5b4c";

/// TR-6
#[test]
fn a_content_comes_back_as_it_was_packed() {
    let packed = content().pack().unwrap();
    assert_eq!(ArchiveContent::unpack(&packed.bytes, packed.digest).unwrap(), content());
    let json = serde_json::to_vec(&content()).unwrap();
    assert_eq!(packed.digest, ContentDigest { sha256: digest_bytes(&json), bytes: json.len() as u64 });
}

/// TR-6: what the first version wrote is read.
#[test]
fn an_archive_of_each_released_version_is_read() {
    let released = hex::decode(RELEASED).unwrap();
    let digest = content().pack().unwrap().digest;
    assert_eq!(ArchiveContent::unpack(&released, digest).unwrap(), content());
}

/// TR-6: whichever bit of it is turned, or wherever it is cut.
#[test]
fn a_damaged_archive_is_refused() {
    let packed = content().pack().unwrap();
    for at in 0..packed.bytes.len() {
        let mut damaged = packed.bytes.clone();
        damaged[at] ^= 0x10;
        let read = ArchiveContent::unpack(&damaged, packed.digest);
        // A bit that says nothing about the content may turn; the content may not.
        assert!(read.is_err() || read.unwrap() == content(), "byte {at}");
        assert!(ArchiveContent::unpack(&packed.bytes[..at], packed.digest).is_err(), "cut at {at}");
    }
    let other = ContentDigest { sha256: digest_bytes(b"another"), ..packed.digest };
    assert!(matches!(ArchiveContent::unpack(&packed.bytes, other), Err(NotPacked::Damaged(_))));
    let mut newer = packed.bytes.clone();
    newer[0] = 2;
    assert!(matches!(ArchiveContent::unpack(&newer, packed.digest), Err(NotPacked::Version(2))));
}

/// TR-6: a small file that would fill the memory is not read to its end.
#[test]
fn an_archive_of_too_much_is_refused() {
    let mut bomb = vec![VERSION];
    let mut encoder = zstd::Encoder::new(&mut bomb, 1).unwrap();
    let block = vec![b' '; 1 << 20];
    (0..=CONTENT_MAX >> 20).for_each(|_| std::io::Write::write_all(&mut encoder, &block).unwrap());
    encoder.finish().unwrap();
    let digest = ContentDigest { sha256: Sha256Digest::default(), bytes: 0 };
    assert!(matches!(ArchiveContent::unpack(&bomb, digest), Err(NotPacked::TooLong(_))));
}
