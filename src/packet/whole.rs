//! Whether the data of a stream is all there: it decodes to the end that it says itself.
//!
//! Readers of PDF take what they can of data that is damaged or cut off, and show the rest as nothing. Nobody sees on a fax
//! that half a page is missing, so every stream that a chosen page is drawn with must reach its end.

use std::borrow::Cow;
use std::io;

use flate2::{Decompress, FlushDecompress, Status};
use lopdf::{Dictionary, Document, Object, ObjectId, Stream};
use weezl::BitOrder;
use weezl::decode::Decoder;

use super::graphic::is_whole_jpeg;
use super::loss::Loss;

/// Data of the last filter is only counted, never kept, so it may be this many times as long as data that is kept.
const COUNTED: usize = 8;

/// Checks one stream. Data that passes through another filter may unfold to `unfold` bytes.
///
/// The innards of fax, JBIG2 and JPEG 2000 pictures are not looked into.
pub(super) fn whole(doc: &Document, stream: &Stream, unfold: usize) -> Result<(), Loss> {
    // A length that cannot be told leaves the reader with an empty stream.
    stream.dict.get_deref(b"Length", doc).and_then(Object::as_i64).map_err(|_| Loss::Damaged)?;
    let filters = match stream.dict.get(b"Filter") {
        Err(_) | Ok(Object::Null) => return Ok(()),
        Ok(_) => stream.filters().map_err(|_| Loss::Damaged)?,
    };
    if filters.len() > Stream::MAX_FILTERS {
        return Err(Loss::Damaged);
    }
    let most = unfold.saturating_mul(COUNTED);
    let mut data = Cow::Borrowed(stream.content.as_slice());
    for (place, &filter) in filters.iter().enumerate() {
        let parameters = match stream.dict.get(b"DecodeParms") {
            Ok(Object::Array(list)) => list.get(place).and_then(|entry| entry.as_dict().ok()),
            Ok(Object::Dictionary(only)) => Some(only),
            _ => None,
        };
        reaches_its_end(filter, parameters, &data, most)?;
        if place + 1 < filters.len() {
            data = Cow::Owned(decoded(filter, parameters, &data, unfold)?);
        }
    }
    Ok(())
}

fn reaches_its_end(
    filter: &[u8],
    parameters: Option<&Dictionary>,
    data: &[u8],
    most: usize,
) -> Result<(), Loss> {
    let is_whole = match filter {
        // No content at all, as programs write it for a blank page.
        b"FlateDecode" | b"LZWDecode" | b"ASCII85Decode" | b"RunLengthDecode" if data.is_empty() => true,
        b"FlateDecode" => return inflates(data, most),
        b"LZWDecode" => return unpacks(data, parameters, most),
        b"ASCII85Decode" => memchr::memmem::find(data, b"~>").is_some(),
        b"RunLengthDecode" => runs_end(data),
        b"ASCIIHexDecode" | b"Crypt" => true,
        b"DCTDecode" => is_whole_jpeg(data),
        b"JPXDecode" | b"CCITTFaxDecode" | b"JBIG2Decode" => !data.is_empty(),
        _ => false,
    };
    if is_whole { Ok(()) } else { Err(Loss::Damaged) }
}

/// One filter's output, for the next filter.
fn decoded(
    filter: &[u8],
    parameters: Option<&Dictionary>,
    data: &[u8],
    unfold: usize,
) -> Result<Vec<u8>, Loss> {
    let mut dictionary = Dictionary::new();
    dictionary.set("Filter", Object::Name(filter.to_vec()));
    if let Some(parameters) = parameters {
        dictionary.set("DecodeParms", Object::Dictionary(parameters.clone()));
    }
    Stream::new(dictionary, data.to_vec()).decompressed_content_with_limit(unfold).map_err(
        |error| match error {
            lopdf::Error::Decompress(lopdf::DecompressError::MemoryLimitExceeded { .. }) => Loss::TooLarge,
            _ => Loss::Damaged,
        },
    )
}

/// RFC 1950. A checksum that is cut off takes nothing from the page; one that is wrong says that the data changed.
fn inflates(data: &[u8], most: usize) -> Result<(), Loss> {
    let Some((&[method, flags], packed)) = data.split_first_chunk() else { return Err(Loss::Damaged) };
    let has_head = method & 0xf == 8 && flags & 0x20 == 0 && u16::from_be_bytes([method, flags]) % 31 == 0;
    if !has_head {
        return Err(Loss::Damaged);
    }
    if behind_end(Decompress::new(true), data, most)?.is_some() {
        return Ok(());
    }
    match behind_end(Decompress::new(false), packed, most)? {
        Some(behind) if behind < 4 => Ok(()),
        _ => Err(Loss::Damaged),
    }
}

