//! The letters of figures: one embedded typeface, so that a figure looks and measures the same everywhere, and fonts of the machine only for scripts that it lacks.

use ab_glyph::{Font, FontRef, FontVec, GlyphId, PxScale, ScaleFont, point};
use fontdb::Database;
use std::sync::{Arc, LazyLock, Mutex};

/// What a browser is asked for: the typeface by which texts were measured, then those nearest to it.
pub(super) const FAMILY: &str = "Noto Sans, Helvetica, Arial, sans-serif";

/// Height of a small letter in sizes of the type.
const X_HEIGHT: f64 = 0.536;

static FACE: LazyLock<FontRef<'static>> =
    LazyLock::new(|| FontRef::try_from_slice(ttf_noto_sans::REGULAR).expect("the embedded font is one"));

/// Fonts of the machine.
static MACHINE: LazyLock<Database> = LazyLock::new(|| {
    let mut all = Database::new();
    all.load_system_fonts();
    all
});

/// Those of them that were needed.
static OTHERS: Mutex<Vec<Arc<FontVec>>> = Mutex::new(Vec::new());

/// The scale at which the em has so many pixels.
fn scale_of<F: Font>(face: &F, size: f64) -> PxScale {
    PxScale::from(size as f32 * face.height_unscaled() / face.units_per_em().unwrap_or(1000.0))
}

/// How wide a text is set, in the unit of its size; letters that the typeface lacks count as the square that they usually fill.
pub(super) fn width(text: &str, size: f64) -> f64 {
    let face = FACE.as_scaled(scale_of(&*FACE, size));
    let each = text.chars().map(|letter| match FACE.glyph_id(letter) {
        GlyphId(0) => size,
        id => f64::from(face.h_advance(id)),
    });
    each.sum()
}

/// Height of a small letter at a size.
pub(super) fn x_height(size: f64) -> f64 {
    X_HEIGHT * size
}

/// A font of the machine that has the letter.
fn other(letter: char) -> Option<Arc<FontVec>> {
    let mut others = OTHERS.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
    let has = |face: &FontVec| face.glyph_id(letter).0 != 0;
    if let Some(face) = others.iter().find(|face| has(face)) {
        return Some(Arc::clone(face));
    }
    let mut names: Vec<(&str, fontdb::ID)> = MACHINE.faces().map(|own| (own.post_script_name.as_str(), own.id)).collect();
    names.sort();
    let found = names.into_iter().find_map(|(_, id)| {
        let has = |data: &[u8], index| FontRef::try_from_slice_and_index(data, index).is_ok_and(|face| face.glyph_id(letter).0 != 0);
        let face = |data: &[u8], index| has(data, index).then(|| FontVec::try_from_vec_and_index(data.to_vec(), index).ok()).flatten();
        MACHINE.with_face_data(id, face).flatten()
    });
    let face = Arc::new(found?);
    others.push(Arc::clone(&face));
    Some(face)
}

/// Sets a text from 0 on the line 0, and gives its width; `dot` is told of every pixel how much of it a letter covers.
pub(super) fn set<E>(text: &str, size: f64, mut dot: impl FnMut(i32, i32, f32) -> Result<(), E>) -> Result<f64, E> {
    let mut place = 0.0;
    for letter in text.chars() {
        let advance = match (FACE.glyph_id(letter), other_if_lacking(letter)) {
            (GlyphId(0), Some(face)) => set_one(&*face, letter, size, place, &mut dot)?,
            _ => set_one(&*FACE, letter, size, place, &mut dot)?,
        };
        place += advance;
    }
    Ok(place)
}

fn other_if_lacking(letter: char) -> Option<Arc<FontVec>> {
    if FACE.glyph_id(letter).0 == 0 { other(letter) } else { None }
}

fn set_one<F: Font, E>(
    face: &F,
    letter: char,
    size: f64,
    place: f64,
    dot: &mut impl FnMut(i32, i32, f32) -> Result<(), E>,
) -> Result<f64, E> {
    let scale = scale_of(face, size);
    let id = face.glyph_id(letter);
    if let Some(outline) = face.outline_glyph(id.with_scale_and_position(scale, point(place as f32, 0.0))) {
        let corner = outline.px_bounds().min;
        let mut failed = Ok(());
        outline.draw(|x, y, share| {
            if failed.is_ok() && share > 0.0 {
                failed = dot(corner.x as i32 + x as i32, corner.y as i32 + y as i32, share.min(1.0));
            }
        });
        failed?;
    }
    Ok(f64::from(face.as_scaled(scale).h_advance(id)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn widths_are_those_that_are_set() {
        for text in ["School 17", "Äpfel, ß, Ελλάδα, Київ", ""] {
            let set = set::<()>(text, 40.0, |_, _, _| Ok(())).unwrap();
            assert!((set - width(text, 40.0)).abs() < 1e-3, "{text}");
        }
        assert!(width("mm", 10.0) > width("ii", 10.0));
        // A letter of another script is counted, whatever fonts there are.
        assert_eq!(width("東", 10.0), 10.0);
    }
}
