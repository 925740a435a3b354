//! MAPI properties as they are written in a TNEF file (MS-OXTNEF section 2.1.3.5): number, type, value.

use super::text::in_charset;

/// Property numbers (MS-OXPROPS).
pub(super) mod number {
    pub(crate) const BODY: u16 = 0x1000;
    pub(crate) const RTF_COMPRESSED: u16 = 0x1009;
    pub(crate) const HTML: u16 = 0x1013;
    pub(crate) const DISPLAY_NAME: u16 = 0x3001;
    pub(crate) const ATTACH_DATA: u16 = 0x3701;
    pub(crate) const ATTACH_FILENAME: u16 = 0x3704;
    pub(crate) const ATTACH_LONG_FILENAME: u16 = 0x3707;
    pub(crate) const ATTACH_MIME_TAG: u16 = 0x370e;
    pub(crate) const ATTACH_CONTENT_ID: u16 = 0x3712;
    pub(crate) const INTERNET_CODEPAGE: u16 = 0x3fde;
}

/// Where the properties say something that is not there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Damaged;

/// The value of a property, as far as anything is done with it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Value<'x> {
    /// A number of up to 32 bits.
    Number(u32),
    /// Text in the code page of the file.
    Narrow(&'x [u8]),
    /// Text in UTF-16.
    Wide(&'x [u8]),
    /// Bytes.
    Binary(&'x [u8]),
    /// Something that another program makes something of: a mail, a drawing. Without the 16 bytes that say which.
    Object(&'x [u8]),
    /// Times, lists, identifiers.
    Other,
}

impl Value<'_> {
    /// A text, up to the zero that ends it.
    pub(super) fn text(self, codepage: &str) -> Option<String> {
        let text = match self {
            Value::Narrow(bytes) => in_charset(bytes, Some(codepage)),
            Value::Wide(bytes) => {
                let units = bytes
                    .chunks_exact(2)
                    .map(|pair| pair.iter().rev().fold(0, |v, b| v << 8 | u16::from(*b)));
                char::decode_utf16(units).map(|c| c.unwrap_or(char::REPLACEMENT_CHARACTER)).collect()
            }
            _ => return None,
        };
        Some(text.split('\0').next().unwrap_or_default().to_owned())
    }
}

/// A reader that never goes beyond the end.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bytes<'x>(pub &'x [u8]);

impl<'x> Bytes<'x> {
    pub(super) fn take(&mut self, count: usize) -> Result<&'x [u8], Damaged> {
        let (taken, rest) = self.0.split_at_checked(count).ok_or(Damaged)?;
        self.0 = rest;
        Ok(taken)
    }

    pub(super) fn u8(&mut self) -> Result<u8, Damaged> {
        self.take(1)?.first().copied().ok_or(Damaged)
    }

    pub(super) fn u16(&mut self) -> Result<u16, Damaged> {
        Ok(self.take(2)?.iter().rev().fold(0, |value, byte| value << 8 | u16::from(*byte)))
    }

    pub(super) fn u32(&mut self) -> Result<u32, Damaged> {
        Ok(self.take(4)?.iter().rev().fold(0, |value, byte| value << 8 | u32::from(*byte)))
    }

    /// As many bytes as the next number says.
    pub(super) fn counted(&mut self) -> Result<&'x [u8], Damaged> {
        let count = usize::try_from(self.u32()?).map_err(|_| Damaged)?;
        self.take(count)
    }

    /// The same, filled up to four bytes; at the very end the filling may be missing.
    fn padded(&mut self) -> Result<&'x [u8], Damaged> {
        let value = self.counted()?;
        let filling = (4 - value.len() % 4) % 4;
        self.take(filling.min(self.0.len()))?;
        Ok(value)
    }
}

/// Reads all properties. Of one that is there twice the first counts.
pub(super) fn read(bytes: &[u8]) -> Result<Vec<(u16, Value<'_>)>, Damaged> {
    let mut bytes = Bytes(bytes);
    let count = bytes.u32()?;
    let mut properties = Vec::new();
    // Each takes at least eight bytes, so a count that lies ends at the end of the bytes.
    for _ in 0..count {
        let (kind, number) = (bytes.u16()?, bytes.u16()?);
        if number >= 0x8000 {
            skip_name(&mut bytes)?;
        }
        properties.push((number, value(kind, &mut bytes)?));
    }
    Ok(properties)
}

