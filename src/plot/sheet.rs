//! The sheet that a figure is drawn on: lines, areas, discs and words in pixels, painted as SVG or as PNG by the same calls.

use super::letters;
use crate::error::{Error, Result};
use plotters_backend::text_anchor::{HPos, Pos, VPos};
use plotters_backend::{
    BackendColor, BackendCoord, BackendStyle, BackendTextStyle, DrawingBackend, DrawingErrorKind, FontFamily, FontTransform,
};
use plotters_bitmap::BitMapBackend;
use plotters_svg::SVGBackend;
use std::convert::Infallible;

/// Colour, red, green and blue.
pub(super) type Rgb = (u8, u8, u8);

pub(super) const INK: Rgb = (38, 38, 38);
pub(super) const SOFT: Rgb = (110, 110, 110);
pub(super) const FAINT: Rgb = (232, 232, 232);
pub(super) const WHITE: Rgb = (255, 255, 255);
/// Blue and orange, which colour-blind readers tell apart.
pub(super) const POSITIVE: Rgb = (33, 102, 172);
pub(super) const NEGATIVE: Rgb = (217, 95, 2);

/// Size of names, of numbers on axes and of titles of axes, in pixels of which 96 make an inch: 8 and 9 points.
pub(super) const NAME: f64 = 10.7;
pub(super) const TITLE: f64 = 12.0;

/// Width of a line of one point.
pub(super) const POINT: f64 = 4.0 / 3.0;

/// Units of the SVG in a pixel, for its backend has whole coordinates.
const FINE: f64 = 10.0;

/// Most pixels of a PNG.
const MOST: f64 = 6.4e7;

/// Where a text stands to its place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Side {
    Start,
    Middle,
    End,
}

#[derive(Clone, Debug)]
enum Shape {
    Line(Vec<(f64, f64)>, f64),
    Area(Vec<(f64, f64)>),
    Rect((f64, f64), (f64, f64)),
    Disc((f64, f64), f64),
    /// Upwards if it is turned.
    Text {
        at: (f64, f64),
        words: String,
        size: f64,
        side: Side,
        turned: bool,
    },
}

/// What was drawn, the first undermost.
pub(super) struct Sheet {
    pub width: f64,
    pub height: f64,
    marks: Vec<(Shape, Rgb, f64)>,
}

impl Sheet {
    /// A white one.
    pub(super) fn new((width, height): (f64, f64)) -> Self {
        let mut sheet = Sheet { width, height, marks: Vec::new() };
        sheet.rect((0.0, 0.0), (width, height), WHITE, 1.0);
        sheet
    }

    pub(super) fn line(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: Rgb, opacity: f64) {
        self.path(vec![from, to], width, colour, opacity);
    }

    pub(super) fn path(&mut self, points: Vec<(f64, f64)>, width: f64, colour: Rgb, opacity: f64) {
        self.marks.push((Shape::Line(points, width), colour, opacity));
    }

    /// A line of short strokes, upright or level.
    pub(super) fn dashed(&mut self, from: (f64, f64), to: (f64, f64), width: f64, colour: Rgb) {
        const STROKE: f64 = 4.0;
        let length = (to.0 - from.0).hypot(to.1 - from.1);
        let at = |along: f64| (from.0 + (to.0 - from.0) * along / length, from.1 + (to.1 - from.1) * along / length);
        for k in 0..(length / (2.0 * STROKE)).ceil() as usize {
            let begin = 2.0 * STROKE * k as f64;
            self.line(at(begin), at((begin + STROKE).min(length)), width, colour, 1.0);
        }
    }

    pub(super) fn area(&mut self, points: Vec<(f64, f64)>, colour: Rgb, opacity: f64) {
        self.marks.push((Shape::Area(points), colour, opacity));
    }

    /// From the corner above on the left to that below on the right.
    pub(super) fn rect(&mut self, from: (f64, f64), to: (f64, f64), colour: Rgb, opacity: f64) {
        self.marks.push((Shape::Rect(from, to), colour, opacity));
    }

