//! What the keys of a PDF's dictionaries say to who copies pages: what is drawn with, and what is never needed.

/// Entries that lead away from drawing, or out of the file.
pub(super) const NEVER: &[&[u8]] = &[
    b"AA",
    b"AF",
    b"Alternates",
    b"Dests",
    b"EF",
    b"JS",
    b"LastModified",
    b"Measure",
    b"Metadata",
    b"OPI",
    b"Parent",
    b"PieceInfo",
    b"PtData",
    b"Ref",
    b"StructParent",
    b"StructParents",
    b"Thumb",
];
/// In streams also: content that lies in another file.
pub(super) const NEVER_IN_STREAMS: &[&[u8]] = &[b"DL", b"F", b"FDecodeParms", b"FFilter", b"Length"];
/// Entries that lead to what is drawn. What stands there is drawn by viewers whatever type it claims, and has to be there.
pub(super) const DRAWS: &[&[u8]] = &[
    b"Alternate",
    b"BG",
    b"BG2",
    b"CIDToGIDMap",
    b"CS",
    b"ColorSpace",
    b"DecodeParms",
    b"DescendantFonts",
    b"Encoding",
    b"ExtGState",
    b"Font",
    b"FontDescriptor",
    b"FontFile",
    b"FontFile2",
    b"FontFile3",
    b"Function",
    b"Functions",
    b"G",
    b"HT",
    b"JBIG2Globals",
    b"Mask",
    b"Pattern",
    b"SMask",
    b"Shading",
    b"TR",
    b"TR2",
    b"UCR",
    b"UCR2",
    b"UseCMap",
    b"W",
    b"Widths",
    b"XObject",
];
/// Objects that drawing never needs, where a reference to them stands under a key that says nothing of drawing.
pub(super) const NEVER_TYPES: &[&[u8]] = &[
    b"Action",
    b"Annot",
    b"Catalog",
    b"EmbeddedFile",
    b"Filespec",
    b"Metadata",
    b"ObjStm",
    b"Outlines",
    b"Page",
    b"Pages",
    b"Sig",
    b"StructElem",
    b"StructTreeRoot",
    b"XRef",
];
/// Dictionaries whose keys are names that the document made up.
pub(super) const NAME_TABLES: &[&[u8]] = &[b"CharProcs", b"Colorants"];
/// What a dictionary is there for, by the key under which it was found.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Role {
    /// Entries of the standard.
    Plain,
    /// The same, and drawn with: it has to be there and whole.
    Drawn,
    /// Names that the document made up: none may be left out for how it is called.
    Table,
    /// Tables of what content may draw with.
    Resources,
}
