//! The fonts of the cover. Only what is built in or named in the configuration is used, never what a machine happens to
//! have installed: a cover looks the same everywhere, and a missing script is an error instead of a surprise.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use krilla::text::Font;
use parley::fontique::{Blob, Collection, CollectionOptions, FontInfo, SourceCache};
use parley::layout::Run;
use parley::style::{FontFamily, FontFamilyName};
use parley::{FontContext, LayoutContext};

use super::CoverError;

/// Latin, Greek and Cyrillic first; a family later in the list draws what the ones before it lack.
const SCRIPTS: [&[u8]; 11] = [
    include_bytes!("fonts/NotoSans-Regular.ttf"),
    include_bytes!("fonts/NotoSans-Bold.ttf"),
    include_bytes!("fonts/NotoSansArabic-Regular.ttf"),
    include_bytes!("fonts/NotoSansArabic-Bold.ttf"),
    include_bytes!("fonts/NotoSansHebrew-Regular.ttf"),
    include_bytes!("fonts/NotoSansHebrew-Bold.ttf"),
    include_bytes!("fonts/NotoSansDevanagari-Regular.ttf"),
    include_bytes!("fonts/NotoSansDevanagari-Bold.ttf"),
    include_bytes!("fonts/NotoSansThai-Regular.ttf"),
    include_bytes!("fonts/NotoSansArmenian-Regular.ttf"),
    include_bytes!("fonts/NotoSansGeorgian-Regular.ttf"),
];

/// Arrows, check marks, boxes and other signs, after the user's own fonts.
const SIGNS: &[u8] = include_bytes!("fonts/DejaVuSans.ttf");

/// Fonts, parsed once and used for many covers. Covers drawn from several threads take turns.
pub struct Fonts(Mutex<Workbench>);

/// What laying out text needs, with its caches.
pub(super) struct Workbench {
    pub(super) fonts: FontContext,
    pub(super) layouts: LayoutContext<()>,
    /// Names of the families in the order in which they are tried.
    families: Vec<String>,
    /// The same fonts as the PDF writer holds them; `None` for what it cannot read.
    embedded: HashMap<Face, Option<Font>>,
}

/// Blob, number within it, and for variable fonts the instance: axes with the bits of their values.
type Face = (u64, u32, Vec<([u8; 4], u32)>);

impl Fonts {
    /// The built-in fonts: Latin, Greek, Cyrillic, Arabic, Hebrew, Devanagari, Thai, Armenian, Georgian and common signs.
    #[must_use]
    pub fn builtin() -> Self {
        let mut bench = Workbench::new();
        bench.add_built_in(&SCRIPTS);
        bench.add_built_in(&[SIGNS]);
        Fonts(Mutex::new(bench))
    }

    /// The built-in fonts and the given files (TrueType, OpenType, or collections of them), for scripts beyond those.
    ///
    /// # Errors
    ///
    /// A file that cannot be read or is no font, by its path.
    pub fn with_files(files: &[PathBuf]) -> Result<Self, CoverError> {
        let mut bench = Workbench::new();
        bench.add_built_in(&SCRIPTS);
        for path in files {
            let data =
                std::fs::read(path).map_err(|cause| CoverError::FontFile { path: path.clone(), cause })?;
            if !bench.add(Blob::new(Arc::new(data))) {
                return Err(CoverError::NotAFont { path: path.clone() });
            }
        }
        bench.add_built_in(&[SIGNS]);
        Ok(Fonts(Mutex::new(bench)))
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, Workbench> {
        // A draw that panicked leaves nothing but caches behind.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl std::fmt::Debug for Fonts {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Fonts").field(&self.lock().families).finish()
    }
}

impl Workbench {
    fn new() -> Self {
        let collection = Collection::new(CollectionOptions { shared: false, system_fonts: false });
        Workbench {
            fonts: FontContext { collection, source_cache: SourceCache::default() },
            layouts: LayoutContext::new(),
            families: Vec::new(),
            embedded: HashMap::new(),
        }
    }

    fn add_built_in(&mut self, files: &[&'static [u8]]) {
        for data in files {
            let usable = self.add(Blob::new(Arc::new(*data)));
            debug_assert!(usable, "a built-in font cannot be read");
        }
    }

    /// Whether there was a font in the data.
    fn add(&mut self, data: Blob<u8>) -> bool {
        let mut added = self.fonts.collection.register_fonts(data, None);
        // In the order of the file: the families of a collection come in a different one each time.
        added.sort_by_key(|(_, faces)| faces.iter().map(FontInfo::index).min());
        for (family, _) in &added {
            if let Some(name) = self.fonts.collection.family_name(*family)
                && !self.families.iter().any(|known| known == name)
            {
                self.families.push(name.to_owned());
            }
        }
        added.iter().any(|(_, faces)| !faces.is_empty())
    }

    /// The families in the order in which they are to be tried.
    pub(super) fn family_list(&self) -> FontFamily<'static> {
        FontFamily::List(
            self.families.iter().map(|name| FontFamilyName::Named(name.clone().into())).collect(),
        )
    }

    /// The font of a run as the PDF writer holds it; `None` if it cannot read what the layout could.
    pub(super) fn embedded(&mut self, run: &Run<'_, ()>) -> Option<Font> {
        let face = run.font();
        let synthesis = run.synthesis();
        let instance: Vec<_> = synthesis
            .variation_settings()
            .iter()
            .map(|(tag, value)| (tag.to_be_bytes(), value.to_bits()))
            .collect();
        let key = (face.data.id(), face.index, instance);
        let make = |instance: &[([u8; 4], u32)]| {
            let (data, _) = face.data.clone().into_raw_parts();
            let coordinates: Vec<_> = instance
                .iter()
                .map(|(tag, bits)| (krilla::text::Tag::new(tag), f32::from_bits(*bits)))
                .collect();
            Font::new_variable(data.into(), face.index, &coordinates)
        };
        if !self.embedded.contains_key(&key) {
            let font = make(&key.2);
            self.embedded.insert(key.clone(), font);
        }
        self.embedded.get(&key).cloned().flatten()
    }
}
