//! Pictures of pages, for people who look before a fax leaves.

use std::ops::Range;
use std::sync::Arc;

use hayro::hayro_interpret::InterpreterSettings;
use hayro::hayro_syntax::Pdf;
use hayro::vello_cpu::color::palette::css::WHITE;
use hayro::{PixmapSettings, RenderCache, RenderSettings, render};

/// Longest side of a picture, pixels: a page of A3 at 300 dpi fits. What is larger is shown smaller.
const LONGEST: f32 = 5000.0;

/// Renders pages (from 0) to PNG and hands each to `take`. The error is a sentence for the reader.
pub(super) fn pictures(
    pdf: &Arc<Vec<u8>>,
    pages: Range<u32>,
    dpi: u32,
    mut take: impl FnMut(Vec<u8>) -> std::io::Result<()>,
) -> Result<std::io::Result<()>, String> {
    let pdf = Pdf::new(Arc::clone(pdf)).map_err(|_| "The PDF cannot be drawn.".to_owned())?;
    let cache = RenderCache::new();
    for number in pages {
        let page = usize::try_from(number).ok().and_then(|place| pdf.pages().get(place));
        let page = page.ok_or_else(|| format!("There is no page {}.", number.saturating_add(1)))?;
        let (width, height) = page.render_dimensions();
        let settings = PixmapSettings {
            x_scale: scale(width, width.max(height), dpi),
            y_scale: scale(height, width.max(height), dpi),
            bg_color: WHITE,
        };
        let picture =
            render(page, &cache, &InterpreterSettings::default(), &RenderSettings::default(), &settings);
        let png = picture.into_png().map_err(|_| "A page cannot be written as PNG.".to_owned())?;
        if let Err(error) = take(png) {
            return Ok(Err(error));
        }
    }
    Ok(Ok(()))
}

/// The factor for one side of a page (in points), so that it has at least one pixel, and the longer side no more than
/// [`LONGEST`].
fn scale(side: f32, longer: f32, dpi: u32) -> f32 {
    let wanted = f32::from(u16::try_from(dpi.clamp(10, 600)).unwrap_or(600)) / 72.0;
    let sane = |value: f32| if value.is_finite() && value > 0.0 { value } else { 1.0 };
    let fitting = wanted.min(LONGEST / sane(longer));
    fitting.max(1.0 / sane(side))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hostile_sizes_stay_between_one_pixel_and_the_limit() {
        for (side, longer, dpi, pixels) in [
            (612.0, 792.0, 72, 612.0),
            (612.0, 792.0, 144, 1224.0),
            (1e9, 1e9, 100, LONGEST),
            (0.001, 10.0, 100, 1.0),
            (0.001, 1e9, 100, 1.0),
        ] {
            let got = side * scale(side, longer, dpi);
            assert!((got - pixels).abs() < 0.5, "{side} of {longer} at {dpi}: {got}");
        }
        for broken in [f32::NAN, f32::INFINITY, -1.0, 0.0] {
            assert!(scale(broken, broken, 100).is_finite());
        }
    }
}