/// How many bytes stand behind the end of compressed data; `None` when the data stops before its end.
fn behind_end(mut inflate: Decompress, data: &[u8], most: usize) -> Result<Option<usize>, Loss> {
    let mut room = vec![0; 64 << 10];
    loop {
        let taken = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        let (before, rest) = (inflate.total_out(), data.get(taken..).unwrap_or_default());
        let status = inflate.decompress(rest, &mut room, FlushDecompress::None).map_err(|_| Loss::Damaged)?;
        let now = usize::try_from(inflate.total_in()).unwrap_or(usize::MAX);
        if status == Status::StreamEnd {
            return Ok(Some(data.len().saturating_sub(now)));
        }
        if now == taken && inflate.total_out() == before {
            return Ok(None);
        }
        if usize::try_from(inflate.total_out()).map_or(true, |out| out > most) {
            return Err(Loss::TooLarge);
        }
    }
}

/// LZW up to its end mark (PDF 1.7 section 7.4.4).
fn unpacks(data: &[u8], parameters: Option<&Dictionary>, most: usize) -> Result<(), Loss> {
    let early = parameters.and_then(|it| it.get(b"EarlyChange").ok()).and_then(|it| it.as_i64().ok());
    let mut decoder = match early {
        Some(0) => Decoder::new(BitOrder::Msb, 8),
        _ => Decoder::with_tiff_size_switch(BitOrder::Msb, 8),
    };
    let mut counter = Counter { left: most, over: false };
    let status = decoder.into_stream(&mut counter).decode_all(data).status;
    match status {
        Ok(()) => Ok(()),
        Err(_) if counter.over => Err(Loss::TooLarge),
        Err(_) => Err(Loss::Damaged),
    }
}

/// Takes so many bytes and keeps none.
struct Counter {
    left: usize,
    over: bool,
}

impl io::Write for Counter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.over = true;
            return Err(io::Error::from(io::ErrorKind::FileTooLarge));
        };
        self.left = left;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Whether the last run has all its bytes (PDF 1.7 section 7.4.5). The end mark itself may be missing.
fn runs_end(mut data: &[u8]) -> bool {
    while let Some((&length, rest)) = data.split_first() {
        let run = match length {
            128 => return true,
            0..=127 => usize::from(length) + 1,
            129..=255 => 1,
        };
        let Some(behind) = rest.get(run..) else { return false };
        data = behind;
    }
    true
}

/// Names the filters of every stream in its own dictionary and by their full names. PDF allows both entries to stand elsewhere in
/// the file; the reader below takes such a stream for one without filters.
pub(super) fn name_filters(doc: &mut Document) {
    let mut named: Vec<(ObjectId, &[u8], Object)> = Vec::new();
    for (&id, object) in &doc.objects {
        let Object::Stream(stream) = object else { continue };
        for key in [&b"Filter"[..], b"DecodeParms"] {
            let Ok(old) = stream.dict.get(key) else { continue };
            let new = in_place(doc, old);
            if new != *old {
                named.push((id, key, new));
            }
        }
    }
    for (id, key, value) in named {
        if let Some(Object::Stream(stream)) = doc.objects.get_mut(&id) {
            stream.dict.set(key, value);
        }
    }
}

/// The entry with references followed, also those of a list.
fn in_place(doc: &Document, entry: &Object) -> Object {
    let followed = |entry: &Object| doc.dereference(entry).map_or(Object::Null, |(_, there)| there.clone());
    match followed(entry) {
        Object::Array(list) => Object::Array(list.iter().map(|each| full_name(followed(each))).collect()),
        other => full_name(other),
    }
}

/// Viewers take the names of filters in inline pictures (PDF 1.7 table 94) for those of streams too.
fn full_name(entry: Object) -> Object {
    let Object::Name(short) = &entry else { return entry };
    let full: &[u8] = match short.as_slice() {
        b"Fl" => b"FlateDecode",
        b"LZW" => b"LZWDecode",
        b"A85" => b"ASCII85Decode",
        b"AHx" => b"ASCIIHexDecode",
        b"RL" => b"RunLengthDecode",
        b"CCF" => b"CCITTFaxDecode",
        b"DCT" => b"DCTDecode",
        _ => return entry,
    };
    Object::Name(full.to_vec())
}

#[cfg(test)]
mod tests;