    pub(super) fn disc(&mut self, at: (f64, f64), radius: f64, colour: Rgb, opacity: f64) {
        self.marks.push((Shape::Disc(at, radius), colour, opacity));
    }

    /// Words whose small letters are centred on `at` from top to bottom.
    pub(super) fn text(&mut self, at: (f64, f64), words: &str, size: f64, side: Side, colour: Rgb) {
        self.marks.push((Shape::Text { at, words: clean(words), size, side, turned: false }, colour, 1.0));
    }

    /// The same, read upwards.
    pub(super) fn turned(&mut self, at: (f64, f64), words: &str, size: f64, side: Side, colour: Rgb) {
        self.marks.push((Shape::Text { at, words: clean(words), size, side, turned: true }, colour, 1.0));
    }

    /// The sheet as SVG.
    pub(super) fn svg(&self) -> Result<String> {
        let whole = |own: f64| (own * FINE) as u32;
        let (width, height) = (whole(self.width), whole(self.height));
        let mut text = String::new();
        {
            let mut backend = SVGBackend::with_string(&mut text, (width, height));
            self.paint(&mut backend, FINE).map_err(refused)?;
            backend.present().map_err(refused)?;
        }
        // Its units are a tenth of a pixel.
        Ok(text.replacen(
            &format!("width=\"{width}\" height=\"{height}\""),
            &format!("width=\"{}\" height=\"{}\"", self.width, self.height),
            1,
        ))
    }

    /// The sheet as PNG of `scale` pixels to each of its own: painted four times as fine (twice, where that would be much), and averaged.
    pub(super) fn png(&self, scale: f64) -> Result<Vec<u8>> {
        let [width, height] = [self.width, self.height].map(|own| (own * scale).round().max(1.0) as usize);
        if (width * height) as f64 > MOST {
            let problem =
                format!("a PNG of {width} x {height} pixels is too large; give a smaller --width, --height or --scale, or write SVG");
            return Err(Error::Arguments(problem));
        }
        let finer = if width * height > 8_000_000 { 2 } else { 4 };
        let size = (width * finer, height * finer);
        let mut fine = vec![255u8; size.0 * size.1 * 3];
        {
            let mut backend = BitMapBackend::with_buffer(&mut fine, (size.0 as u32, size.1 as u32));
            self.paint(&mut backend, scale * finer as f64).map_err(refused)?;
            backend.present().map_err(refused)?;
        }
        let mut pixels = Vec::with_capacity(width * height * 3);
        for y in 0..height {
            for x in 0..width {
                for channel in 0..3 {
                    let at = |i: usize, j: usize| u32::from(fine[((y * finer + i) * size.0 + x * finer + j) * 3 + channel]);
                    let sum: u32 = (0..finer).flat_map(|i| (0..finer).map(move |j| (i, j))).map(|(i, j)| at(i, j)).sum();
                    let cells = (finer * finer) as u32;
                    pixels.push(((sum + cells / 2) / cells) as u8);
                }
            }
        }
        encoded(&pixels, (width as u32, height as u32), scale).map_err(|error| Error::Arguments(format!("the PNG cannot be made: {error}")))
    }

    fn paint<B: DrawingBackend>(&self, backend: &mut B, scale: f64) -> std::result::Result<(), DrawingErrorKind<B::ErrorType>> {
        let whole = |own: f64| (own * scale).round() as i32;
        let place = |(x, y): (f64, f64)| (whole(x), whole(y));
        for (shape, rgb, opacity) in &self.marks {
            let alpha = (opacity * 100.0).round() / 100.0;
            let mut pen = Pen { colour: BackendColor { rgb: *rgb, alpha }, width: 1 };
            match shape {
                Shape::Line(points, width) => {
                    pen.width = (width * scale).round().max(1.0) as u32;
                    match points[..] {
                        [from, to] => backend.draw_line(place(from), place(to), &pen)?,
                        _ => backend.draw_path(points.iter().map(|own| place(*own)), &pen)?,
                    }
                }
                Shape::Area(points) => backend.fill_polygon(points.iter().map(|own| place(*own)), &pen)?,
                Shape::Rect(from, to) => backend.draw_rect(place(*from), place(*to), &pen, true)?,
                Shape::Disc(at, radius) => backend.draw_circle(place(*at), (radius * scale).round().max(1.0) as u32, &pen, true)?,
                Shape::Text { at, words, size, side, turned } => {
                    let style = Set { colour: pen.colour, size: size * scale, side: *side, turned: *turned };
                    backend.draw_text(words, &style, place(*at))?;
                }
            }
        }
        Ok(())
    }
}

