//! Rows of components into RGB, with libjpeg-turbo's and Pillow's integers.

/// How the components of an image are to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Colours {
    Gray,
    /// Luma and chroma.
    Ycc,
    Rgb,
    /// Inks, inverted as Adobe writes them, and as Pillow reads all.
    Cmyk,
    /// As [`Self::Cmyk`], the first three as luma and chroma.
    Ycck,
}

impl Colours {
    /// By the number of components, whether there is a JFIF marker, Adobe's number, and the components' names, as
    /// libjpeg guesses; `None` where that is no picture.
    pub(crate) fn find(names: &[u8], has_jfif: bool, adobe: Option<u8>) -> Option<Self> {
        match names.len() {
            1 => Some(Self::Gray),
            3 if has_jfif => Some(Self::Ycc),
            3 => Some(match adobe {
                Some(0) => Self::Rgb,
                None if names == b"RGB" => Self::Rgb,
                _ => Self::Ycc,
            }),
            4 => Some(match adobe {
                None | Some(0) => Self::Cmyk,
                Some(_) => Self::Ycck,
            }),
            _ => None,
        }
    }
}

/// By JFIF, 16 bits behind the point: what a whole step of chroma leaves besides itself.
const RED: i32 = 91_881 - 65_536;
const GREEN_BLUE: i32 = 22_554;
const GREEN_RED: i32 = 46_802;
const BLUE: i32 = 131_072 - 116_130;

/// One pixel's red, green and blue.
#[inline(always)]
fn rgb(luma: u8, blue: u8, red: u8) -> [u8; 3] {
    let (luma, blue, red) = (i16::from(luma), i16::from(blue) - 128, i16::from(red) - 128);
    let (b, r) = (i32::from(blue), i32::from(red));
    let half = 1 << 15;
    let byte = |value: i16| value.clamp(0, 255) as u8;
    [
        byte(luma + red + ((RED * r + half) >> 16) as i16),
        byte(luma + ((half - GREEN_BLUE * b - GREEN_RED * r) >> 16) as i16),
        byte(luma + 2 * blue + ((half - BLUE * b) >> 16) as i16),
    ]
}

/// Pixels that are computed at once.
const LANES: usize = 16;

/// A row of luma and chroma into one of RGB.
pub(crate) fn from_ycc(to: &mut [u8], luma: &[u8], blue: &[u8], red: &[u8]) {
    let (lumas, rest) = luma.as_chunks::<LANES>();
    let (blues, reds) = (blue.as_chunks::<LANES>().0, red.as_chunks::<LANES>().0);
    let done = lumas.len().min(blues.len()).min(reds.len()) * LANES;
    let values = lumas.iter().zip(blues).zip(reds);
    for (to, ((luma, blue), red)) in to.chunks_exact_mut(3 * LANES).zip(values) {
        // Each colour by itself first: that the compiler makes vectors of.
        let mut colours = [[0; LANES]; 3];
        for k in 0..LANES {
            let [r, g, b] = rgb(luma[k], blue[k], red[k]);
            (colours[0][k], colours[1][k], colours[2][k]) = (r, g, b);
        }
        for (k, pixel) in to.as_chunks_mut::<3>().0.iter_mut().enumerate() {
            *pixel = [colours[0][k], colours[1][k], colours[2][k]];
        }
    }
    let last = luma.len() - rest.len();
    let values = luma[done.min(last)..]
        .iter()
        .zip(&blue[done..])
        .zip(&red[done..]);
    for (to, ((luma, blue), red)) in to[3 * done..].chunks_exact_mut(3).zip(values) {
        to.copy_from_slice(&rgb(*luma, *blue, *red));
    }
}

/// A row of three components put beside each other.
pub(crate) fn from_rgb(to: &mut [u8], red: &[u8], green: &[u8], blue: &[u8]) {
    let values = red.iter().zip(green).zip(blue);
    for (to, ((red, green), blue)) in to.chunks_exact_mut(3).zip(values) {
        to.copy_from_slice(&[*red, *green, *blue]);
    }
}

/// A row of inks, inverted, over white: each colour is what its ink and the black leave.
pub(crate) fn from_cmyk(to: &mut [u8], inks: [&[u8]; 3], black: &[u8]) {
    for (at, (to, black)) in to.chunks_exact_mut(3).zip(black).enumerate() {
        for (to, ink) in to.iter_mut().zip(inks) {
            *to = left(255 - ink.get(at).copied().unwrap_or_default(), *black);
        }
    }
}

/// As [`from_cmyk`], of luma and chroma: what they are colours of is the inverse of inks.
pub(crate) fn from_ycck(to: &mut [u8], ycc: [&[u8]; 3], black: &[u8]) {
    let [luma, blue, red] = ycc;
    from_ycc(to, luma, blue, red);
    for (pixel, black) in to.chunks_exact_mut(3).zip(black) {
        // The inks are 255 less the colours, and Pillow inverts them once more.
        pixel.iter_mut().for_each(|v| *v = left(*v, *black));
    }
}

/// What an ink leaves of `white`, rounded.
#[inline(always)]
fn left(ink: u8, white: u8) -> u8 {
    let product = u32::from(ink) * u32::from(white) + 128;
    white.saturating_sub((((product >> 8) + product) >> 8) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every luma and chroma, by the formulas in 16 bits behind the point.
    #[test]
    fn colours_are_jfifs() {
        for luma in 0..=255_u8 {
            for blue in (0..=255_u8).step_by(5) {
                for red in 0..=255_u8 {
                    let (y, b, r) = (i32::from(luma), i32::from(blue) - 128, i32::from(red) - 128);
                    let byte = |v: i32| v.clamp(0, 255) as u8;
                    let expected = [
                        byte(y + ((91_881 * r + 32_768) >> 16)),
                        byte(y + ((-22_554 * b - 46_802 * r + 32_768) >> 16)),
                        byte(y + ((116_130 * b + 32_768) >> 16)),
                    ];
                    assert_eq!(rgb(luma, blue, red), expected);
                }
            }
        }
    }

    #[test]
    fn colours_are_found_as_libjpeg_finds_them() {
        assert_eq!(Colours::find(&[1], false, None), Some(Colours::Gray));
        assert_eq!(Colours::find(&[9, 9, 9], false, None), Some(Colours::Ycc));
        assert_eq!(Colours::find(b"RGB", false, None), Some(Colours::Rgb));
        assert_eq!(Colours::find(b"RGB", true, Some(0)), Some(Colours::Ycc));
        assert_eq!(
            Colours::find(&[1, 2, 3], false, Some(0)),
            Some(Colours::Rgb)
        );
        assert_eq!(
            Colours::find(&[1, 2, 3, 4], true, None),
            Some(Colours::Cmyk)
        );
        assert_eq!(
            Colours::find(&[1, 2, 3, 4], true, Some(2)),
            Some(Colours::Ycck)
        );
        assert_eq!(Colours::find(&[1, 2], false, None), None);
    }
}
