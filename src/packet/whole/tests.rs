//! Streams that are whole, and streams that only look so.

use std::io::Write;

use lopdf::{Dictionary, Document, Object, Stream};

use super::super::loss::Loss;
use super::super::samples::jpeg;
use super::*;

fn zipped(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

fn packed(bytes: &[u8]) -> Vec<u8> {
    weezl::encode::Encoder::with_tiff_size_switch(BitOrder::Msb, 8).encode(bytes).unwrap()
}

fn stream(filters: &[&str], data: Vec<u8>) -> Stream {
    let mut stream = Stream::new(Dictionary::new(), data);
    match filters {
        [] => {}
        [only] => stream.dict.set("Filter", *only),
        more => stream.dict.set(
            "Filter",
            more.iter().map(|name| Object::Name(name.as_bytes().to_vec())).collect::<Vec<_>>(),
        ),
    }
    stream
}

#[test]
fn data_reaches_the_end_that_it_says_itself() {
    let letter = b"a letter that is repeated, and repeated, and repeated".repeat(20);
    let (zip, lzw, photo) = (zipped(&letter), packed(&letter), [jpeg(9, 9), b"\xff\xd9".to_vec()].concat());
    let less = |data: &[u8], cut: usize| data[..data.len() - cut].to_vec();
    let more = |data: &[u8]| [data, b"\r\n"].concat();
    let mut changed = zip.clone();
    changed[10] ^= 4;
    let hex: String = zip.iter().map(|byte| format!("{byte:02x}")).collect();
    let damaged = Err(Loss::Damaged);
    for (what, filters, data, expected) in [
        ("no filter", &[][..], b"anything".to_vec(), Ok(())),
        ("Flate", &["FlateDecode"], zip.clone(), Ok(())),
        ("Flate and a line end", &["FlateDecode"], more(&zip), Ok(())),
        ("Flate of a blank page", &["FlateDecode"], Vec::new(), Ok(())),
        ("Flate without its checksum", &["FlateDecode"], less(&zip, 4), Ok(())),
        ("Flate with half a checksum", &["FlateDecode"], less(&zip, 2), Ok(())),
        ("Flate cut", &["FlateDecode"], less(&zip, 6), damaged),
        ("Flate cut to its head", &["FlateDecode"], zip[..2].to_vec(), damaged),
        ("Flate changed", &["FlateDecode"], changed, damaged),
        ("no Flate", &["FlateDecode"], b"garbage".to_vec(), damaged),
        ("LZW", &["LZWDecode"], lzw.clone(), Ok(())),
        ("LZW cut", &["LZWDecode"], less(&lzw, 4), damaged),
        ("ASCII 85", &["ASCII85Decode"], b"9jqo^~>\n".to_vec(), Ok(())),
        ("ASCII 85 cut", &["ASCII85Decode"], b"9jqo^".to_vec(), damaged),
        ("runs", &["RunLengthDecode"], b"\x01ab\xfec\x80".to_vec(), Ok(())),
        ("runs without an end mark", &["RunLengthDecode"], b"\x01ab\xfec".to_vec(), Ok(())),
        ("runs cut", &["RunLengthDecode"], b"\x05ab".to_vec(), damaged),
        (
            "hexadecimal, then Flate",
            &["ASCIIHexDecode", "FlateDecode"],
            format!("{hex}>").into_bytes(),
            Ok(()),
        ),
        (
            "hexadecimal, then Flate cut",
            &["ASCIIHexDecode", "FlateDecode"],
            hex.as_bytes()[..40].to_vec(),
            damaged,
        ),
        ("JPEG", &["DCTDecode"], photo.clone(), Ok(())),
        ("JPEG without its end", &["DCTDecode"], less(&photo, 2), damaged),
        ("no JPEG", &["DCTDecode"], b"garbage".to_vec(), damaged),
        ("a fax picture", &["CCITTFaxDecode"], vec![0], Ok(())),
        ("a fax picture of nothing", &["CCITTFaxDecode"], Vec::new(), damaged),
        ("a filter that nobody knows", &["Squeeze"], vec![0], damaged),
    ] {
        assert_eq!(whole(&Document::new(), &stream(filters, data), 1 << 20), expected, "{what}");
    }
}

#[test]
fn what_unfolds_without_end_is_not_followed() {
    let bomb = zipped(&vec![0; 1 << 20]);
    let doc = Document::new();
    assert_eq!(whole(&doc, &stream(&["FlateDecode"], bomb.clone()), 1 << 17), Ok(()));
    assert_eq!(whole(&doc, &stream(&["FlateDecode"], bomb.clone()), 1 << 16), Err(Loss::TooLarge));
    let twice = stream(&["FlateDecode", "FlateDecode"], zipped(&bomb));
    assert_eq!(whole(&doc, &twice, 1 << 16), Err(Loss::TooLarge));
    let lzw = stream(&["LZWDecode"], packed(&vec![0; 1 << 20]));
    assert_eq!(whole(&doc, &lzw, 1 << 16), Err(Loss::TooLarge));
    let many = stream(&["ASCIIHexDecode"; 17], b">".to_vec());
    assert_eq!(whole(&doc, &many, 1 << 16), Err(Loss::Damaged));
}

#[test]
fn a_length_that_nobody_can_tell_is_no_length() {
    for length in [None, Some(Object::Reference((9, 0))), Some(Object::Null)] {
        let mut stream = stream(&[], Vec::new());
        match length {
            None => drop(stream.dict.remove(b"Length")),
            Some(length) => stream.dict.set("Length", length),
        }
        assert_eq!(whole(&Document::new(), &stream, 1 << 20), Err(Loss::Damaged));
    }
}