fn refused<E: std::error::Error + Send + Sync>(error: DrawingErrorKind<E>) -> Error {
    Error::Arguments(format!("the figure cannot be drawn: {error}"))
}

fn encoded(pixels: &[u8], (width, height): (u32, u32), scale: f64) -> std::result::Result<Vec<u8>, png::EncodingError> {
    let mut bytes = Vec::new();
    let mut encoder = png::Encoder::new(&mut bytes, width, height);
    encoder.set_color(png::ColorType::Rgb);
    encoder.set_depth(png::BitDepth::Eight);
    // 96 pixels of the sheet are an inch.
    let to_metre = (96.0 * scale / 0.0254).round() as u32;
    encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: to_metre, yppu: to_metre, unit: png::Unit::Meter }));
    let mut writer = encoder.write_header()?;
    writer.write_image_data(pixels)?;
    writer.finish()?;
    Ok(bytes)
}

/// Words without what no XML has.
fn clean(words: &str) -> String {
    let letter = |own: char| match own {
        '\t' | '\n' | '\r' => ' ',
        own if own.is_control() || matches!(own, '\u{fffe}' | '\u{ffff}') => '\u{fffd}',
        own => own,
    };
    words.chars().map(letter).collect()
}

/// A name of at most so many letters.
pub(super) fn short(name: &str, most: usize) -> String {
    if name.chars().count() <= most { name.into() } else { name.chars().take(most - 1).chain(['…']).collect() }
}

struct Pen {
    colour: BackendColor,
    width: u32,
}

impl BackendStyle for Pen {
    fn color(&self) -> BackendColor {
        self.colour
    }

    fn stroke_width(&self) -> u32 {
        self.width
    }
}

/// How words are set.
struct Set {
    colour: BackendColor,
    size: f64,
    side: Side,
    turned: bool,
}

impl BackendTextStyle for Set {
    type FontError = Infallible;

    fn color(&self) -> BackendColor {
        self.colour
    }

    fn size(&self) -> f64 {
        // The backend divides by this.
        self.size * 1.24
    }

    fn transform(&self) -> FontTransform {
        if self.turned { FontTransform::Rotate270 } else { FontTransform::None }
    }

    fn anchor(&self) -> Pos {
        let side = match self.side {
            Side::Start => HPos::Left,
            Side::Middle => HPos::Center,
            Side::End => HPos::Right,
        };
        Pos::new(side, VPos::Center)
    }

    fn family(&self) -> FontFamily<'_> {
        FontFamily::Name(letters::FAMILY)
    }

    fn layout_box(&self, text: &str) -> std::result::Result<((i32, i32), (i32, i32)), Infallible> {
        let width = letters::set(text, self.size, |_, _, _| Ok::<(), Infallible>(()))?;
        Ok(((0, -letters::x_height(self.size).round() as i32), (width.round() as i32, 0)))
    }

    fn draw<E, F: FnMut(i32, i32, BackendColor) -> std::result::Result<(), E>>(
        &self,
        text: &str,
        at: BackendCoord,
        mut draw: F,
    ) -> std::result::Result<std::result::Result<(), E>, Infallible> {
        let dot = |x, y, share: f32| draw(at.0 + x, at.1 + y, BackendColor { alpha: self.colour.alpha * f64::from(share), ..self.colour });
        Ok(letters::set(text, self.size, dot).map(|_| ()))
    }
}