/// Named properties have a set and a number or name of their own before the value.
fn skip_name(bytes: &mut Bytes<'_>) -> Result<(), Damaged> {
    bytes.take(16)?;
    match bytes.u32()? {
        0 => bytes.u32().map(drop),
        1 => bytes.padded().map(drop),
        _ => Err(Damaged),
    }
}

fn value<'x>(kind: u16, bytes: &mut Bytes<'x>) -> Result<Value<'x>, Damaged> {
    let many = kind & 0x1000 != 0;
    let kind = kind & 0x0fff;
    let width = match kind {
        // Values shorter than four bytes are filled up.
        0x0002 | 0x0003 | 0x0004 | 0x000a | 0x000b => 4,
        0x0005 | 0x0006 | 0x0007 | 0x0014 | 0x0040 => 8,
        0x0048 => 16,
        0x000d | 0x001e | 0x001f | 0x0102 => return variable(kind, many, bytes),
        _ => return Err(Damaged),
    };
    if many {
        let count = usize::try_from(bytes.u32()?).map_err(|_| Damaged)?;
        bytes.take(count.checked_mul(width).ok_or(Damaged)?)?;
        return Ok(Value::Other);
    }
    if matches!(kind, 0x0003 | 0x000b) {
        return Ok(Value::Number(bytes.u32()?));
    }
    bytes.take(width)?;
    Ok(Value::Other)
}

fn variable<'x>(kind: u16, many: bool, bytes: &mut Bytes<'x>) -> Result<Value<'x>, Damaged> {
    let count = bytes.u32()?;
    let mut first = None;
    for _ in 0..count {
        let value = bytes.padded()?;
        first.get_or_insert(value);
    }
    Ok(match (first, kind) {
        _ if many => Value::Other,
        (Some(value), 0x001e) => Value::Narrow(value),
        (Some(value), 0x001f) => Value::Wide(value),
        (Some(value), 0x0102) => Value::Binary(value),
        (Some(value), _) => Value::Object(value.get(16..).ok_or(Damaged)?),
        (None, _) => Value::Other,
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn properties_of_all_types_are_stepped_over() {
        let mut bytes = 7u32.to_le_bytes().to_vec();
        // A flag, a time, a named text, a list of numbers, a wide text, bytes, an object.
        bytes.extend_from_slice(b"\x0b\0\xfe\x7f\x01\0\0\0");
        bytes.extend_from_slice(b"\x40\0\x39\0AAAAAAAA");
        bytes.extend_from_slice(
            b"\x1e\0\x05\x80GGGGGGGGGGGGGGGG\x01\0\0\0\x02\0\0\0n\0..\x01\0\0\0\x03\0\0\0ab\0.",
        );
        bytes.extend_from_slice(b"\x03\x10\x10\0\x02\0\0\0\x01\0\0\0\x02\0\0\0");
        bytes.extend_from_slice(b"\x1f\0\x07\x37\x01\0\0\0\x06\0\0\0\xfc\0x\0\0\0..");
        bytes.extend_from_slice(b"\x02\x01\x01\x37\x01\0\0\0\x04\0\0\0%PDF");
        bytes.extend_from_slice(b"\x0d\0\x01\x37\x01\0\0\0\x12\0\0\0IIIIIIIIIIIIIIIIxy..");
        let read = read(&bytes).unwrap();
        let names: Vec<u16> = read.iter().map(|(number, _)| *number).collect();
        assert_eq!(names, [0x7ffe, 0x39, 0x8005, 0x10, 0x3707, 0x3701, 0x3701]);
        assert_eq!(read[0].1, Value::Number(1));
        assert_eq!(read[2].1.text("windows-1252").as_deref(), Some("ab"));
        assert_eq!(read[4].1.text("").as_deref(), Some("üx"));
        assert_eq!(read[5].1, Value::Binary(b"%PDF"));
        assert_eq!(read[6].1, Value::Object(b"xy"));
        for cut in 0..bytes.len() - 2 {
            assert_eq!(super::read(&bytes[..cut]), Err(Damaged), "cut at {cut}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_are_read(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = read(&bytes);
        }
    }
}
