//! Pictures of one bit per dot.

/// Height above which a picture does not grow: 25 m of paper at 8 dots per millimetre.
const HEIGHT_MAX: usize = 200_000;

/// Black dots on white, rows packed with the leftmost dot in the highest bit, as printers take them.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Bitmap {
    stride: usize,
    rows: Vec<u8>,
}

impl Bitmap {
    /// White, `width` rounded up to a multiple of 8.
    pub(crate) fn new(width: usize, height: usize) -> Self {
        let stride = width.div_ceil(8);
        Self { stride, rows: vec![0; stride * height.min(HEIGHT_MAX)] }
    }

    pub(crate) fn width(&self) -> usize {
        self.stride * 8
    }

    pub(crate) fn height(&self) -> usize {
        self.rows.len() / self.stride.max(1)
    }

    /// Bytes per row.
    pub(crate) fn stride(&self) -> usize {
        self.stride
    }

    pub(crate) fn bytes(&self) -> &[u8] {
        &self.rows
    }

    /// Adds white rows until there are `height`; `false` when that is more than a picture may have.
    pub(crate) fn grow_to(&mut self, height: usize) -> bool {
        let allowed = height.min(HEIGHT_MAX);
        self.rows.resize(self.rows.len().max(self.stride * allowed), 0);
        allowed == height
    }

    /// Blackens a dot; dots outside are ignored.
    pub(crate) fn set(&mut self, x: usize, y: usize) {
        if x < self.width() && y < self.height() {
            self.rows[y * self.stride + x / 8] |= 0x80 >> (x % 8);
        }
    }

    /// Whether a dot is black.
    #[cfg(test)]
    pub(crate) fn get(&self, x: usize, y: usize) -> bool {
        x < self.width() && y < self.height() && self.rows[y * self.stride + x / 8] & (0x80 >> (x % 8)) != 0
    }

    /// Blackens a rectangle.
    pub(crate) fn fill(&mut self, x: usize, y: usize, width: usize, height: usize) {
        for row in y..(y + height).min(self.height()) {
            for column in x..(x + width).min(self.width()) {
                self.set(column, row);
            }
        }
    }

    /// Turns black to white and white to black within a rectangle.
    pub(crate) fn invert(&mut self, x: usize, y: usize, width: usize, height: usize) {
        for row in y..(y + height).min(self.height()) {
            for column in x..(x + width).min(self.width()) {
                self.rows[row * self.stride + column / 8] ^= 0x80 >> (column % 8);
            }
        }
    }

    /// A PNG of one bit per dot, with white margins around. The side margin is rounded down to a
    /// multiple of 8.
    pub(crate) fn to_png(&self, margin_x: usize, margin_y: usize) -> Vec<u8> {
        let margin_bytes = margin_x / 8;
        let stride = self.stride + 2 * margin_bytes;
        let (width, height) = (stride * 8, self.height() + 2 * margin_y);
        // In a PNG of one grey bit 1 is white; on the paper 1 is black.
        let mut rows = vec![0xFF_u8; stride * height];
        for (to, from) in rows.chunks_exact_mut(stride).skip(margin_y).zip(self.rows.chunks_exact(self.stride)) {
            for (to, from) in to[margin_bytes..].iter_mut().zip(from) {
                *to = !from;
            }
        }
        let mut file = Vec::new();
        let mut encoder = png::Encoder::new(&mut file, width as u32, height as u32);
        encoder.set_color(png::ColorType::Grayscale);
        encoder.set_depth(png::BitDepth::One);
        // 203 dots per inch are 7992 per metre.
        encoder.set_pixel_dims(Some(png::PixelDimensions { xppu: 7992, yppu: 7992, unit: png::Unit::Meter }));
        let mut writer = encoder.write_header().expect("both sides are at least one dot, and memory takes every write");
        writer.write_image_data(&rows).expect("the rows have exactly the size of the picture");
        writer.finish().expect("memory takes every write");
        file
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dots_outside_are_ignored_and_inside_come_back() {
        let mut bitmap = Bitmap::new(12, 2);
        assert_eq!((bitmap.width(), bitmap.height(), bitmap.stride()), (16, 2, 2));
        bitmap.set(0, 0);
        bitmap.set(9, 1);
        bitmap.set(16, 0);
        bitmap.set(0, 2);
        assert_eq!(bitmap.bytes(), [0x80, 0, 0, 0x40]);
        assert!(bitmap.get(9, 1) && !bitmap.get(9, 0) && !bitmap.get(0, 2));
        assert!(!bitmap.grow_to(usize::MAX), "paper has an end");
    }
}
